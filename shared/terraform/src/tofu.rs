//! One tofu as a child process that leads its own group and cannot outlive us.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use child_process::Group;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{AccessFlags, Pid, access};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::environment;
use super::outcome::{Code, Failure};
use super::progress::Progress;
use super::work::{Work, workspace_of};

/// How long tofu may take to finish the resource at hand and to write its state, once it is told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Runs tofu for one work.
pub(super) struct Tofu<'a> {
    work: &'a Work,
    module: PathBuf,
    data: PathBuf,
    stop: CancellationToken,
}

/// A tofu that has ended by itself.
pub(super) struct Ended {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl<'a> Tofu<'a> {
    /// With a folder of its own, which is emptied, and what tells it to stop.
    pub fn new(work: &'a Work, data: &Path, stop: CancellationToken) -> Result<Self, Failure> {
        let unusable = |error: std::io::Error| {
            Failure::new(Code::Unusable, &format!("the folder {}: {error}", data.display()))
        };
        match std::fs::remove_dir_all(data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => {}
        }
        std::fs::create_dir_all(data).map_err(unusable)?;
        let module = workplace(Path::new(&work.module), data).map_err(|error| {
            Failure::new(Code::Unusable, &format!("infrastructure.module '{}': {error}", work.module))
        })?;
        Ok(Self { work, module, data: data.to_owned(), stop })
    }

    /// Runs a command that must succeed, in the tenant's workspace; what it printed.
    pub async fn must(&self, arguments: &[&str]) -> Result<String, Failure> {
        let workspace = workspace_of(self.work.tenant);
        Self::succeeded(arguments, self.run(arguments, Some(&workspace), |_| {}).await?)
    }

    /// As [`Tofu::must`], in no workspace.
    pub async fn must_outside(&self, arguments: &[&str]) -> Result<String, Failure> {
        Self::succeeded(arguments, self.run(arguments, None, |_| {}).await?)
    }

    fn succeeded(arguments: &[&str], ended: Ended) -> Result<String, Failure> {
        if ended.ok {
            return Ok(ended.stdout);
        }
        let doing = arguments.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let said = if ended.stderr.trim().is_empty() { &ended.stdout } else { &ended.stderr };
        Err(Failure::new(Code::Failed, &format!("tofu {doing}: {}", said.trim())))
    }

    /// Runs an apply or a destroy, and says how far it is whenever that changes.
    pub async fn follow(
        &self,
        arguments: &[&str],
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(bool, Progress), Failure> {
        let mut progress = Progress::default();
        let workspace = workspace_of(self.work.tenant);
        let ended = self
            .run(arguments, Some(&workspace), |line| {
                if progress.take(line) {
                    say(&progress.words());
                }
            })
            .await?;
        if !ended.ok && progress.errors.is_empty() {
            return Err(Failure::new(Code::Failed, &ended.stderr));
        }
        Ok((ended.ok, progress))
    }

    /// Runs tofu to its end. Told to stop, it is let finish what it is at. Dropping the future kills it with all it started.
    async fn run(
        &self,
        arguments: &[&str],
        workspace: Option<&str>,
        mut line: impl FnMut(&str),
    ) -> Result<Ended, Failure> {
        let mut command = Command::new(&self.work.program);
        command
            .arg(format!("-chdir={}", self.module.display()))
            .args(arguments)
            .env_clear()
            .envs(environment::of(self.work, &self.data))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(workspace) = workspace {
            command.env("TF_WORKSPACE", workspace);
        }
        let unusable = |error: std::io::Error| {
            Failure::new(Code::Unusable, &format!("infrastructure.program '{}': {error}", self.work.program))
        };
        if self.stop.is_cancelled() {
            return Err(stopped());
        }
        let mut group = Group::spawn(&mut command).map_err(unusable)?;
        let tofu = group.child();
        let (out, err) = (tofu.stdout.take(), tofu.stderr.take());
        let ended = async {
            let (mut stdout, mut stderr) = (String::new(), Vec::new());
            let read_out = async {
                let Some(out) = out else { return };
                let mut lines = BufReader::new(out).lines();
                while let Ok(Some(text)) = lines.next_line().await {
                    line(&text);
                    stdout.push_str(&text);
                    stdout.push('\n');
                }
            };
            let read_err = async {
                if let Some(mut err) = err {
                    drop(err.read_to_end(&mut stderr).await);
                }
            };
            tokio::join!(read_out, read_err);
            (stdout, stderr)
        };
        tokio::pin!(ended);
        let (stdout, stderr) = tokio::select! {
            printed = &mut ended => printed,
            () = self.stop.cancelled() => {
                interrupt(tofu);
                tokio::time::timeout(STOP_WITHIN, &mut ended).await.map_err(|_| stopped())?
            }
        };
        let ok = tofu.wait().await.map_err(unusable)?.success();
        if self.stop.is_cancelled() && !ok {
            return Err(stopped());
        }
        let redacted = |text: &str| self.work.redacted(text);
        Ok(Ended { ok, stdout, stderr: redacted(&String::from_utf8_lossy(&stderr)) })
    }
}

/// The module's own folder, or a copy of it where nothing can be written to that, as in an image: tofu leaves the file of
/// its providers' locks beside the module.
fn workplace(module: &Path, data: &Path) -> std::io::Result<PathBuf> {
    if access(module, AccessFlags::W_OK).is_ok() {
        return Ok(module.to_owned());
    }
    let copy = data.join("module");
    copy_folder(module, &copy)?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn stopped() -> Failure {
    Failure::new(Code::Stopped, "it was told to stop")
}

/// Only tofu itself: it lets the rest of its group finish.
fn interrupt(tofu: &Child) {
    if let Some(id) = tofu.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended by itself just now.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_can_be_written_to_is_worked_on_where_it_is_and_a_copy_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("m");
        std::fs::create_dir_all(module.join("files")).unwrap();
        std::fs::write(module.join("main.tf"), "a").unwrap();
        std::fs::write(module.join("files/b"), "b").unwrap();
        assert_eq!(workplace(&module, folder.path()).unwrap(), module);
        let copy = folder.path().join("copy");
        copy_folder(&module, &copy).unwrap();
        assert_eq!(std::fs::read_to_string(copy.join("main.tf")).unwrap(), "a");
        assert_eq!(std::fs::read_to_string(copy.join("files/b")).unwrap(), "b");
        assert!(workplace(&folder.path().join("none"), folder.path()).is_err());
    }
}
