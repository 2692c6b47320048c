//! Where exports are kept: a folder, in it each tenant's own. A file has its name only when it is whole.

use crate::problem::{self, Problem};
use model::TenantId;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

/// Exports of a tenant whose files are kept, the newest: a volume has an end, and another can be made at any time.
const KEPT: usize = 5;

/// A folder for exports. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    folder: PathBuf,
    prefix: String,
    pinned: bool,
}

/// An export that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) file: File,
    path: PathBuf,
    name: PathBuf,
}

impl Storage {
    /// In `folder`, below `prefix`. A pinned instance's prefix is its tenant's own (by default its id); the pooled one has a
    /// folder for each tenant there.
    pub fn new(folder: PathBuf, prefix: Option<String>, pinned: Option<TenantId>) -> Result<Self, String> {
        let given = prefix.or_else(|| pinned.map(|tenant| tenant.to_string())).unwrap_or_default();
        let prefix = given.trim_end_matches('/').to_owned();
        if !Path::new(&prefix).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("STORAGE_PREFIX is '{given}', which is not a path below STORAGE_DIR"));
        }
        Ok(Self { folder, prefix, pinned: pinned.is_some() })
    }

    /// The name of a tenant's exports, below the folder.
    fn of(&self, tenant: TenantId) -> String {
        let mut parts = vec![self.prefix.clone()];
        parts.retain(|part| !part.is_empty());
        if !self.pinned {
            parts.push(tenant.to_string());
        }
        parts.push("exports".to_owned());
        parts.join("/")
    }

    /// The name of an export, below the folder.
    pub(super) fn name(&self, tenant: TenantId, export: Uuid) -> String {
        format!("{}/{export}.jsonl", self.of(tenant))
    }

    /// Takes away all that there is of a tenant's. Done when there is nothing.
    pub(crate) async fn remove(&self, tenant: TenantId) -> Result<(), Problem> {
        let folder = self.folder.join(self.of(tenant));
        match fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removing the tenant's files", &error));
            }
            _ => {}
        }
        if !self.pinned
            && let Some(own) = folder.parent()
            && let Err(error) = fs::remove_dir(own).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %own.display(), %error, "the tenant's folder stays");
        }
        Ok(())
    }

    /// The name of the tenant's folder, if there is a file in it: an empty one, as a job leaves it whose tenant is dropped
    /// meanwhile, is nothing of the tenant's.
    pub(crate) async fn held(&self, tenant: TenantId) -> Result<Option<String>, Problem> {
        let name = self.of(tenant);
        let failed = |error: &io::Error| failed("looking for the tenant's files", error);
        match fs::read_dir(self.folder.join(&name)).await {
            Ok(mut files) => {
                let first = files.next_entry().await.map_err(|error| failed(&error))?;
                Ok(first.map(|_| name))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Begins an export anew. Whatever an attempt before has left of it is overwritten.
    pub(super) async fn draft(&self, tenant: TenantId, export: Uuid) -> Result<Draft, Problem> {
        let name = self.folder.join(self.name(tenant, export));
        let path = name.with_extension("part");
        let open = async {
            fs::create_dir_all(name.parent().unwrap_or(&self.folder)).await?;
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).await
        };
        let file = open.await.map_err(|error| failed("making the file", &error))?;
        Ok(Draft { file, path, name })
    }

    /// An export that is done.
    pub(super) async fn open(&self, tenant: TenantId, export: Uuid) -> Result<File, Problem> {
        match File::open(self.folder.join(self.name(tenant, export))).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(problem::content_gone()),
            other => other.map_err(|error| failed("opening the file", &error)),
        }
    }
}

impl Draft {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).await.map_err(|error| failed("writing the file", &error))
    }

    /// Makes it the export, at once and for good, then lets the oldest go.
    pub(super) async fn keep(mut self) -> Result<(), Problem> {
        let folder = self.name.parent().unwrap_or(Path::new(".")).to_owned();
        let kept = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            fs::rename(&self.path, &self.name).await?;
            File::open(&folder).await?.sync_all().await?;
            thin(&folder).await
        };
        kept.await.map_err(|error| failed("keeping the file", &error))
    }

    /// Takes away what was written.
    pub(super) async fn discard(self) {
        if let Err(error) = fs::remove_file(&self.path).await {
            tracing::warn!(file = %self.path.display(), %error, "what was written of an export stays");
        }
    }
}

async fn thin(folder: &Path) -> io::Result<()> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    let mut entries = fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        if entry.path().extension().is_some_and(|end| end == "jsonl") {
            found.push((entry.metadata().await?.modified()?, entry.path()));
        }
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    for (_, path) in found.into_iter().skip(KEPT) {
        fs::remove_file(path).await?;
    }
    Ok(())
}

fn failed(doing: &str, error: &io::Error) -> Problem {
    problem::storage_failed(format!("{doing}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_below_its_prefix_and_is_the_tenants_own() {
        let (tenant, other) = (TenantId::generate(), TenantId::generate());
        let id = Uuid::new_v4();
        let storage = |prefix: Option<&str>, pinned| {
            Storage::new("/storage".into(), prefix.map(str::to_owned), pinned).map(|it| it.name(tenant, id))
        };
        let own = format!("{tenant}/exports/{id}.jsonl");
        assert_eq!(storage(None, Some(tenant)).unwrap(), own);
        assert_eq!(storage(Some(&format!("{tenant}/")), Some(tenant)).unwrap(), own);
        assert_eq!(storage(None, None).unwrap(), own);
        assert_eq!(storage(Some("pooled"), None).unwrap(), format!("pooled/{own}"));
        assert!(storage(Some(&format!("{other}/")), Some(tenant)).unwrap().starts_with(&other.to_string()));
        for bad in ["..", "/etc", "a/../../b", "./../c"] {
            assert!(storage(Some(bad), Some(tenant)).is_err(), "{bad}");
        }
    }
}
