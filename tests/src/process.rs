//! Programs as child processes that cannot outlive the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::environment::required;

/// What a process finds in its environment; nothing else is handed on.
pub type Variables = BTreeMap<String, String>;

/// Marks a child and all that it starts, whatever process group they are in.
const MARK: &str = "TENANTRY_TEST_PROCESS";

/// A program of the workspace as cargo has built it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    // target/<profile>/deps/<test>
    let path = test.ancestors().nth(2).expect("a target folder").join(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --all-targets", path.display());
    path
}

/// A running program. Dropped, it is killed and reaped with all that it has started; if the test is failing, the end of
/// its log is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    mark: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with nothing but `variables`, its output in a log in `folder`.
    pub fn start(name: &str, mut command: Command, variables: &Variables, folder: &Path) -> Self {
        let mark = uuid::Uuid::new_v4().to_string();
        let log = folder.join(format!("{name}-{mark}.log"));
        let out = File::create(&log).expect("a log file");
        let child = command
            .env_clear()
            .envs(variables)
            .env(MARK, &mark)
            // Should the test be killed, the end of its stack ends it.
            .env("TENANTRY_STACK", required("TENANTRY_ENV_OF"))
            // What a killed process leaves there goes with the tests.
            .env("TMPDIR", std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a log file"))
            .stderr(out)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), mark, child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal; to it alone, not to what it has started.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(pid(self.child.id()), signal);
    }

    /// SIGKILL, and waits for its end. One that has ended is left alone: its number may by now be another's.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        self.child.wait().expect("our child");
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child")
    }

    /// Waits for its end, at most three minutes.
    pub async fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(began.elapsed() < Duration::from_mins(3), "{} goes on\n{}", self.name, self.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has died by SIGKILL, as a failpoint lets it.
    pub async fn end_by_kill(&mut self) {
        let status = self.end().await;
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{}: {status}\n{}", self.name, self.tail());
    }

    /// Waits until `url` answers with success.
    pub async fn serves(&mut self, url: &str) {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
        let began = Instant::now();
        loop {
            if http.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.ended();
            assert!(ended.is_none(), "{} has ended: {ended:?}\n{}", self.name, self.tail());
            assert!(began.elapsed() < Duration::from_mins(3), "{url} does not answer\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(25);
        format!("--- the end of the log of {}:\n{}", self.name, lines[from..].join("\n"))
    }

    /// Those of its offspring that are programs of the workspace. What one of those starts (helm, a collector) is a copy of
    /// it until it becomes what it shall be, and does not count.
    pub fn functions(&self) -> Vec<u32> {
        let programs = program("dispatcher");
        let programs = programs.parent().expect("a folder");
        let is_ours = |id: u32| {
            let running = std::fs::read_link(format!("/proc/{id}/exe"));
            running.is_ok_and(|path| path.parent() == Some(programs))
        };
        let began_itself = |id: u32| parent(id).is_some_and(|parent| !is_ours(parent));
        self.offspring().into_iter().filter(|id| is_ours(*id) && began_itself(*id)).collect()
    }

    /// The processes that it has started, and those that they have, itself left out.
    pub fn offspring(&self) -> Vec<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        processes()
            .into_iter()
            .filter(|id| *id != self.child.id())
            .filter(|id| {
                let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
            })
            .collect()
    }
}

fn parent(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name in brackets, which may hold anything: state, parent.
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        for id in self.offspring() {
            let _ = kill(pid(id), Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// Every process of this machine.
pub fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A port that nobody listens on, and that no other test of this stack is given while this one runs: below Linux's
/// ephemeral ports, from which the kernel takes those of connections.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = PathBuf::from(required("TENANTRY_ENV_OF")).join("ports");
    std::fs::create_dir_all(&folder).expect("a folder");
    // Tests that run side by side begin at different places, and seldom meet.
    let first = std::process::id().wrapping_mul(97);
    for nth in 0..8_000 {
        let port = u16::try_from(24_000 + first.wrapping_add(nth) % 8_000).expect("a port");
        let lock = File::create(folder.join(port.to_string())).expect("a lock file");
        // Held until this process ends.
        if lock.try_lock().is_ok() && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            TAKEN.lock().expect("locks").push(lock);
            return port;
        }
    }
    panic!("no free port between 24000 and 31999");
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a process id"))
}
