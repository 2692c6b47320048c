//! What is done to licences by hand: beside dispatchers, relays and runs that are at work.

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Command};
use cluster::Secrets;
use model::platform::Platform;
use serde_json::json;
use tenants::Store;
use tenants::phases;

use crate::region;

pub(crate) fn arguments() -> Command {
    Command::new("license")
        .about("The tenants' licences and their keys")
        .subcommand_required(true)
        .subcommand(Command::new("rewrap").about(
            "Re-wrap every data key, including those of pending invitations, under license.seal_with, so that older keys can be removed (idempotent)",
        ))
        .subcommand(
            Command::new("announce")
                .about("Tell the data plane of all current licences again")
                .arg(region::argument()),
        )
        .subcommand(
            Command::new("public-keys").about(
                "Print the public keys of license.signing_keys, as a tenant-api's LICENSE_PUBLIC_KEYS",
            ),
        )
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) async fn execute(matches: &ArgMatches) -> anyhow::Result<()> {
    let platform = Platform::from_env(&phases::step_names())?;
    match matches.subcommand() {
        Some(("rewrap", _)) => return rewrap(&platform).await,
        Some(("announce", announce)) => {
            let store = Store::connect(1)?;
            let region = region::chosen(announce, &store, platform).await?;
            let notices = store.announce_licenses(region).await?;
            println!("{}", json!({ "notices": notices }));
        }
        _ => println!("{}", license::read_signer(&platform.license, &Secrets).await?.public_keys().text()),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
async fn rewrap(platform: &Platform) -> anyhow::Result<()> {
    let seals = license::read_seals(&platform.license, &Secrets).await?;
    let done = license::rewrap(&Store::connect(1)?, &seals).await.context("the rewrap has not ended")?;
    println!(
        "{}",
        json!({ "keyEncryptionKey": seals.key_id(), "rewrapped": done.rewrapped, "unopened": done.unopened.len() })
    );
    for found in &done.unopened {
        tracing::warn!(what = found.what, id = %found.id, tenant.id = %found.tenant_id, why = found.why,
            "does not open, and stays as it is");
    }
    if !done.unopened.is_empty() {
        bail!(
            "{} licences or invitations do not open; no key that they need may be removed",
            done.unopened.len()
        );
    }
    Ok(())
}
