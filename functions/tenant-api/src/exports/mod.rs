//! Exports of a tenant's rows: asked for over HTTP, made by a background job, kept in the instance's storage.
//!
//! - `POST /internal/exports`: asks for one. With the same `id` again it is the same one.
//! - `GET /internal/exports/{tenant}/{id}`: what has become of it.
//! - `GET /internal/exports/{tenant}/{id}/content`: its rows, a JSON object a line.
//!
//! Nobody signs in at a tenant-api yet, so that whoever asks has to know the internal secret, and asks by a path that is not
//! let out of the cluster. What an export's state is, is a row of the tenant's own; the job only names it.

mod dump;
mod row;
mod storage;
mod worker;

use crate::broker::Jobs;
use crate::license::Licenses;
use crate::problem::{self, Problem};
use crate::request;
use crate::tables::Tables;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::TenantId;
use model::secret::SecretRef;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

pub use storage::Storage;
pub use worker::Worker;

/// How jobs reach this instance, and where exports go. Without it there are none.
#[derive(Clone, Debug)]
pub struct ExportSettings {
    /// What the names of its queues and its exchange begin with.
    pub queue_prefix: String,
    /// Where the AMQP URL of its login is.
    pub login: SecretRef,
    /// Where the files go.
    pub storage: Storage,
    /// How long an unfinished export's job may be with the broker before it is given to it again. A pinned instance looks by
    /// itself; of the pooled one, it is for whoever asked to ask again.
    pub again_after: Duration,
    /// The pause after a first failure; later ones are longer.
    pub pause: Duration,
}

impl ExportSettings {
    /// With the usual times.
    pub fn new(queue_prefix: String, login: SecretRef, storage: Storage) -> Self {
        let (again_after, pause) = (Duration::from_mins(5), Duration::from_secs(1));
        Self { queue_prefix, login, storage, again_after, pause }
    }
}

/// What the calls about exports reach. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exports {
    tables: Tables,
    licenses: Licenses,
    /// None: there are no exports here.
    on: Option<On>,
}

#[derive(Clone, Debug)]
struct On {
    jobs: Jobs,
    storage: Storage,
    again_after: Duration,
}

impl Exports {
    pub fn new(settings: Option<&ExportSettings>, tables: Tables, licenses: Licenses) -> Self {
        let on = settings.map(|settings| {
            let jobs = Jobs::new(settings.queue_prefix.clone(), settings.login.clone());
            On { jobs, storage: settings.storage.clone(), again_after: settings.again_after }
        });
        Self { tables, licenses, on }
    }

    /// Where the files are.
    pub fn storage(&self) -> Option<&Storage> {
        self.on.as_ref().map(|on| &on.storage)
    }

    fn on(&self) -> Result<&On, Problem> {
        self.on.as_ref().ok_or_else(|| {
            problem::jobs_not_configured(
                "set QUEUE_PREFIX, STORAGE_DIR, and JOBS_AMQP_URL or JOBS_CREDENTIALS_DIR",
            )
        })
    }
}

/// A job: names an export.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Job {
    tenant_id: TenantId,
    export_id: Uuid,
}

impl Job {
    async fn publish(self, jobs: &Jobs) -> Result<(), Problem> {
        let body = serde_json::to_vec(&self).map_err(|error| problem::jobs_unavailable(error.to_string()))?;
        Ok(jobs.publish(&self.export_id.to_string(), &body).await?)
    }
}

/// Body of `POST /internal/exports`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    tenant_id: TenantId,
    /// Chosen by the caller, so that asking again after a lost answer is asking for the same.
    id: Option<Uuid>,
}

/// `POST /internal/exports`. The row is there before its job is: a job that finds none is nobody's.
pub async fn ask(State(exports): State<Exports>, body: Result<Bytes, BytesRejection>) -> Response {
    let asked = async {
        let body = body.map_err(|rejection| problem::invalid("", rejection.body_text()))?;
        let asked: Ask = request::decode(&body)?;
        let job = Job { tenant_id: asked.tenant_id, export_id: asked.id.unwrap_or_else(Uuid::new_v4) };
        exports.tables.serves(job.tenant_id)?;
        let On { jobs, storage, again_after } = exports.on()?;
        jobs.configured()?;
        exports.licenses.require(job.tenant_id)?;
        let (row, overdue) = row::make(&exports.tables, job, *again_after).await?;
        if row.is_queued() || overdue {
            // What comes too often is done once.
            job.publish(jobs).await.map_err(|problem| {
                let why = format!("{}; ask again for {}", problem.detail(), job.export_id);
                problem.because(why)
            })?;
        }
        if overdue {
            // Only now: until the broker has it, asking again is to try again.
            row::given(&exports.tables, job).await?;
        }
        Ok((job, row.shown(storage)))
    };
    match asked.await {
        Ok((job, shown)) => {
            tracing::info!(operation = "export", tenant.id = %job.tenant_id, export.id = %job.export_id, "asked for");
            (StatusCode::ACCEPTED, Json(shown)).into_response()
        }
        Err(problem) => refused(problem),
    }
}

/// `GET /internal/exports/{tenant}/{id}`.
pub async fn read(State(exports): State<Exports>, Path(path): Path<(String, String)>) -> Response {
    let found = async {
        let job = named(&exports, &path)?;
        let On { storage, .. } = exports.on()?;
        Ok(row::find(&exports.tables, job).await?.shown(storage))
    };
    found.await.map_or_else(refused, |shown| Json(shown).into_response())
}

/// `GET /internal/exports/{tenant}/{id}/content`.
pub async fn content(State(exports): State<Exports>, Path(path): Path<(String, String)>) -> Response {
    let opened = async {
        let job = named(&exports, &path)?;
        let On { storage, .. } = exports.on()?;
        let row = row::find(&exports.tables, job).await?;
        if !row.is_done() {
            return Err(problem::export_not_done(format!("it is {}", row.state())));
        }
        storage.open(job.tenant_id, job.export_id).await
    };
    match opened.await {
        Ok(file) => {
            let kind = [(header::CONTENT_TYPE, "application/jsonl")];
            (kind, Body::from_stream(ReaderStream::new(file))).into_response()
        }
        Err(problem) => refused(problem),
    }
}

fn named(exports: &Exports, (tenant, id): &(String, String)) -> Result<Job, Problem> {
    let tenant_id = tenant.parse().map_err(|_| problem::invalid("tenant", "must be a uuid"))?;
    let export_id = id.parse().map_err(|_| problem::invalid("id", "must be a uuid"))?;
    exports.tables.serves(tenant_id)?;
    Ok(Job { tenant_id, export_id })
}

fn refused(problem: Problem) -> Response {
    tracing::warn!(
        operation = "export",
        problem.code = problem.code(),
        problem.detail = problem.detail(),
        "refused"
    );
    problem.into_response()
}
