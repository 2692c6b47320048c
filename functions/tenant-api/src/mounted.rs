//! A tenant's licence as a file: its Secret, mounted into the tenant's own instance. The kubelet replaces the file within
//! about a minute of a new licence, without telling anybody.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::problem::Problem;

/// The key that ISSUE_LICENSE writes in the Secret `tenant-api-license`.
const FILE: &str = "license";

/// Between two looks. The file is small and in memory, so that a look may be part of any call.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The file, and the last look at it. What is in it is not kept.
#[derive(Debug)]
pub(crate) struct Mounted {
    file: PathBuf,
    last: Mutex<Look>,
}

#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    /// Said once, and again when it is something else.
    wrong: Option<String>,
}

impl Mounted {
    /// In this folder, which may be empty still.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { file: folder.join(FILE), last: Mutex::default() }
    }

    /// Shows `take` what is there, unless somebody has looked a moment ago. What it refuses is logged and left out.
    pub(crate) fn look(&self, take: impl FnOnce(&str) -> Result<(), Problem>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        last.at = Some(Instant::now());
        let wrong = match fs::read_to_string(&self.file) {
            Ok(text) => {
                take(text.trim_end()).err().map(|problem| format!("{}: {}", problem.code(), problem.detail()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = wrong.as_ref().filter(|_| wrong != last.wrong) {
            tracing::warn!(file = %self.file.display(), why, "the mounted licence is left out");
        }
        last.wrong = wrong;
    }
}
