//! A file of failpoints, which the phases read before and after every operation.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use engine::phase::OperationHook;
use tempfile::TempDir;

use crate::failpoint::FailpointFile;

/// The failpoints of one process. Lines are keyed by slug, so tests may share it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Failpoints {
    folder: Arc<TempDir>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Failpoints {
    /// A file of its own, for a process that the test starts.
    pub fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let made = Self { folder, lines: Arc::default() };
        made.write(&[]);
        made
    }

    /// Those of this very process.
    pub fn of_this_process() -> Self {
        static SHARED: OnceLock<Failpoints> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    /// The hook that does what this file says.
    pub fn hook(&self) -> Option<Arc<dyn OperationHook>> {
        Some(Arc::new(FailpointFile::new(self.path())))
    }

    /// Where the file is: the value of `TENANTRY_FAILPOINTS`.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("failpoints")
    }

    /// Sets one: `place` is phase, `apply` or `revert`, operation, `before` or `after`; `*` matches anything.
    pub fn set(&self, slug: &str, place: [&str; 4], action: &str) {
        let mut lines = self.lines.lock().unwrap();
        lines.push(format!("{slug}\t{}\t{action}", place.join("\t")));
        self.write(&lines);
    }

    /// Lifts those of a slug whose place begins so; an empty `place` lifts all of them.
    pub fn lift(&self, slug: &str, place: &[&str]) {
        let beginning = [&[slug], place].concat().join("\t") + "\t";
        let mut lines = self.lines.lock().unwrap();
        lines.retain(|line| !line.starts_with(&beginning));
        self.write(&lines);
    }

    fn write(&self, lines: &[String]) {
        // Renamed into place, so that nobody reads half a file.
        let next: &Path = &self.folder.path().join("next");
        std::fs::write(next, lines.join("\n")).expect("failpoints");
        std::fs::rename(next, self.path()).expect("failpoints");
    }
}

impl Default for Failpoints {
    fn default() -> Self {
        Self::new()
    }
}
