//! The command line.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use engine::phase::OperationHook;
use model::platform::Platform;
use queue::{Broker, Dispatcher, Embedded, Invoker, LambdaInvoker};
use serde_json::json;
use tenants::Store;
use tenants::phases;

use crate::settings::{InvokerKind, Settings};
use crate::{deployments, health, license, registry, upkeep};

/// Connections to the control plane's database: enough for steps in flight that are between two awaits, few enough for
/// several dispatchers at one server.
const CONNECTIONS: u32 = 24;

/// The command line. Built rather than derived: a handful of words needs no macro.
fn arguments() -> Command {
    Command::new("dispatcher")
        .about("Dispatches the phases of tenants' runs")
        .subcommand(Command::new("run").about("Dispatch until told to stop (the default)"))
        .subcommand(Command::new("migrate").about("Bring the control plane's database to this version"))
        .subcommand(Command::new("pause").about("Pause all dispatching, in every dispatcher"))
        .subcommand(Command::new("resume").about("End the pause"))
        .subcommand(license::arguments())
        .subcommand(deployments::arguments())
        .subcommand(
            Command::new("dead")
                .about("Dead-lettered messages")
                .subcommand_required(true)
                .subcommand(
                    Command::new("list").about("Print them, one JSON object a line").arg(
                        Arg::new("limit")
                            .long("limit")
                            .help("At most so many")
                            .default_value("1000")
                            .value_parser(value_parser!(usize)),
                    ),
                )
                .subcommand(
                    Command::new("replay")
                        .about("Publish them again to the queues they came from")
                        .arg(Arg::new("id").long("id").help("Only this one")),
                ),
        )
}

/// Runs the command line; says in one line what is wrong.
pub fn main() -> ExitCode {
    main_with_hook(None)
}

/// As [`main`], with a hook at every operation of the phases that run in this process.
pub fn main_with_hook(hook: Option<Arc<dyn OperationHook>>) -> ExitCode {
    engine::runtime::init_logging();
    let matches = arguments().get_matches();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no async runtime")
        .and_then(|runtime| runtime.block_on(execute(&matches, hook)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("dispatcher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(matches: &ArgMatches, hook: Option<Arc<dyn OperationHook>>) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("migrate", _)) => Ok(Store::connect(1)?.migrate().await?),
        Some(("pause", _)) => Ok(Store::connect(1)?.pause_dispatching(true, "dispatcher pause").await?),
        Some(("resume", _)) => Ok(Store::connect(1)?.pause_dispatching(false, "dispatcher resume").await?),
        Some(("license", license)) => license::execute(license).await,
        Some(("deployments", deployments)) => deployments::execute(deployments).await,
        Some(("dead", dead)) => dead_letters(dead).await,
        _ => run(hook).await,
    }
}

async fn run(hook: Option<Arc<dyn OperationHook>>) -> anyhow::Result<()> {
    let settings = Settings::from_env()?;
    let platform = Arc::new(Platform::from_env(&phases::step_names())?);
    let engine = Arc::new(platform.engine.clone());
    let store = Store::connect(CONNECTIONS)?;
    let broker = Broker::from_env("dispatcher")?;
    let invoker: Arc<dyn Invoker> = match settings.invoker {
        InvokerKind::Embedded => {
            let runner = registry::runner(store.clone(), platform.clone()).await?;
            Arc::new(Embedded(Arc::new(runner.with_hook(hook))))
        }
        InvokerKind::Lambda => Arc::new(
            LambdaInvoker::new(
                settings.lambda_endpoint.as_deref(),
                settings.function_prefix.clone(),
                engine.invoke_timeout.duration(),
            )
            .await,
        ),
    };
    let listener = match settings.health_listen {
        Some(address) => Some(health::listen(address).await?),
        None => None,
    };
    let stop = http_server::stop_signal("dispatcher")?;
    let mut upkeep = tokio::spawn(upkeep::run(store.clone(), platform));
    let mut dispatcher = Dispatcher::start(store.into(), settings.listen_url, &broker, invoker, engine);
    tracing::info!(invoker = ?settings.invoker, "dispatching");
    let serving = listener.map(|listener| tokio::spawn(health::serve(listener, dispatcher.health())));
    tokio::select! {
        () = stop => {}
        // Half a dispatcher would look alive: whoever keeps processes up starts a whole one.
        () = dispatcher.died() => bail!("the dispatching has panicked"),
        _ = &mut upkeep => bail!("the upkeep has panicked"),
    }
    // What it was beginning is begun whole or not at all.
    upkeep.abort();
    dispatcher.stop().await?;
    if let Some(serving) = serving {
        serving.abort();
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
async fn dead_letters(matches: &ArgMatches) -> anyhow::Result<()> {
    let broker = Broker::from_env("dead letters")?;
    let (letters, what) = match matches.subcommand() {
        Some(("replay", replay)) => {
            let id = replay.get_one::<String>("id").map(String::as_str);
            (queue::replay_dead(&broker, id).await?, "replayed")
        }
        Some((_, list)) => {
            let limit = list.get_one::<usize>("limit").copied().unwrap_or(usize::MAX);
            (queue::list_dead(&broker, limit).await?, "listed")
        }
        None => return Ok(()),
    };
    for letter in &letters {
        println!(
            "{}",
            json!({ "id": letter.id, "queue": letter.queue, "reason": letter.reason, "body": letter.body })
        );
    }
    tracing::info!(messages = letters.len(), what, "dead letters");
    broker.close().await;
    Ok(())
}
