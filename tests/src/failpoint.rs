//! Failpoints at both edges of every operation, for the tests' own programs and for the tests themselves.
//!
//! They are set by lines in a file (of a program: the one that `TENANTRY_FAILPOINTS` names), read at every operation, so that a
//! test can set and lift them in a process that it has started as well as in its own:
//!
//! `<slug> <PHASE> <apply|revert> <operation> <before|after> <action>` where `*` matches anything, the fields are
//! separated by tabs, and the action is `retryable`, `fatal`, `unavailable`, `abort` (the process dies by SIGKILL),
//! `stop` (the process stops by SIGSTOP), or `hold` (waits until the line is gone).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::phase::{Error, OperationEdge, OperationHook, Result, Side};

/// Does what a file says.
#[derive(Clone, Debug)]
pub struct FailpointFile(PathBuf);

impl FailpointFile {
    /// This file. It may be missing, and then says nothing.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The hook of a program: the file that `TENANTRY_FAILPOINTS` names.
    pub fn from_env() -> Option<Arc<dyn OperationHook>> {
        let path = std::env::var_os("TENANTRY_FAILPOINTS")?;
        Some(Arc::new(Self(path.into())))
    }
}

#[async_trait]
impl OperationHook for FailpointFile {
    async fn reached(&self, edge: &OperationEdge<'_>) -> Result<()> {
        loop {
            let lines = tokio::fs::read_to_string(&self.0).await.unwrap_or_default();
            let message = format!("failpoint {edge:?}");
            match action(edge, &lines) {
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
}

/// What the lines say about this edge.
fn action<'a>(edge: &OperationEdge<'_>, lines: &'a str) -> Option<&'a str> {
    let here = [
        edge.slug.as_str(),
        edge.phase.as_str(),
        if edge.backward { "revert" } else { "apply" },
        edge.operation,
        match edge.side {
            Side::Before => "before",
            Side::After => "after",
        },
    ];
    lines.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let matches =
            here.iter().all(|part| fields.next().is_some_and(|field| field == "*" || field == *part));
        if matches { fields.next() } else { None }
    })
}
