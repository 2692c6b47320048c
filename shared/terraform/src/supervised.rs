//! A run of tofu as a process under a supervisord, for a machine without nodes to run a Job on. The program `tf-<tenant>` is
//! added by a file of its own, and never started again by supervisord itself.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use engine::phase::{Error, Progress, Result};
use model::platform::Supervised;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::environment::MARK;
use super::execute::PROGRESS;
use super::outcome::{LOOK_AGAIN, Outcome, State};
use super::rpc::{ALREADY_ADDED, ALREADY_STARTED, BAD_NAME, Parameter, Rpc, STILL_RUNNING, member};
use super::work::Work;

/// A supervisord, and our folder.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    rpc: Rpc,
    settings: Supervised,
}

impl Programs {
    pub fn new(settings: &Supervised) -> Result<Self> {
        Ok(Self { rpc: Rpc::new(&settings.socket)?, settings: settings.clone() })
    }

    fn folder(&self, name: &str) -> PathBuf {
        Path::new(&self.settings.folder).join("terraform").join(name)
    }

    fn program(&self, name: &str) -> PathBuf {
        Path::new(&self.settings.folder).join("programs").join(format!("{name}.conf"))
    }

    /// What goes on under the name. That nothing runs any more is said only when no process of it is left.
    pub async fn look(&self, name: &str) -> Result<State> {
        let found = self.rpc.unless(&[BAD_NAME], "getProcessInfo", &[Parameter::Text(name)]).await?;
        let state = found.as_deref().and_then(|found| member(found, "statename")).unwrap_or_default();
        let folder = self.folder(name);
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let progress = log.lines().rev().find_map(|line| line.strip_prefix(PROGRESS)).unwrap_or("begins");
        if ["STARTING", "RUNNING", "BACKOFF", "STOPPING"].contains(&state.as_str()) {
            return Ok(State::Running(progress.to_owned()));
        }
        // Killed alone, it may have left something that it had started.
        if end_remains(name) {
            return Ok(State::Running("what is left of it is being ended".to_owned()));
        }
        let Ok(id) = std::fs::read_to_string(folder.join("id")) else { return Ok(State::Nothing) };
        let outcome = std::fs::read_to_string(folder.join("outcome")).unwrap_or_default();
        Ok(match serde_json::from_str::<Outcome>(&outcome) {
            Ok(outcome) if outcome.id == id => State::Ended(Box::new(outcome)),
            _ => State::Killed(id),
        })
    }

    /// Starts a work. Of two starts at once, one is none.
    pub async fn start(&self, name: &str, work: &Work) -> Result<()> {
        let folder = self.folder(name);
        let written = async {
            std::fs::create_dir_all(&folder)?;
            for old in ["outcome", "log"] {
                remove(&folder.join(old))?;
            }
            write(&folder.join("id"), &work.id)?;
            write(&folder.join("work"), work.to_text().expose())?;
            write(&self.program(name), &configuration(name, &folder, &self.settings.program))
        };
        written.await.map_err(|error: std::io::Error| unwritable(&folder, &error))?;
        self.rpc.unless(&[], "reloadConfig", &[]).await?;
        self.rpc.unless(&[ALREADY_ADDED], "addProcessGroup", &[Parameter::Text(name)]).await?;
        let start = [Parameter::Text(name), Parameter::Flag(false)];
        self.rpc.unless(&[ALREADY_STARTED], "startProcess", &start).await?;
        Ok(())
    }

    /// Forgets what has ended under the name; waits while something runs.
    pub async fn forget(&self, name: &str) -> Result<Progress<()>> {
        if let State::Running(progress) = self.look(name).await? {
            return Ok(Progress::wait(LOOK_AGAIN, format!("{name} ({progress})")));
        }
        let folder = self.folder(name);
        let unwritable = |error| unwritable(&folder, &error);
        remove(&self.program(name)).map_err(unwritable)?;
        // Before the folder goes: a configuration whose log has no folder is refused whole, and with it whatever another asks
        // for at that moment.
        self.rpc.unless(&[], "reloadConfig", &[]).await?;
        self.rpc.unless(&[BAD_NAME, STILL_RUNNING], "removeProcessGroup", &[Parameter::Text(name)]).await?;
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unwritable(error)),
            _ => {}
        }
        Ok(Progress::Done(()))
    }
}

fn configuration(name: &str, folder: &Path, program: &str) -> String {
    let text = |path: &Path| path.display().to_string().replace('%', "%%");
    let at = |file: &str| text(&folder.join(file));
    let command = format!(
        "\"{}\" \"{}\" \"{}\" \"{}\"",
        text(Path::new(program)),
        at("work"),
        at("outcome"),
        at("data")
    );
    // It ends in its own time, and is never begun again but by whoever knows what it was to do.
    [
        format!("[program:{name}]"),
        format!("command={command}"),
        format!("environment={MARK}=\"{name}\""),
        "autostart=false\nautorestart=false\nstartsecs=0\nstartretries=0".to_owned(),
        "stopsignal=TERM\nstopwaitsecs=20\nstopasgroup=false\nkillasgroup=true".to_owned(),
        format!(
            "redirect_stderr=true\nstdout_logfile={}\nstdout_logfile_maxbytes=1MB\nstdout_logfile_backups=0",
            at("log")
        ),
        String::new(),
    ]
    .join("\n")
}

/// Kills every process that carries the run's mark; whether there was one.
fn end_remains(name: &str) -> bool {
    let mark = format!("{MARK}={name}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let mut any = false;
    for process in processes.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
        let Ok(environment) = std::fs::read(process.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            any = true;
            // It may have ended by itself just now.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
    any
}

/// Replaces a private file at once.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    remove(&fresh)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(fresh, path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Error {
    Error::retryable("terraform_unusable", format!("{}: {error}", folder.display()))
        .next("Correct infrastructure.supervised.folder of the platform file, then retry.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, name_of};
    use model::TenantId;
    use model::platform::Platform;
    use model::secret::Secret;
    use tenants::phases;

    /// Looks as often as it takes, for half a minute.
    async fn until_ended(programs: &Programs, name: &str) -> State {
        for _ in 0..600 {
            match programs.look(name).await.unwrap() {
                State::Running(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                ended => return ended,
            }
        }
        panic!("{name} does not end")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_comes_and_goes_beside_others_is_in_nobodys_way() {
        let platform = Platform::from_env(&phases::step_names())
            .expect("these tests need the local stack: run them by `make test`");
        let settings = platform.infrastructure.unwrap().supervised.unwrap();
        // It ends at once, and leaves no outcome.
        let settings = Supervised { program: "/bin/true".into(), ..settings };
        let asks = |settings: Supervised| async move {
            let programs = Programs::new(&settings).unwrap();
            loop {
                programs.rpc.unless(&[], "reloadConfig", &[]).await.unwrap();
            }
        };
        let one = |settings: Supervised| async move {
            let programs = Programs::new(&settings).unwrap();
            let tenant = TenantId::generate();
            let name = name_of(tenant);
            let work = Work {
                id: "a-apply".into(),
                tenant,
                action: Action::Apply,
                module: "/m".into(),
                program: "tofu".into(),
                deadline: 5,
                variables: std::collections::BTreeMap::new(),
                secrets: std::collections::BTreeMap::new(),
                state_database: Secret::new(""),
                state_key: Secret::new(""),
            };
            for _ in 0..20 {
                programs.start(&name, &work).await.unwrap();
                let ended = until_ended(&programs, &name).await;
                assert!(matches!(&ended, State::Killed(id) if *id == work.id), "{ended:?}");
                assert!(matches!(programs.forget(&name).await.unwrap(), Progress::Done(())));
                assert!(matches!(programs.look(&name).await.unwrap(), State::Nothing));
                assert!(!programs.folder(&name).exists() && !programs.program(&name).exists());
            }
        };
        let asking = tokio::spawn(asks(settings.clone()));
        let several: Vec<_> = (0..4).map(|_| tokio::spawn(one(settings.clone()))).collect();
        for each in several {
            each.await.unwrap();
        }
        asking.abort();
        let Err(ended) = asking.await;
        assert!(ended.is_cancelled(), "{ended}");
    }
}
