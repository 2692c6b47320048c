//! Between the dispatcher and the functions: answers that are cut off or late, refusals, functions that die.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::post;
use engine::phase::{Job, Progress};
use engine::runtime::Runner;
use engine::store::StoreError;
use queue::LambdaInvoker;
use serde_json::Value;
use tests::{World, seconds};
use tokio::sync::Notify;

/// What goes wrong with a function's first invocation.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The function runs, and the connection ends in the middle of its answer.
    Cut,
    /// The function runs, and its answer comes when nobody waits for it any more.
    Late,
    /// 429; the function does not run.
    Throttled,
    /// An error as AWS reports it; the function does not run.
    ErrorHeader,
    /// An error as `cargo lambda` reports it; the function does not run.
    Error500,
    /// The function dies in the middle of its step, and the invocation is never answered.
    Dies,
}

/// The Lambda Invoke API, in front of a real runner.
#[derive(Clone)]
struct InvokeApi {
    runner: Arc<Runner>,
    faults: Arc<Mutex<HashMap<&'static str, Fault>>>,
    starts: Arc<AtomicU64>,
    invoked: Arc<AtomicU64>,
    inside: Arc<Notify>,
}

impl InvokeApi {
    async fn serve(self) -> String {
        let router =
            Router::new().route("/2015-03-31/functions/{name}/invocations", post(invoke)).with_state(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn start(&self, job: &Job, trigger: engine::phase::Trigger) -> Result<String, StoreError> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        Ok(serde_json::to_string(&self.runner.run(job, trigger).await?).unwrap())
    }
}

async fn invoke(State(api): State<InvokeApi>, Path(name): Path<String>, body: Bytes) -> Response<Body> {
    api.invoked.fetch_add(1, Ordering::SeqCst);
    let event: Value = serde_json::from_slice(&body).unwrap();
    let (job, trigger) = Job::from_event(&event).unwrap();
    assert_eq!(job.phase.function(), name);
    let fault = api.faults.lock().unwrap().remove(job.phase.as_str());
    let answer =
        |status: StatusCode, body: String| Response::builder().status(status).body(Body::from(body)).unwrap();
    match fault {
        Some(Fault::Throttled) => answer(
            StatusCode::TOO_MANY_REQUESTS,
            r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}"#.into(),
        ),
        Some(Fault::ErrorHeader) => Response::builder()
            .header("X-Amz-Function-Error", "Unhandled")
            .body(Body::from(r#"{"errorType":"Runtime.ExitError"}"#))
            .unwrap(),
        Some(Fault::Error500) => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, r#"{"errorType":"Runtime.ExitError"}"#.into())
        }
        Some(Fault::Cut) => {
            let whole = api.start(&job, trigger).await.unwrap();
            let half = Bytes::from(whole[..whole.len() / 2].to_owned());
            let parts = [Ok(half), Err(std::io::Error::other("cut"))];
            Response::builder()
                .header("content-length", whole.len())
                .body(Body::from_stream(futures::stream::iter(parts)))
                .unwrap()
        }
        Some(Fault::Late) => {
            // A Lambda function runs on when its caller has gone; a handler of this server would not.
            let late = tokio::spawn(async move {
                let whole = api.start(&job, trigger).await.unwrap();
                tokio::time::sleep(Duration::from_secs(4)).await;
                whole
            });
            answer(StatusCode::OK, late.await.unwrap())
        }
        Some(Fault::Dies) => {
            let running = {
                let api = api.clone();
                tokio::spawn(async move { api.start(&job, trigger).await.map(drop) })
            };
            api.inside.notified().await;
            running.abort();
            std::future::pending().await
        }
        None => match tokio::spawn(async move { api.start(&job, trigger).await }).await.unwrap() {
            Ok(whole) => answer(StatusCode::OK, whole),
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_an_invocation_there_is_one_start_for_each_claim_and_no_failure() {
    Box::pin(World::run(|mut world| async move {
        world.platform.engine.lease = seconds(3.0);
        world.platform.engine.step_timeout = seconds(1.0);
        world.platform.engine.function_timeout = seconds(1.5);
        world.platform.engine.invoke_timeout = seconds(2.0);
        let faults = [
            ("ONE", Fault::Cut),
            ("TWO", Fault::Late),
            ("THREE", Fault::Throttled),
            ("FOUR", Fault::ErrorHeader),
            ("FIVE", Fault::Error500),
            ("SIX", Fault::Dies),
        ];
        let names = faults.map(|(name, _)| name);
        let inside = Arc::new(Notify::new());
        let mut phases: Vec<_> = names[..5].iter().map(|name| world.phase(name).arc()).collect();
        let dying = inside.clone();
        phases.push(
            world
                .phase("SIX")
                .on_apply(move |attempt| {
                    let dying = dying.clone();
                    async move {
                        if attempt.entered == 1 {
                            dying.notify_one();
                            std::future::pending::<()>().await;
                        }
                        Ok(Progress::Done(()))
                    }
                })
                .arc(),
        );
        let api = InvokeApi {
            runner: world.runner(phases),
            faults: Arc::new(Mutex::new(faults.into_iter().collect())),
            starts: Arc::default(),
            invoked: Arc::default(),
            inside,
        };
        let endpoint = api.clone().serve().await;
        let within = world.platform.engine.invoke_timeout.duration();
        let invoker = LambdaInvoker::new(Some(&endpoint), String::new(), within).await;
        let dispatcher = world.dispatch_by(Arc::new(invoker));
        let tenant = world.tenant("proxied", &names).await;
        let row = world.until(tenant, "ACTIVE").await;

        assert!(api.faults.lock().unwrap().is_empty(), "every fault happened");
        assert_eq!(world.effects("proxied").await, names.map(|name| format!("{name} apply")));
        let claims = world.entered("proxied").await;
        assert_eq!(claims, 7, "one for each phase, and one more for the worker that died");
        assert_eq!(api.starts.load(Ordering::SeqCst), claims);
        assert!(api.invoked.load(Ordering::SeqCst) >= claims + 3, "refused ones started nothing");
        for phase in row.phases.iter().filter(|phase| phase.position >= 0) {
            let lost = i32::from(phase.name == "SIX");
            assert_eq!((phase.failures, phase.total_failures, phase.lost), (0, 0, lost), "{}", phase.name);
        }
        world.actions(tenant).await;
        dispatcher.stop().await.unwrap();
    }))
    .await;
}
