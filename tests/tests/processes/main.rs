//! The promises about processes, held by the real programs.

mod features;
mod killing;
mod whole;
