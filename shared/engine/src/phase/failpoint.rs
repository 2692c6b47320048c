//! Failpoints between any two operations, compiled only for tests.
//!
//! They are set by lines in the file that `TENANTRY_FAILPOINTS` names, read at every operation, so that a test can set
//! and lift them in a process of its own making as well as in this one:
//!
//! `<slug> <PHASE> <apply|revert> <operation> <before|after> <action>` where `*` matches anything, the fields are
//! separated by tabs, and the action is `retryable`, `fatal`, `unavailable`, `abort` (the process dies by SIGKILL),
//! `stop` (the process stops by SIGSTOP), or `hold` (waits until the line is gone).

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Error, Result};

/// Where a worker is.
#[derive(Debug)]
pub struct Place<'a> {
    /// The tenant.
    pub slug: &'a str,
    /// The phase.
    pub phase: &'a str,
    /// Undoing rather than doing.
    pub backward: bool,
    /// The operation.
    pub operation: &'a str,
    /// `before` or `after` it.
    pub edge: &'a str,
}

impl Place<'_> {
    fn action(&self, lines: &str) -> Option<String> {
        let here = [
            self.slug,
            self.phase,
            if self.backward { "revert" } else { "apply" },
            self.operation,
            self.edge,
        ];
        lines.lines().find_map(|line| {
            let mut fields = line.split('\t');
            let matches =
                here.iter().all(|part| fields.next().is_some_and(|field| field == "*" || field == *part));
            if matches { fields.next().map(str::to_owned) } else { None }
        })
    }
}

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Names the file from within the process, which cannot change its own environment while threads run. The first name
/// stays.
pub fn read_from(file: PathBuf) {
    FILE.get_or_init(|| file);
}

fn file() -> Option<PathBuf> {
    FILE.get().cloned().or_else(|| std::env::var_os("TENANTRY_FAILPOINTS").map(PathBuf::from))
}

/// Does what the file says about this place, if it says anything.
pub async fn reach(place: &Place<'_>) -> Result<()> {
    let Some(path) = file() else { return Ok(()) };
    loop {
        let lines = tokio::fs::read_to_string(&path).await.unwrap_or_default();
        let action = place.action(&lines);
        let message = format!("failpoint {place:?}");
        match action.as_deref() {
            None => return Ok(()),
            Some("retryable") => return Err(Error::retryable("failpoint", message)),
            Some("fatal") => return Err(Error::fatal("failpoint", message)),
            Some("unavailable") => return Err(Error::unavailable("failpoint", "failpoint", message)),
            Some(signal @ ("abort" | "stop")) => {
                let signal = if signal == "abort" { "-KILL" } else { "-STOP" };
                let pid = std::process::id().to_string();
                // The signal reaches this very process; what follows runs only after a SIGCONT.
                drop(tokio::process::Command::new("kill").args([signal, &pid]).status().await);
                return Ok(());
            }
            // A poll of a file of the test's own making; there is nothing to be told by.
            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
