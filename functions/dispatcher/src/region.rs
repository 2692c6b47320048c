//! The option `--region` of commands that are for one region or for all.

use std::sync::Arc;

use anyhow::bail;
use clap::{Arg, ArgMatches};
use model::platform::Platform;
use tenants::Regions;
use tenants::Store;

pub(crate) fn argument() -> Arg {
    Arg::new("region").long("region").help("Only this region's")
}

/// The region that was asked for; none: all. Fails where nobody knows it.
pub(crate) async fn chosen<'a>(
    matches: &'a ArgMatches,
    store: &Store,
    platform: Platform,
) -> anyhow::Result<Option<&'a str>> {
    let Some(region) = matches.get_one::<String>("region") else { return Ok(None) };
    if !Regions::new(store.clone(), Arc::new(platform)).now().await?.regions.contains_key(region) {
        bail!("region '{region}' is neither in the platform's configuration nor was it created by the API");
    }
    Ok(Some(region))
}
