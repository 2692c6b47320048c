//! The Job on real nodes. The nodes of this cluster are simulated, so these tests show what the phase makes of a Job's
//! end, and not that a container logs in.

use std::time::{Duration, Instant};

use engine::phase::{Error, Kind, Phase, Scope};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tenant_api_client::Strategy;

use crate::world::{World, with_both, with_tenant, with_tenant_named};

/// What the last operation left, once the phase no longer waits; and how often it waited.
async fn ended(world: &World) -> (Result<Value, Error>, u32) {
    let (phase, plan, begun) = (world.phase(), world.plan(), Instant::now());
    for waited in 0.. {
        let (step, watch) = world.step(Scope::Run);
        match phase.apply(&plan, &step).await {
            Ok(_) => {
                let operations: Value =
                    serde_json::from_str(watch.recorded().lines().last().unwrap()).unwrap();
                return (Ok(operations[2]["result"].clone()), waited);
            }
            Err(error) if matches!(error.kind, Kind::Parked(_)) => {}
            Err(error) => return (Err(error), waited),
        }
        assert!(begun.elapsed() < Duration::from_mins(3), "the Job does not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    unreachable!()
}

fn jobs(world: &World) -> Api<Job> {
    Api::namespaced(world.cluster.client(), &world.namespace)
}

#[tokio::test]
async fn a_job_that_succeeds_is_waited_for_and_undone() {
    with_tenant(Strategy::Database, |mut world| async move {
        world.platform.simulated_nodes = false;
        let (result, waited) = ended(&world).await;
        let result = result.unwrap();
        assert!(waited > 0);
        assert_eq!(result["image"], "matih.azurecr.io/check-database:latest");

        let name = result["job"].as_str().unwrap();
        let job = serde_json::to_value(jobs(&world).get(name).await.unwrap()).unwrap();
        assert_eq!(job["spec"]["backoffLimit"], 0);
        assert_eq!(job["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"], true);
        assert!(!job.to_string().contains(&world.values().await["POSTGRES_PASSWORD"]));

        world.revert(Scope::Run).await.unwrap();
        assert!(jobs(&world).get_opt(name).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_job_that_fails_says_why_and_the_next_attempt_has_its_own() {
    with_tenant_named(Strategy::Database, "-never-ready", |mut world| async move {
        world.platform.simulated_nodes = false;
        let (step, _) = world.step(Scope::Run);
        let parked = world.phase().apply(&world.plan(), &step).await.unwrap_err();
        assert!(parked.message.contains("has not finished"), "{parked}");
        let first = fail_the_pod(&world).await;

        let (failed, _) = ended(&world).await;
        let failed = failed.unwrap_err();
        assert_eq!((&failed.kind, failed.code), (&Kind::Retryable, "database_check_failed"), "{failed}");
        assert!(failed.message.contains("ended with code 1: database_login_refused"), "{failed}");

        world.failures = 1;
        let begun = Instant::now();
        while uid(&world).await.is_none_or(|uid| uid == first) {
            let (step, _) = world.step(Scope::Run);
            let parked = world.phase().apply(&world.plan(), &step).await.unwrap_err();
            assert!(matches!(parked.kind, Kind::Parked(_)), "{parked}");
            assert!(begun.elapsed() < Duration::from_mins(3), "the first attempt's Job stays");
        }
        world.revert(Scope::Run).await.unwrap();
    })
    .await;
}

async fn uid(world: &World) -> Option<String> {
    let jobs = jobs(world).list(&ListParams::default()).await.unwrap();
    jobs.items.into_iter().next().and_then(|job| job.metadata.uid)
}

/// Ends the Job's pod as a container does whose login is refused; the Job's own end is then its controller's doing.
async fn fail_the_pod(world: &World) -> String {
    let pods: Api<Pod> = Api::namespaced(world.cluster.client(), &world.namespace);
    let begun = Instant::now();
    let pod = loop {
        let list = pods.list(&ListParams::default()).await.unwrap();
        if let Some(pod) = list
            .items
            .into_iter()
            .find(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running"))
        {
            break pod.metadata.name.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_mins(3), "no pod runs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let ended = json!({ "status": { "phase": "Failed", "containerStatuses": [{
        "name": "check-database", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": 1, "reason": "Error", "message": "database_login_refused: no\n" } },
    }] } });
    pods.patch_status(&pod, &PatchParams::default(), &Patch::Merge(ended)).await.unwrap();
    uid(world).await.unwrap()
}

#[tokio::test]
async fn the_jobs_program_logs_in_with_what_its_environment_says() {
    with_both(|world| async move {
        world.apply().await.unwrap();
        let right = world.values().await;
        let run = |key: &'static str, value: Option<&'static str>| {
            let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_check-database"));
            program.env_clear().envs(&right);
            match value {
                Some(value) => program.env(key, value),
                None => program.env_remove(key),
            };
            async move {
                let ended = program.output().await.unwrap();
                (ended.status.success(), String::from_utf8(ended.stderr).unwrap())
            }
        };
        assert_eq!(run("UNRELATED", None).await, (true, String::new()));
        for (key, value, said) in [
            ("POSTGRES_PASSWORD", Some("wrong"), "database_login_refused: "),
            ("POSTGRES_DB", Some("region_za_north"), "database_login_refused: "),
            ("POSTGRES_PORT", Some("1"), "database_unreachable: "),
            ("DATABASE_URL", Some("no url"), "database_login_refused: DATABASE_URL is not the address"),
            ("DATABASE_URL", None, "credentials_incomplete: the environment has no DATABASE_URL"),
        ] {
            let (succeeded, words) = run(key, value).await;
            assert!(!succeeded && words.starts_with(said), "{key}: {words}");
            assert!(!words.contains(&right["POSTGRES_PASSWORD"]), "{key}: the password is shown");
        }
    })
    .await;
}
