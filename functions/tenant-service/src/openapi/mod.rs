//! The description of the API, OpenAPI 3.1, as `GET /openapi.json` answers it: made of what stands at the handlers and the types
//! that they read and answer with, and of the table of problems.

mod answers;
mod bodies;
mod lists;

pub use answers::{
    Authenticated, Conflicting, IdempotencyKey, Missing, Parameterised, Unready, WithBody, in_path,
};
pub use bodies::{DeploymentChange, EmptyBody, NewDomain, NewRegion, NewTenant, RegionChange, RegionJobs};
pub use lists::{
    Action, Cname, DeploymentType, Direction, Durability, Error, Event, Isolation, OnFailure, Operation,
    PhaseState, Reachability, RegionSource, Replicas, RunKind, RunStatus, SecretReference, TenantStatus,
    Tier, Txt,
};

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema as _};

use answers::Problems;

use crate::{deployment, domains, health, invitations, lifecycle, regions, status, tenants, verbs};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenantry",
        version = "1",
        description = "Brings a tenant into existence, phase by phase, and takes it back out. Times are RFC 3339 in UTC; errors are problem+json with a stable code.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    security(("token" = [])),
    modifiers(&Token, &AtLeastOne, &Problems),
    paths(
        tenants::create,
        tenants::list,
        tenants::show,
        verbs::delete,
        lifecycle::change,
        lifecycle::suspend,
        lifecycle::resume,
        status::status,
        status::audit,
        regions::list,
        regions::create,
        regions::show,
        regions::change,
        deployment::show,
        deployment::change,
        deployment::refresh,
        domains::list,
        domains::add,
        domains::remove,
        domains::verify,
        invitations::renew,
        verbs::retry,
        verbs::rollback,
        verbs::pause,
        verbs::resume,
        verbs::skip,
        verbs::abandon,
        health::alive,
        health::ready,
        health::metrics,
        openapi,
    )
)]
struct Api;

/// Every call but those of machines carries a token.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// A merge patch that says nothing is refused. (utoipa 5.5 writes the derive's `min_properties` as `maxProperties`.)
struct AtLeastOne;

impl Modify for AtLeastOne {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = &mut document.components.get_or_insert_default().schemas;
        if let Some(RefOr::T(Schema::Object(change))) = schemas.get_mut(&*DeploymentChange::name()) {
            change.min_properties = Some(1);
        }
    }
}

/// The whole document.
pub fn document() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// The document as text; made once.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    document().to_pretty_json().unwrap_or_else(|error| {
        // Texts, numbers and lists of them: nothing that JSON could not hold.
        tracing::error!(%error, "the description of the API cannot be written");
        "{}".to_owned()
    })
});

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "process", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object)),
)]
pub async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the document is committed, so that a change of the API is seen as one.
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");

    #[test]
    fn the_committed_description_is_what_the_code_says() {
        let now = format!("{}\n", TEXT.as_str());
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(FILE, &now).unwrap();
        }
        let committed = std::fs::read_to_string(FILE).unwrap();
        assert!(
            now == committed,
            "docs/reference/openapi.json is not what the code says; run \
             UPDATE_REFERENCE=1 cargo test -p tenant-service --lib openapi, and look at the difference"
        );
    }
}
