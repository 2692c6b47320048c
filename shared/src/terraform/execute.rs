//! What runs detached: the whole of the program `run-terraform`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use sqlx::Connection as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::fence::{Fence, connect, turn};
use super::outcome::{Code, Failure, Outcome, Outputs};
use super::repair::{self, Existing};
use super::state;
use super::tofu::Tofu;
use super::work::{Action, Work, workspace_of};
use crate::model::TenantId;
use crate::secret::Secret;

/// Before what a run tells of its progress, each time on a line of its own on its standard output.
pub(super) const PROGRESS: &str = "progress: ";

/// How often an apply finds something more that is there already. Each round takes over at least one thing.
const ROUNDS: usize = 20;

/// The tag by which a cloud's resource says whose it is.
const TAG: &str = "tenantry-tenant";

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
        let taken_over = self.apply().await?;
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
            match self.apply().await {
                Ok(taken) => taken_over = taken,
                // By now the state has all that can be known.
                Err(failure) if failure.code == Code::Failed => self.say(&failure.message),
                Err(failure) => return Err(failure),
            }
        }
        self.untaint().await?;
        let (ok, progress) = self.tofu.follow(&DESTROY, &|words| self.say(words)).await?;
        if !ok {
            return Err(Failure::new(Code::Failed, &progress.said()));
        }
        let mut turn = turn(&self.work.state_database).await?;
        self.tofu.must_outside(&["workspace", "delete", "-no-color", &workspace]).await?;
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
            self.tofu.must_outside(&["workspace", "new", "-no-color", &workspace]).await?;
        }
        drop(turn.close().await);
        Ok(())
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

    /// Applies until it is done, taking over what a killed one has left; the addresses of that.
    async fn apply(&self) -> Result<Vec<String>, Failure> {
        let was_killed = self.unfinished().await?;
        self.mark(true).await?;
        let ended = self.rounds().await;
        // One that ended by itself has written all it did; what one before it did not write is known only by a success.
        if ended.is_ok() || (!was_killed && matches!(&ended, Err(failure) if failure.code == Code::Failed)) {
            self.mark(false).await?;
        }
        ended
    }

    async fn rounds(&self) -> Result<Vec<String>, Failure> {
        let mut taken_over: Vec<String> = Vec::new();
        for _ in 0..ROUNDS {
            let (ok, progress) = self.tofu.follow(&APPLY, &|words| self.say(words)).await?;
            if ok {
                return Ok(taken_over);
            }
            let mut existing = repair::existing(&progress.errors);
            existing.retain(|one| !taken_over.contains(&one.address));
            if existing.is_empty() {
                return Err(Failure::new(Code::Failed, &progress.said()));
            }
            for one in existing {
                self.say(&format!("taking over {}", one.address));
                self.take_over(&one).await?;
                taken_over.push(one.address);
            }
        }
        Err(Failure::new(Code::Failed, &format!("there is always more that exists already: {taken_over:?}")))
    }

    /// Brings what exists into the state. A resource whose own steps say so is there, marked as broken.
    async fn take_over(&self, one: &Existing) -> Result<(), Failure> {
        let known = self.tofu.must(&["state", "list"]).await?;
        if known.lines().any(|line| line == one.address) {
            self.tofu.must(&["untaint", "-no-color", &one.address]).await?;
            return Ok(());
        }
        self.tofu.must(&["import", "-input=false", "-no-color", &one.address, &one.id]).await?;
        if foreign(&self.shown().await?, &one.address, self.work.tenant) {
            self.tofu.must(&["state", "rm", "-no-color", &one.address]).await?;
            let message = format!("{} exists and does not belong to this tenant", one.id);
            return Err(Failure::new(Code::Foreign, &message));
        }
        Ok(())
    }

    /// A broken resource's own steps of removal would be left out.
    async fn untaint(&self) -> Result<(), Failure> {
        for address in tainted(&self.shown().await?) {
            self.tofu.must(&["untaint", "-no-color", &address]).await?;
        }
        Ok(())
    }

    async fn shown(&self) -> Result<Value, Failure> {
        let told = self.tofu.must(&["show", "-json", "-no-color"]).await?;
        serde_json::from_str(&told)
            .map_err(|error| Failure::new(Code::Failed, &format!("tofu show: {error}")))
    }
}

fn resources(shown: &Value) -> impl Iterator<Item = &Value> {
    shown["values"]["root_module"]["resources"].as_array().into_iter().flatten()
}

fn tainted(shown: &Value) -> Vec<String> {
    let tainted = resources(shown).filter(|resource| resource["tainted"] == true);
    tainted.filter_map(|resource| resource["address"].as_str().map(str::to_owned)).collect()
}

/// Whether a resource that can say whose it is says that it is not the tenant's.
fn foreign(shown: &Value, address: &str, tenant: TenantId) -> bool {
    let found = resources(shown).find(|resource| resource["address"] == address);
    let tags = found.and_then(|resource| resource["values"].get("tags"));
    tags.is_some_and(|tags| tags[TAG].as_str() != Some(&tenant.to_string()))
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

    #[test]
    fn what_a_tag_says_is_somebody_elses_is_foreign() {
        let tenant: TenantId = "550e8400-e29b-41d4-a716-446655440000".parse().unwrap();
        let shown = |tags: Value| {
            json!({ "values": { "root_module": { "resources": [
                { "address": "a.b", "values": tags, "tainted": true }, { "address": "a.c", "values": {} },
            ] } } })
        };
        let ours = shown(json!({ "tags": { TAG: tenant } }));
        assert!(!foreign(&ours, "a.b", tenant));
        for tags in [json!({ "tags": { TAG: "another" } }), json!({ "tags": {} }), json!({ "tags": null })] {
            assert!(foreign(&shown(tags), "a.b", tenant));
        }
        assert!(!foreign(&shown(json!({})), "a.b", tenant), "it cannot say whose it is");
        assert_eq!(tainted(&ours), ["a.b"]);
    }
}
