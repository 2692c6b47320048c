//! What runs detached: the whole of the program `run-terraform`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use model::secret::Secret;
use serde_json::Value;
use sqlx::Connection as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::fence::{Fence, connect, turn};
use super::known;
use super::outcome::{Code, Failure, Outcome, Outputs};
use super::repair::{self, Existing};
use super::state;
use super::tofu::Tofu;
use super::work::{Action, Work, workspace_of};

/// Before what a run tells of its progress, each time on a line of its own on its standard output.
pub(super) const PROGRESS: &str = "progress: ";

/// How often an apply finds something more that is there already. Each round takes over at least one thing.
const ROUNDS: usize = 20;

/// How often a command asks for tofu's lock, a while apart: about a minute in all, twice what an apply gives it.
const LOCK_TRIES: usize = 60;
const LOCK_AGAIN: Duration = Duration::from_millis(500);

const APPLY: [&str; 5] = ["apply", "-json", "-auto-approve", "-input=false", "-lock-timeout=30s"];
const DESTROY: [&str; 5] = ["destroy", "-json", "-auto-approve", "-input=false", "-lock-timeout=30s"];

/// `run-terraform WORK OUTCOME DATA`: does the work in the file WORK, which it removes, leaves its [`Outcome`] in OUTCOME, and
/// keeps what tofu needs in the folder DATA. Told to stop (SIGTERM), it lets tofu finish the resource at hand; killed, it
/// takes tofu with it.
pub fn run() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [work, outcome, data] = paths.as_slice() else {
        say("usage: run-terraform WORK OUTCOME DATA");
        return ExitCode::from(2);
    };
    let read = std::fs::read_to_string(work).map(Secret::new);
    // Mounted from a Secret it stays, and goes with that.
    drop(std::fs::remove_file(work));
    let parsed = read.ok().and_then(|text| Work::parse(&text));
    let Some(parsed) = parsed else {
        say(&format!("{} holds no work", work.display()));
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(to_its_end(&parsed, data)),
        Err(error) => failed(&parsed, &Failure::new(Code::Unusable, &error.to_string())),
    };
    drop(std::fs::remove_dir_all(data));
    if let Some(failure) = &ended.failure {
        say(&format!("failed: {}", failure.message));
    }
    let text = serde_json::to_string(&ended).unwrap_or_default();
    if let Err(error) = leave(outcome, &text) {
        say(&format!("{}: {error}", outcome.display()));
        return ExitCode::from(2);
    }
    if ended.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// At once, where the place allows it: a container's termination message is a mount, which nothing can be renamed to.
fn leave(outcome: &Path, text: &str) -> std::io::Result<()> {
    let fresh = outcome.with_extension("new");
    let renamed = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, outcome));
    renamed.or_else(|_| std::fs::write(outcome, text))
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn failed(work: &Work, failure: &Failure) -> Outcome {
    let failure = Failure { code: failure.code, message: work.redacted(&failure.message) };
    Outcome {
        id: work.id.clone(),
        action: work.action,
        outputs: None,
        failure: Some(failure),
        taken_over: Vec::new(),
    }
}

async fn to_its_end(work: &Work, data: &Path) -> Outcome {
    let stop = CancellationToken::new();
    let (told, within) = (stop.clone(), Duration::from_secs(work.deadline));
    let watching = tokio::spawn(async move {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return Code::Stopped;
        };
        let why = tokio::select! {
            _ = terminate.recv() => Code::Stopped,
            _ = interrupt.recv() => Code::Stopped,
            () = tokio::time::sleep(within) => Code::Deadline,
        };
        told.cancel();
        why
    });
    let ended = guarded(work, data, &stop).await;
    let why = if watching.is_finished() { watching.await.ok() } else { None };
    match ended {
        Ok(done) => done,
        Err(failure) if failure.code == Code::Stopped && why == Some(Code::Deadline) => {
            let message = format!("was not done after {} s (infrastructure.deadline)", work.deadline);
            failed(work, &Failure::new(Code::Deadline, &message))
        }
        Err(failure) => failed(work, &failure),
    }
}

/// Works behind our own lock. When that is lost, tofu is killed with all that it started.
async fn guarded(work: &Work, data: &Path, stop: &CancellationToken) -> Result<Outcome, Failure> {
    let mut fence = Fence::take(&work.state_database, &workspace_of(work.tenant)).await?;
    let running = Running { work, tofu: Tofu::new(work, data, stop.clone())? };
    let ended = tokio::select! {
        biased;
        lost = fence.lost() => Err(lost),
        ended = running.steps() => ended,
    };
    fence.release().await;
    ended
}

struct Running<'a> {
    work: &'a Work,
    tofu: Tofu<'a>,
}

/// What an apply that ended by itself has come to.
#[derive(Default)]
struct Applied {
    /// What it has taken over of one that was killed.
    taken_over: Vec<String>,
    /// What is there under a wanted name, and is somebody else's.
    foreign: BTreeSet<String>,
    /// What its last round was to make; none where it came to no whole plan.
    wanted: Option<BTreeSet<String>>,
    /// Why it did not do it.
    failure: Option<Failure>,
}

impl Running<'_> {
    async fn steps(&self) -> Result<Outcome, Failure> {
        match self.work.action {
            Action::Apply => self.make().await,
            Action::Destroy => self.take_away().await,
        }
    }

    fn say(&self, words: &str) {
        let action = match self.work.action {
            Action::Apply => "apply",
            Action::Destroy => "destroy",
        };
        say(&format!("{PROGRESS}{action}: {words}"));
    }

    fn done(&self, outputs: Option<Outputs>, taken_over: Vec<String>) -> Outcome {
        Outcome { id: self.work.id.clone(), action: self.work.action, outputs, failure: None, taken_over }
    }

    async fn make(&self) -> Result<Outcome, Failure> {
        self.enter().await?;
        let Applied { taken_over, failure, .. } = self.apply().await?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let told = self.tofu.must(&["output", "-json", "-no-color"]).await?;
        Ok(self.done(Some(outputs(&told)?), taken_over))
    }

    async fn take_away(&self) -> Result<Outcome, Failure> {
        let workspace = workspace_of(self.work.tenant);
        let mut session = connect(&self.work.state_database).await?;
        let exists = state::exists(&mut session, &workspace).await?;
        drop(session.close().await);
        if !exists {
            return Ok(self.done(None, Vec::new()));
        }
        self.enter().await?;
        let mut taken_over = Vec::new();
        if self.unfinished().await? {
            // What a killed apply has made is not in its state, and what is not there is not destroyed.
            self.say("finishing an apply that was killed");
            let applied = self.apply().await?;
            if let Some(failure) = &applied.failure {
                self.nothing_unseen(&applied, failure).await?;
                self.say(&failure.message);
            }
            taken_over = applied.taken_over;
        }
        self.disown().await?;
        self.untaint().await?;
        let (ok, progress) = self.tofu.follow(&DESTROY, &|words| self.say(words)).await?;
        if !ok {
            return Err(Failure::new(Code::Failed, &progress.said()));
        }
        let mut turn = turn(&self.work.state_database).await?;
        self.locking(&["workspace", "delete", "-no-color", &workspace]).await?;
        state::mark(&mut turn, &workspace, false).await?;
        drop(turn.close().await);
        Ok(self.done(None, taken_over))
    }

    /// Makes the backend and the workspace ready, one run after the other: tofu's own tables and workspaces cannot be made by
    /// several at once.
    async fn enter(&self) -> Result<(), Failure> {
        self.say("preparing the workspace");
        let workspace = workspace_of(self.work.tenant);
        let mut turn = turn(&self.work.state_database).await?;
        state::prepare(&mut turn).await?;
        self.tofu.must_outside(&["init", "-input=false", "-no-color"]).await?;
        if !state::exists(&mut turn, &workspace).await? {
            self.locking(&["workspace", "new", "-no-color", &workspace]).await?;
        }
        drop(turn.close().await);
        Ok(())
    }

    /// Runs a command that takes tofu's lock until it gets it. To lock any workspace, tofu takes the lock of new ones too, for a
    /// moment, and whoever comes in that moment is refused; so is who comes before the session of a killed one has ended.
    async fn locking(&self, arguments: &[&str]) -> Result<String, Failure> {
        // A workspace is made and removed from outside of it.
        let outside = arguments.first() == Some(&"workspace");
        let mut tries = 0;
        loop {
            tries += 1;
            let ended = if outside {
                self.tofu.must_outside(arguments).await
            } else {
                self.tofu.must(arguments).await
            };
            match ended {
                Err(failure) if was_locked(&failure) && tries < LOCK_TRIES => {
                    self.say("waiting for tofu's lock");
                    tokio::time::sleep(LOCK_AGAIN).await;
                }
                ended => return ended,
            }
        }
    }

    async fn unfinished(&self) -> Result<bool, Failure> {
        let mut session = connect(&self.work.state_database).await?;
        let unfinished = state::unfinished(&mut session, &workspace_of(self.work.tenant)).await?;
        drop(session.close().await);
        Ok(unfinished)
    }

    async fn mark(&self, unfinished: bool) -> Result<(), Failure> {
        let mut session = connect(&self.work.state_database).await?;
        state::mark(&mut session, &workspace_of(self.work.tenant), unfinished).await?;
        drop(session.close().await);
        Ok(())
    }

    /// Applies until it is done or fails, taking over what a killed one has left.
    async fn apply(&self) -> Result<Applied, Failure> {
        let was_killed = self.unfinished().await?;
        self.mark(true).await?;
        if was_killed {
            self.disown().await?;
        }
        let ended = self.rounds().await;
        // One that ended by itself has written all it did; what one before it did not write is known only by a success.
        let whole = match &ended {
            Ok(applied) => applied.failure.is_none() || !was_killed,
            Err(failure) => !was_killed && failure.code == Code::Failed,
        };
        if whole {
            self.mark(false).await?;
        }
        ended
    }

    async fn rounds(&self) -> Result<Applied, Failure> {
        let mut applied = Applied::default();
        for _ in 0..ROUNDS {
            let (ok, progress) = self.tofu.follow(&APPLY, &|words| self.say(words)).await?;
            applied.wanted = progress.wanted().cloned();
            if ok {
                return Ok(applied);
            }
            let mut existing = repair::existing(&progress.errors);
            existing.retain(|one| !applied.taken_over.contains(&one.address));
            if existing.is_empty() {
                applied.failure = Some(Failure::new(Code::Failed, &progress.said()));
                return Ok(applied);
            }
            for one in existing {
                self.say(&format!("taking over {}", one.address));
                if self.take_over(&one).await? {
                    applied.taken_over.push(one.address);
                    continue;
                }
                let message = format!("{} exists and does not belong to this tenant", one.id);
                applied.failure = Some(Failure::new(Code::Foreign, &message));
                applied.foreign.insert(one.address);
            }
            if applied.failure.is_some() {
                return Ok(applied);
            }
        }
        let said = format!("there is always more that exists already: {:?}", applied.taken_over);
        applied.failure = Some(Failure::new(Code::Failed, &said));
        Ok(applied)
    }

    /// Brings what exists into the state; whether it is the tenant's. A resource whose own steps say that it exists is there,
    /// marked as broken.
    async fn take_over(&self, one: &Existing) -> Result<bool, Failure> {
        let known = self.tofu.must(&["state", "list"]).await?;
        if known.lines().any(|line| line == one.address) {
            self.locking(&["untaint", "-no-color", &one.address]).await?;
            return Ok(true);
        }
        let import = ["import", "-input=false", "-no-color", &one.address, &one.id];
        self.locking(&import).await?;
        Ok(!self.disown().await?.contains(&one.address))
    }

    /// Takes out of the state what is somebody else's, and leaves it as it is. One that was killed between an import and the
    /// look at its tag has left it there, where the next destroy would delete it.
    async fn disown(&self) -> Result<BTreeSet<String>, Failure> {
        let foreign = known::foreign(&self.shown().await?, self.work.tenant);
        for address in &foreign {
            self.locking(&["state", "rm", "-no-color", address]).await?;
        }
        Ok(foreign)
    }

    /// Fails where something may be there that a destroy does not see: what a killed apply may have made, and the one after
    /// it has neither found nor made.
    async fn nothing_unseen(&self, applied: &Applied, failure: &Failure) -> Result<(), Failure> {
        let known = known::addresses(&self.shown().await?);
        let Some(what) = unseen(applied, &known) else { return Ok(()) };
        let message = format!(
            "{}\nAn apply was killed, and it is unknown whether it had created {what}.",
            failure.message
        );
        Err(Failure::new(Code::Unseen, &message))
    }

    /// A broken resource's own steps of removal would be left out.
    async fn untaint(&self) -> Result<(), Failure> {
        for address in known::tainted(&self.shown().await?) {
            self.locking(&["untaint", "-no-color", &address]).await?;
        }
        Ok(())
    }

    async fn shown(&self) -> Result<Value, Failure> {
        let told = self.tofu.must(&["show", "-json", "-no-color"]).await?;
        serde_json::from_str(&told)
            .map_err(|error| Failure::new(Code::Failed, &format!("tofu show: {error}")))
    }
}

/// Whether tofu did nothing because another holds its lock. It breaks what it says into lines.
fn was_locked(failure: &Failure) -> bool {
    let said: Vec<&str> = failure.message.split_whitespace().collect();
    said.join(" ").to_lowercase().contains("already locked")
}

/// What may be there and be none of what a state knows; none if nothing may.
fn unseen(applied: &Applied, known: &BTreeSet<String>) -> Option<String> {
    let Some(wanted) = &applied.wanted else { return Some("anything".to_owned()) };
    // What is somebody else's by that name cannot be the tenant's too.
    let of_none = wanted.iter().filter(|one| !known.contains(*one) && !applied.foreign.contains(*one));
    let of_none: Vec<&str> = of_none.map(String::as_str).collect();
    (!of_none.is_empty()).then(|| of_none.join(", "))
}

/// Reads what `tofu output -json` prints.
fn outputs(told: &str) -> Result<Outputs, Failure> {
    let wrong = |why: &str| Failure::new(Code::Failed, &format!("the module's outputs: {why}"));
    let told: Value = serde_json::from_str(told).map_err(|error| wrong(&error.to_string()))?;
    let plain: serde_json::Map<String, Value> = told
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, output)| (name.clone(), output["value"].clone()))
        .collect();
    let outputs: Outputs =
        serde_json::from_value(Value::Object(plain)).map_err(|error| wrong(&error.to_string()))?;
    if outputs.host.is_empty() || outputs.port == 0 {
        return Err(wrong("host is empty, or port is 0"));
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn outputs_are_read_and_what_is_missing_is_said() {
        let told = json!({
            "host": { "sensitive": false, "type": "string", "value": "10.0.0.4" },
            "port": { "sensitive": false, "type": "number", "value": 5432 },
            "admin_user": { "value": "a" },
            "cidrs": { "value": ["10.0.0.0/28"] },
            "more": { "value": null },
        });
        let read = outputs(&told.to_string()).unwrap();
        assert_eq!((read.host.as_str(), read.port, read.cidrs.len()), ("10.0.0.4", 5432, 1));
        let without = json!({ "host": { "value": "h" }, "admin_user": { "value": "a" } });
        assert!(outputs(&without.to_string()).unwrap_err().message.contains("port"));
        let none =
            json!({ "host": { "value": "h" }, "port": { "value": 0 }, "admin_user": { "value": "a" } });
        assert!(outputs(&none.to_string()).is_err());
    }

    /// As OpenTofu 1.12.6 says it.
    #[test]
    fn a_lock_that_another_holds_is_told_from_other_failures() {
        let failure = |said| Failure::new(Code::Failed, said);
        for said in [
            "tofu workspace delete: Error: Error acquiring the state lock\n\nError message: Cannot lock workspace; already \
             locked for workspace creation:\ntenant-1",
            "Failed getting state manager for workspace tenant-1: failed to lock state in\nPostgres: Already locked for \
             workspace creation: tenant-1",
            "Error message: Workspace is already\nlocked: tenant-1",
        ] {
            assert!(was_locked(&failure(said)), "{said}");
        }
        assert!(!was_locked(&failure("Error: Failed to save state: locked")));
    }

    #[test]
    fn what_was_wanted_and_is_neither_known_nor_foreign_may_be_there_unseen() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let applied = |wanted: Option<&[&str]>, foreign: &[&str]| Applied {
            wanted: wanted.map(set),
            foreign: set(foreign),
            ..Applied::default()
        };
        let known = set(&["a.made"]);
        assert_eq!(unseen(&applied(None, &[]), &known).as_deref(), Some("anything"), "it came to no plan");
        assert_eq!(unseen(&applied(Some(&[]), &[]), &known), None);
        assert_eq!(unseen(&applied(Some(&["a.made", "a.foreign"]), &["a.foreign"]), &known), None);
        let throttled = applied(Some(&["a.made", "a.throttled", "a.after_it"]), &[]);
        assert_eq!(unseen(&throttled, &known).as_deref(), Some("a.after_it, a.throttled"));
    }
}
