//! One module per outside system, each behind a cargo feature so that a function links only what it uses.

#[cfg(feature = "invitation")]
pub mod invitation;
#[cfg(feature = "license")]
pub mod license;
#[cfg(feature = "seal")]
pub mod seal;
