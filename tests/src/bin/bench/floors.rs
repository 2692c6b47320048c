//! The floors: what the same parts do with the same libraries when nothing but the necessary is asked of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use lapin::message::Delivery;
use tests::World;

use crate::engine::Servers;
use crate::table::Spread;
use crate::{postgres, rabbitmq};

/// Each in units a second.
#[derive(Debug)]
pub struct Floors {
    /// One-statement transitions.
    pub transitions: Spread,
    /// Messages published, confirmed, consumed and acked.
    pub messages: Spread,
    /// Steps: one message and two transitions, one after the other.
    pub steps: Spread,
    /// Milliseconds of CPU a step: this process, Postgres, RabbitMQ.
    pub cpu: [f64; 3],
}

/// Measures the floors with `width` runs in flight.
pub async fn measure(
    world: &World,
    width: usize,
    rounds: usize,
    round: Duration,
    servers: &Servers,
) -> Floors {
    let runs = postgres::tables(&world.pool, width).await;
    let sessions = Arc::new(postgres::Connections::open(&world.database_url, width).await);
    let transitions = repeat(rounds, async || {
        let until = Instant::now() + round;
        let work = runs.iter().map(|run| {
            let (run, sessions) = (*run, sessions.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while Instant::now() < until {
                    sessions.transition(run).await;
                    done += 1;
                }
                done
            })
        });
        join_all(work).await.into_iter().map(Result::unwrap).sum()
    })
    .await;

    let connections = rabbitmq::Connections::open(&world.amqp_url).await;
    let mut queues = Vec::with_capacity(width);
    for _ in 0..width {
        queues.push(rabbitmq::Queue::open(&connections).await);
    }
    let mut messages = Vec::new();
    let mut steps = Vec::new();
    let (mut used, mut done) = ([0.0; 3], 0.0);
    // The first round of each warms up.
    for nth in 0..=rounds {
        let (rate, back) = round_of(queues, &runs, None, round).await;
        let (before, began) = (servers.cpu(), Instant::now());
        let (both, back) = round_of(back, &runs, Some(&sessions), round).await;
        queues = back;
        if nth > 0 {
            messages.push(rate);
            steps.push(both);
            done += both * began.elapsed().as_secs_f64();
            for (used, (after, before)) in used.iter_mut().zip(servers.cpu().into_iter().zip(before)) {
                *used += (after - before) * 1000.0;
            }
        }
    }
    join_all(queues.into_iter().map(rabbitmq::Queue::delete)).await;
    connections.close().await;
    if let Some(sessions) = Arc::into_inner(sessions) {
        sessions.close().await;
    }
    Floors {
        transitions,
        messages: Spread::of(&messages),
        steps: Spread::of(&steps),
        cpu: used.map(|used| used / done),
    }
}

/// One round of messages, each with two transitions if there are sessions to make them on. Gives the queues back.
async fn round_of(
    queues: Vec<rabbitmq::Queue>,
    runs: &[uuid::Uuid],
    sessions: Option<&Arc<postgres::Connections>>,
    round: Duration,
) -> (f64, Vec<rabbitmq::Queue>) {
    let began = Instant::now();
    let work = queues.into_iter().zip(runs).map(|(mut queue, run)| {
        let (run, sessions) = (*run, sessions.cloned());
        tokio::spawn(async move {
            let mut done = 0_u32;
            let mut confirm = queue.send().await;
            let mut held: Option<Delivery> = None;
            loop {
                // The confirm of a message and its delivery come in either order and are waited for together; the message
                // before it is acked after the confirm. So does the runner, with a prefetch of two.
                let (confirmed, delivery) = tokio::join!(confirm, queue.receive());
                assert!(confirmed.expect("confirm").is_ack(), "the broker takes the message");
                if let Some(before) = held.replace(delivery) {
                    rabbitmq::ack(&before).await;
                }
                if let Some(sessions) = &sessions {
                    sessions.transition(run).await;
                    sessions.transition(run).await;
                }
                done += 1;
                if began.elapsed() >= round {
                    if let Some(last) = &held {
                        rabbitmq::ack(last).await;
                    }
                    return (done, queue);
                }
                confirm = queue.send().await;
            }
        })
    });
    let done = join_all(work).await;
    let took = began.elapsed().as_secs_f64();
    let (counts, queues): (Vec<u32>, Vec<_>) = done.into_iter().map(Result::unwrap).unzip();
    (f64::from(counts.iter().sum::<u32>()) / took, queues)
}

/// Rates of `rounds` rounds after one that warms up.
async fn repeat(rounds: usize, work: impl AsyncFn() -> u32) -> Spread {
    work().await;
    let mut rates = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        let done = work().await;
        rates.push(f64::from(done) / began.elapsed().as_secs_f64());
    }
    Spread::of(&rates)
}
