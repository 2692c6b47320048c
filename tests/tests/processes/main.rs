//! The promises about processes, held by the real programs.

mod features;
mod killing;
mod outages;
mod secrets;
mod settings;
mod stopping;
mod whole;
