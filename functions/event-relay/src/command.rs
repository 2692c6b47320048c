//! The command line, and the Lambda.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use lambda_runtime::{LambdaEvent, service_fn};
use model::platform::Platform;
use serde_json::{Value, json};
use tenants::Store;
use tenants::phases;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::health::{self, Health};
use crate::lane::Lane;
use crate::settings;

/// Connections to the control plane's database: one for each loop and one for what its deliveries write, and one for health.
const CONNECTIONS: u32 = 11;

fn arguments() -> Command {
    Command::new("event-relay")
        .about("Delivers the outbox to Kafka, by e-mail and to the data plane")
        .subcommand(Command::new("run").about("Deliver until told to stop (the default)"))
        .subcommand(Command::new("once").about("Deliver what is due, and end"))
        .subcommand(
            Command::new("refused")
                .about("Rows that were refused too often and set aside")
                .subcommand_required(true)
                .subcommand(
                    Command::new("list").about("Print them, one JSON object a line").arg(
                        Arg::new("limit")
                            .long("limit")
                            .help("At most so many")
                            .default_value("1000")
                            .value_parser(value_parser!(i64).range(1..)),
                    ),
                )
                .subcommand(
                    Command::new("replay").about("Have them sent again").arg(
                        Arg::new("id").long("id").help("Only this one").value_parser(value_parser!(Uuid)),
                    ),
                ),
        )
}

/// Runs the command line, or as a Lambda that delivers what is due at each invocation; says in one line what is wrong.
pub fn main() -> ExitCode {
    engine::runtime::init_logging();
    let lambda = std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some();
    let matches = (!lambda).then(|| arguments().get_matches());
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no async runtime")
        .and_then(|runtime| {
            runtime.block_on(async {
                match &matches {
                    Some(matches) => execute(matches).await,
                    None => serve_lambda().await,
                }
            })
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("event-relay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("refused", refused)) => set_aside(refused).await,
        Some(("once", _)) => {
            let (_, lanes) = connect().await?;
            drain(&lanes).await
        }
        _ => run().await,
    }
}

async fn connect() -> anyhow::Result<(Store, Vec<Arc<Lane>>)> {
    let platform = Arc::new(Platform::from_env(&phases::step_names())?);
    let store = Store::connect(CONNECTIONS)?;
    let lanes = settings::lanes(&platform, &store).await?;
    Ok((store, lanes))
}

async fn run() -> anyhow::Result<()> {
    let listen = settings::health_listen()?;
    let (store, lanes) = connect().await?;
    let listener = match listen {
        Some(address) => Some(health::listen(address).await?),
        None => None,
    };
    let stopped = http_server::stop_signal("event-relay")?;
    let stop = CancellationToken::new();
    let mut loops: JoinSet<_> = lanes.iter().map(|lane| lane.clone().run(stop.clone())).collect();
    let serving = listener.map(|listener| tokio::spawn(health::serve(listener, Health { store, lanes })));
    tracing::info!("relaying");
    tokio::select! {
        () = stopped => {}
        // The others' going on would hide that one sink is served no more: whoever keeps processes up starts all of them.
        Some(ended) = loops.join_next() => ended.context("a sink's loop")?,
    }
    stop.cancel();
    while let Some(ended) = loops.join_next().await {
        ended.context("a sink's loop")?;
    }
    if let Some(serving) = serving {
        serving.abort();
    }
    Ok(())
}

/// Delivers what is due at every sink, each beside the others.
async fn drain(lanes: &[Arc<Lane>]) -> anyhow::Result<()> {
    let loops: Vec<_> = lanes.iter().map(|lane| tokio::spawn(lane.clone().drain())).collect();
    let mut result = Ok(());
    for ended in loops {
        let drained =
            ended.await.context("a sink's loop").and_then(|drained| drained.map_err(anyhow::Error::from));
        result = result.and(drained);
    }
    result
}

async fn serve_lambda() -> anyhow::Result<()> {
    // The Lambda runtime's own client panics without it.
    if std::env::var_os("AWS_LAMBDA_FUNCTION_NAME").is_none() {
        bail!("AWS_LAMBDA_FUNCTION_NAME is not set; have this function started by Lambda");
    }
    let (_, lanes) = connect().await?;
    let lanes = &lanes;
    lambda_runtime::run(service_fn(move |_: LambdaEvent<Value>| async move {
        drain(lanes).await.map_err(|error| lambda_runtime::Error::from(format!("{error:#}")))?;
        Ok::<_, lambda_runtime::Error>(json!({}))
    }))
    .await
    .map_err(|error| anyhow!("Lambda runtime: {error}"))
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
async fn set_aside(matches: &ArgMatches) -> anyhow::Result<()> {
    let store = Store::connect(1)?;
    if let Some(("replay", replay)) = matches.subcommand() {
        let rows = store.outbox_replay(replay.get_one::<Uuid>("id").copied()).await?;
        tracing::info!(rows, "are sent again");
        return Ok(());
    }
    let limit = matches.subcommand().and_then(|(_, list)| list.get_one::<i64>("limit").copied());
    for row in store.outbox_set_aside(limit.unwrap_or(1000)).await? {
        println!(
            "{}",
            json!({ "id": row.id, "tenantId": row.tenant_id, "sink": row.sink, "type": row.kind,
                "attempts": row.attempts, "error": row.last_error, "setAsideAt": row.set_aside_at })
        );
    }
    Ok(())
}
