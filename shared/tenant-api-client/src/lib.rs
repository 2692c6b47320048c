//! The tenant-api's internal interface: the only way to a tenant's role, database and schema. Which of its answers mean
//! "down", "not ours" and "try again" is decided here, once, for every phase.

mod answer;
mod client;
mod credentials;
mod license;
mod login;
mod own_secret;
mod server;
mod users;

pub use answer::{Created, Dropped, Initialized, Item, Migration, Seeded};
pub use client::{Initialize, TenantApi};
pub use credentials::Credentials;
pub use login::{Checked, check, check_from_env};
pub use own_secret::own_secret;
pub use server::{Access, Admin, DatabaseTarget, Server, Strategy};
pub use tenants::reads::OwnPostgres;
pub use users::{BootstrapUser, Invitation, Invited};
