//! The dispatcher's own process, with many tenants that wait: what it holds in memory.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tests::World;

use crate::machine;

/// The release binary beside this one.
pub fn binary() -> PathBuf {
    std::env::current_exe().map(|path| path.with_file_name("dispatcher")).unwrap_or_default()
}

/// A child that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Megabytes of a dispatcher with this invoker once it serves `queues` tenants; none if it did not start.
pub async fn memory(world: &World, invoker: &str, queues: usize) -> Option<f64> {
    let child = Command::new(binary())
        .env("DATABASE_URL", &world.database_url)
        .env_remove("DATABASE_DIRECT_URL")
        .env("AMQP_URL", &world.amqp_url)
        .env("INVOKER", invoker)
        .env("LAMBDA_ENDPOINT", "http://127.0.0.1:9")
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .env("AWS_REGION", "us-east-1")
        .env_remove("HEALTH_LISTEN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut running = Running(child);
    let pid = running.0.id();
    wait_for_consumers(world, queues).await;
    // Consumers are there; what their opening took is given back or not by now.
    tokio::time::sleep(Duration::from_secs(5)).await;
    if running.0.try_wait().ok()?.is_some() {
        return None;
    }
    machine::resident_mb(pid)
}

/// Waits until every tenant's queue has a consumer, as the broker says.
async fn wait_for_consumers(world: &World, queues: usize) {
    let connection =
        Connection::connect(&world.amqp_url, ConnectionProperties::default()).await.expect("RabbitMQ");
    let channel = connection.create_channel().await.expect("channel");
    let names = world.management.tenant_queues().await;
    assert!(names.len() >= queues, "the queues are there");
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    for name in names {
        tests::eventually("a consumer", || async {
            let queue = channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await;
            queue.expect("the queue is there").consumer_count() > 0
        })
        .await;
    }
    drop(connection.close(200, "done".into()).await);
}
