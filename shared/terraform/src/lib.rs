//! OpenTofu: a tenant's own infrastructure, one workspace for each tenant.
//!
//! An apply or a destroy outlasts a function's limit. A function therefore only hands it over: to a Kubernetes Job, or to a
//! supervisord ([`Detached`]), always under the fixed name `tf-<tenant>`, which is the lock that keeps two of them apart. What
//! runs there is [`run`], the whole of the program `run-terraform`. It leaves an [`Outcome`] and tells its progress.
//!
//! What is known of tofu's own locks and states is handled there, once: workspaces are created one at a time; a session of
//! ours holds a lock beside tofu's and its loss ends tofu with all that it started; an apply that was killed is marked, since
//! its progress is lost; and what such a one has left is taken over by import.

mod detached;
mod environment;
mod execute;
mod fence;
mod job;
mod known;
mod outcome;
mod progress;
mod repair;
mod rpc;
mod site;
mod state;
mod supervised;
mod tofu;
mod work;

pub use detached::Detached;
pub use execute::run;
pub use outcome::{Failure, Outcome, Outputs};
pub use site::Site;
pub use state::workspaces;
pub use work::{Action, Work, name_of, workspace_of};
