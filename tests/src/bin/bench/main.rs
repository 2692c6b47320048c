//! `make bench`: what the engine does on this machine beside what its parts can do, measured in one run.
//!
//! `BENCH_QUICK=1` measures less and shorter; `BENCH_ONLY=engine,runs,queues,memory,provisioning,lambda` only some of it.
//! Nothing here passes or fails: the goals are printed beside the figures.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench fails by panicking")]

mod engine;
mod floors;
mod lambda;
mod machine;
mod parked;
mod postgres;
mod process;
mod provisioning;
mod rabbitmq;
mod table;

use std::time::{Duration, Instant};

use engine::{Engine, Measured, Servers};
use floors::Floors;
use table::{Spread, number, say};
use tests::{World, required};

/// How much is measured.
struct Size {
    rounds: usize,
    round: Duration,
    /// Tenants' queues that exist beside those of the runs in flight.
    queues: &'static [usize],
    /// Runs in flight while they do.
    width: usize,
}

const WIDTHS: [usize; 4] = [1, 16, 64, 256];

fn main() {
    let quick = std::env::var("BENCH_QUICK").is_ok_and(|value| !value.is_empty() && value != "0");
    let size = if quick {
        Size { rounds: 3, round: Duration::from_millis(700), queues: &[1_000], width: 64 }
    } else {
        Size { rounds: 5, round: Duration::from_secs(2), queues: &[1_000, 5_000], width: 64 }
    };
    log_to_nowhere();
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new().expect("an async runtime");
    runtime.block_on(async {
        let only = std::env::var("BENCH_ONLY").unwrap_or_default();
        let wanted = |part: &str| only.is_empty() || only.split(',').any(|name| name == part);
        World::run(|mut world| async move {
            // A world's own settings are short, for tests; these are what a platform has.
            world.platform.engine = tests::Engine::default();
            Box::pin(measure(&world, &size, wanted)).await;
        })
        .await;
        if wanted("memory") {
            // Likewise alone: with no more queues than the goal is for.
            World::run(|mut world| async move {
                world.platform.engine = tests::Engine::default();
                Box::pin(memory_table(&world, 1_000)).await;
            })
            .await;
        }
        if wanted("provisioning") {
            // In a world without the tenants that wait in the other.
            World::run(|world| async move { provisioning_table(&world).await }).await;
        }
        if wanted("lambda") {
            lambda::table().await;
        }
    });
    say(&format!("\nmeasured in {:.0} s", began.elapsed().as_secs_f64()));
}

/// What is logged is formatted as the dispatcher does it, and dropped: its cost counts, its lines are in nobody's way.
/// `RUST_LOG` shows it instead.
fn log_to_nowhere() {
    if std::env::var_os("RUST_LOG").is_none() {
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).json().flatten_event(true);
        lines.with_writer(std::io::sink).init();
    }
}

async fn measure(world: &World, size: &Size, wanted: impl Fn(&str) -> bool) {
    let servers = machine_table(world).await;
    let mut engine = Engine::start(world);
    if wanted("engine") {
        let mut floors = Vec::new();
        let mut steps = Vec::new();
        for width in WIDTHS {
            // Side by side: what the machine does besides is the same for both.
            let group = format!("width{width}");
            engine.park(&group, width).await;
            floors.push(floors::measure(world, width, size.rounds, size.round, &servers).await);
            steps.push(engine.measure(&group, size.rounds, size.round, &servers).await);
        }
        engine_tables(&floors, &steps);
        updates_table(world).await;
    }
    if wanted("runs") {
        runs_table(&engine, size).await;
    }
    if wanted("queues") {
        queues_table(world, &mut engine, size, &servers).await;
    }
    engine.stop().await;
    engine::delete_queues(world).await;
}

async fn runs_table(engine: &Engine, size: &Size) {
    let mut rows = vec![row!["at a time", "runs/s", "ms a run, median (min–max)"]];
    for width in [1, 16] {
        let (rate, took) = engine.whole_runs(width, size.round * 2).await;
        rows.push(row![width, number(rate), took.shown()]);
    }
    table::print("Whole runs of 5 steps, from the request on, with their queue made and deleted", &rows);
}

async fn machine_table(world: &World) -> Servers {
    let durability = world.store.ready().await.expect("Postgres");
    let version: String =
        sqlx::query_scalar("SHOW server_version").fetch_one(&world.pool).await.expect("Postgres");
    let (broker, rabbitmq) = rabbitmq::about(&required("RABBITMQ_MANAGEMENT_URL")).await;
    let on = |yes: bool| if yes { "on" } else { "OFF: commits may be lost" };
    table::print(
        "Machine",
        &[
            row!["machine", machine::described()],
            row!["load before", machine::load()],
            row!["Postgres", version],
            row!["RabbitMQ", broker],
            row!["fsync", on(durability.fsync)],
            row!["synchronous_commit", on(durability.synchronous_commit)],
            row!["synchronous standby", if durability.standby { "yes" } else { "none" }],
        ],
    );
    Servers { postgres: machine::postmaster(&world.pool).await, rabbitmq }
}

fn engine_tables(floors: &[Floors], steps: &[Measured]) {
    let mut rows = vec![row![
        "runs in flight",
        "transitions/s",
        "messages/s",
        "steps/s",
        "CPU ms: ours",
        "Postgres",
        "RabbitMQ"
    ]];
    for (width, floor) in WIDTHS.iter().zip(floors) {
        let mut row = row![width, floor.transitions.shown(), floor.messages.shown(), floor.steps.shown()];
        row.extend(floor.cpu.map(number));
        rows.push(row);
    }
    table::print(
        "Floors: one-statement transitions; messages published, confirmed, consumed, acked; steps of one message and two \
         transitions, with their CPU. Median (min–max) of the rounds",
        &rows,
    );
    let mut rows = vec![row![
        "runs in flight",
        "steps/s",
        "η_T",
        "p50 ms",
        "p99 ms",
        "CPU ms: ours",
        "Postgres",
        "RabbitMQ",
        "WAL kB"
    ]];
    for ((width, floor), step) in WIDTHS.iter().zip(floors).zip(steps) {
        let share = number(step.rate.median / floor.steps.median);
        let mut row = row![width, step.rate.shown(), share, number(step.p50), number(step.p99)];
        row.extend(step.cpu.map(number));
        row.push(number(step.wal_kb));
        rows.push(row);
    }
    table::print(
        "Runner: 5 phases a run that do nothing, embedded invoker. A step is from its message's publishing to its \
         completion; η_T is its rate over the floor's (goal 0.5, later 0.7)",
        &rows,
    );
    if let (Some(floor), Some(step)) = (floors.first(), steps.first()) {
        // One at a time, the time of a step is what its rate leaves.
        let (least, ours) = (1000.0 / floor.steps.median, 1000.0 / step.rate.median);
        say(&format!(
            "  η_L = {} : a step alone takes {} ms at least and {} ms here (goal 0.5, later 0.6)",
            number(least / ours),
            number(least),
            number(ours)
        ));
    }
}

/// How Postgres updated rows: heap-only is what keeps a transition cheap.
async fn updates_table(world: &World) {
    let updates: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT relname::text, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
         WHERE relname IN ('provisioning_runs', 'provisioning_phases', 'tenants', 'tenant_phases') ORDER BY 1",
    )
    .fetch_all(&world.pool)
    .await
    .expect("statistics");
    let mut rows = vec![row!["table", "updates", "heap-only %"]];
    for (table, all, hot) in updates {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = 100.0 * hot as f64 / all.max(1) as f64;
        rows.push(row![table, all, number(share)]);
    }
    table::print("Updates so far", &rows);
}

async fn queues_table(world: &World, engine: &mut Engine, size: &Size, servers: &Servers) {
    let mut rows = vec![row!["tenants' queues", "steps/s", "of the first", "p50 ms", "p99 ms", "made in s"]];
    let mut first: Option<Spread> = None;
    let group = "queues";
    engine.park(group, size.width).await;
    let mut wanted = vec![0];
    wanted.extend(size.queues);
    for count in wanted {
        let there = parked::live(&world.pool).await;
        let made = match count.checked_sub(there) {
            Some(more) if more > 0 => engine.park(&format!("waits{count}"), more).await.as_secs_f64(),
            _ => 0.0,
        };
        let step = engine.measure(group, size.rounds, size.round, servers).await;
        let base = *first.get_or_insert(step.rate);
        rows.push(row![
            count.max(there),
            step.rate.shown(),
            format!("{} %", number(100.0 * step.rate.median / base.median)),
            number(step.p50),
            number(step.p99),
            number(made),
        ]);
    }
    table::print(
        &format!(
            "Many tenants that wait, {} runs in flight (goal: flat within 10 %, or within the noise)",
            size.width
        ),
        &rows,
    );
}

async fn memory_table(world: &World, queues: usize) {
    let engine = Engine::start(world);
    engine.park("memory", queues).await;
    engine.stop().await;
    if !process::binary().exists() {
        say(
            "\nMemory of a dispatcher: not measured, its binary is not beside this one (make bench builds it)",
        );
        return;
    }
    let mut rows = vec![row!["invoker", "tenants' queues", "MB"]];
    for invoker in ["embedded", "lambda"] {
        let memory = process::memory(world, invoker, queues).await;
        rows.push(row![invoker, queues, memory.map_or("did not start".into(), number)]);
    }
    table::print("Resident memory of the dispatcher's process (goal: under 60 MB at 1,000 queues)", &rows);
    engine::delete_queues(world).await;
}

async fn provisioning_table(world: &World) {
    let done = provisioning::run(world).await;
    let mut rows =
        vec![row!["phase", "entered", "in operations s", "rest of the step s", "asked to be parked s"]];
    let mut names: Vec<&str> = done.entries.iter().map(|entry| entry.phase.as_str()).collect();
    names.dedup();
    let sum = |name: &str, of: fn(&provisioning::Entry) -> f64| -> f64 {
        done.entries.iter().filter(|entry| entry.phase == name).map(of).sum()
    };
    for name in &names {
        rows.push(row![
            name,
            done.entries.iter().filter(|entry| entry.phase == *name).count(),
            number(sum(name, |entry| entry.worked)),
            number(sum(name, |entry| entry.took - entry.worked)),
            number(sum(name, |entry| entry.parked)),
        ]);
    }
    table::print("A container_per_tenant run through the real phases, embedded invoker", &rows);
    let worked: f64 = done.entries.iter().map(|entry| entry.worked).sum();
    let parked: f64 = done.entries.iter().map(|entry| entry.parked).sum();
    let outside = done.total - worked - parked;
    say(&format!(
        "  {} s from the request to ACTIVE: {} s in operations, {} s parked as the phases asked, {} s ({} %) outside the \
         phases' own work (goal: under 5 %)",
        number(done.total),
        number(worked),
        number(parked),
        number(outside),
        number(100.0 * outside / done.total),
    ));
}
