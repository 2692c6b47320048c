//! How the phase fails beside its keys.

use engine::phase::Error;
use engine::store::StoreError;
use tenants::StoredLicense;

pub(crate) fn of_store(error: impl Into<StoreError>) -> Error {
    Error::retryable("license_store", error.into().to_string())
        .next("See that the control plane's database is up; it is tried again.")
}

pub(crate) fn missing() -> Error {
    Error::retryable("license_missing", "the licence that was stored is not there")
        .next("It was removed by hand; retry makes a new one.")
}

pub(crate) fn unreadable(license: &StoredLicense, why: &str) -> Error {
    Error::retryable("license_unreadable", format!("licence {}: {why}", license.id))
        .next("See that the keys under [license] are the ones it was made with; retry makes a new one.")
}

pub(crate) fn overtaken() -> Error {
    Error::retryable("license_overtaken", "another worker has changed the tenant's licence meanwhile")
        .next("Nothing needs to be done: it is tried again.")
}
