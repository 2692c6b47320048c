//! What is done to the tenants' own instances by hand: beside dispatchers and runs that are at work.

use clap::{ArgMatches, Command};
use model::platform::Platform;
use serde_json::json;
use tenants::Store;
use tenants::phases;

use crate::region;

pub(crate) fn arguments() -> Command {
    Command::new("deployments")
        .about("The tenants' own instances of tenant-api")
        .subcommand_required(true)
        .subcommand(
            Command::new("refresh")
                .about(
                    "Bring the platform's image and public keys and the region's internal secret and job broker to all of them, \
                     by a change of each tenant; prints for how many it was begun, and how many have a run under way (run it \
                     again for those)",
                )
                .arg(region::argument()),
        )
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) async fn execute(matches: &ArgMatches) -> anyhow::Result<()> {
    let Some(("refresh", refresh)) = matches.subcommand() else { return Ok(()) };
    let store = Store::connect(1)?;
    let region = region::chosen(refresh, &store, Platform::from_env(&phases::step_names())?).await?;
    let done = store.refresh_deployments(region, "dispatcher deployments refresh").await?;
    // Only a hint: without it the sweepers find them a moment later.
    store.notify().await?;
    println!("{}", json!({ "begun": done.begun, "underWay": done.under_way }));
    Ok(())
}
