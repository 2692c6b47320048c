//! A child process that cannot outlive the one who asked for it.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid, getppid};
use tokio::process::{Child, Command};

/// Should this process be killed, the kernel kills the child: nobody else would.
fn die_with_us(command: &mut Command) {
    let parent = getpid();
    let prepare = move || -> io::Result<()> {
        // The kernel watches the thread that forks. Ours is a worker of the runtime, which lives as long as that does.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the line above, and then no signal comes.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec only async-signal-safe functions may be called: prctl and getppid are such, and
    // nothing here allocates, locks, or panics.
    unsafe { command.pre_exec(prepare) };
}

/// A child that leads its own process group. Dropping it kills it with all it started, and returns only when it is
/// reaped.
#[derive(Debug)]
pub struct Group(Child);

impl Group {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.process_group(0);
        die_with_us(command);
        Ok(Self(command.spawn()?))
    }

    /// The child, for its pipes and its end.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Already reaped: its number may by now be another's, so nothing may be sent to it.
        let Some(id) = self.0.id() else { return };
        let Ok(pid) = i32::try_from(id).map(Pid::from_raw) else { return };
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        // It may have ended by itself just now.
        let _ = killpg(pid, Signal::SIGKILL);
        // Waits without reaping, which blocks for no longer than the kernel needs to end a killed process; the one who
        // spawned it reaps, so that the number is not waited for again later.
        while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        drop(self.0.try_wait());
    }
}
