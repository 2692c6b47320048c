//! `cargo lambda watch`, for information: a call of a function through the Invoke API.

use std::time::{Duration, Instant};

use engine::phase::Job;
use model::{PhaseName, RunId, TenantId};
use queue::{Invoker as _, LambdaInvoker};
use tokio::net::TcpStream;

use crate::row;
use crate::table::{self, number, quantile, say};

/// Prints what a call takes, where the emulator of a running stack is told of; else says that there is none.
pub async fn table() {
    let endpoint = std::env::var("LAMBDA_ENDPOINT").unwrap_or_default();
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    if address.is_empty() || TcpStream::connect(&address).await.is_err() {
        say(
            "\ncargo lambda watch: not measured, nothing answers at LAMBDA_ENDPOINT (the stack of `make run` has it)",
        );
        return;
    }
    let invoker = LambdaInvoker::new(Some(&endpoint), String::new(), Duration::from_mins(2)).await;
    // A run that does not exist: the function starts, asks the database, and answers that it knows none.
    let job = Job::new(TenantId::generate(), RunId::generate(), PhaseName::new("CREATE_NAMESPACE"), 1);
    let mut took = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        drop(invoker.invoke(&job, &serde_json::json!({}), false).await);
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let first = took.remove(0);
    table::print(
        "cargo lambda watch, for information: a call that finds nothing to do, unoptimised function",
        &[
            row!["first ms", "p50 ms", "p99 ms"],
            row![number(first), number(quantile(&took, 0.5)), number(quantile(&took, 0.99))],
        ],
    );
}
