//! The enterprise tenants' own infrastructure, as the machine and Terraform's database have it.

use std::path::{Path, PathBuf};

use model::TenantId;
use model::platform::{Infrastructure, Platform};
use sqlx::{Connection as _, PgConnection};
use tenants::phases;

use crate::environment::required;
use crate::process::program;

/// The stack's own settings, with the program that was built with this test.
pub fn infrastructure() -> Infrastructure {
    required("TERRAFORM_STATE_KEY");
    let platform = Platform::read(Path::new(&required("TENANTRY_CONFIG")), &phases::step_names())
        .expect("the stack's platform file");
    let mut infrastructure = platform.infrastructure.expect("[infrastructure]");
    if let Some(supervised) = &mut infrastructure.supervised {
        supervised.program = program("run-terraform").display().to_string();
    }
    infrastructure
}

fn local() -> PathBuf {
    PathBuf::from(&infrastructure().variables["local"])
}

/// Kind and name of all there is: workspaces, data folders, and programs under supervisord.
pub(crate) async fn all() -> Vec<String> {
    let mut found = Vec::new();
    for (kind, folder) in [("instance", "instances"), ("program", "programs"), ("terraform", "terraform")] {
        let names = std::fs::read_dir(local().join(folder)).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        found.extend(names.filter(|name| !name.starts_with('.')).map(|name| format!("{kind} {name}")));
    }
    let mut session = state().await;
    // Terraform makes its table with the first workspace.
    let made: bool = sqlx::query_scalar("SELECT to_regclass('terraform_remote_state.states') IS NOT NULL")
        .fetch_one(&mut session)
        .await
        .expect("the state's database");
    if made {
        let workspaces: Vec<String> =
            sqlx::query_scalar("SELECT 'workspace ' || name FROM terraform_remote_state.states")
                .fetch_all(&mut session)
                .await
                .expect("the states");
        found.extend(workspaces);
    }
    session.close().await.expect("closed");
    found.sort();
    found
}

async fn state() -> PgConnection {
    PgConnection::connect(&required("TERRAFORM_STATE_URL")).await.expect("the state's database")
}

/// Takes away what a failed test has left of a tenant, as far as that goes.
pub(crate) async fn take_away(tenant: TenantId) {
    let folder = local().join("instances").join(tenant.to_string());
    if !folder.exists() {
        return;
    }
    let script = Path::new(&infrastructure().module).join("instance.py");
    drop(tokio::process::Command::new("python3").arg(script).arg("remove").arg(folder).output().await);
    let mut session = state().await;
    let gone = sqlx::query("DELETE FROM terraform_remote_state.states WHERE name = $1")
        .bind(format!("tenant-{tenant}"))
        .execute(&mut session)
        .await;
    drop(gone);
    let secret = format!("infrastructure-{tenant}");
    let delete = ["delete", "secret", &secret, "-n", "matih-system", "--ignore-not-found"];
    drop(tokio::process::Command::new("kubectl").args(delete).output().await);
}
