//! How every HTTP server of Tenantry serves: tenant-service, tenant-api, and what the dispatcher and the event relay say of
//! themselves. Bounds on connections, headers and the stop are the same for all of them, and so are what surrounds a request,
//! the form of an error, the registry of measures and where they are asked for; other routes, and the table of its errors, are
//! each server's own.

mod frame;
mod health;
mod problem;
mod registry;
mod serve;
mod stop;

pub use frame::{Frame, REQUEST_ID};
pub use health::{alive, health};
pub use problem::{FieldError, Problem, ProblemCode, ProblemType};
pub use registry::Metrics;
pub use serve::{Bounds, serve};
pub use stop::stop_signal;
