//! tofu as a Job. The nodes are simulated, so the test says what its pod leaves.

use engine::phase::Scope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use model::platform::TerraformJob;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testing::{WITHIN, required, waits_for};

use crate::world::{World, with_tenant_of};

const NAMESPACE: &str = "matih-system";

impl World {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client(), NAMESPACE)
    }

    fn name(&self) -> String {
        format!("tf-{}", self.tenant.id)
    }

    async fn job(&self) -> Option<Job> {
        self.api().get_opt(&self.name()).await.unwrap()
    }

    /// What there is by the name: the Job, its Secret, its pods.
    async fn by_name(&self) -> (bool, bool, usize) {
        let secret: Option<Secret> = self.api().get_opt(&self.name()).await.unwrap();
        (self.job().await.is_some(), secret.is_some(), self.pods().await.len())
    }

    async fn pods(&self) -> Vec<Pod> {
        let how = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", self.name()));
        self.list(&how).await
    }

    async fn list<K>(&self, how: &ListParams) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>().list(how).await.unwrap().items
    }

    /// Ends the Job's pod, with what its program has left.
    async fn end(&self, message: &str) {
        let began = std::time::Instant::now();
        let pod = loop {
            let running =
                |pod: &Pod| pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Running");
            if let Some(pod) = self.pods().await.into_iter().find(running) {
                break pod.name_any();
            }
            assert!(began.elapsed() < WITHIN, "no pod runs");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let ended = json!({ "status": { "phase": "Succeeded", "containerStatuses": [{
            "name": "terraform", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
            "state": { "terminated": { "exitCode": 0, "message": message } },
        }] } });
        self.api::<Pod>().patch_status(&pod, &PatchParams::default(), &Patch::Merge(ended)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_waited_for_and_taken_away_with_its_secret() {
    let job = TerraformJob {
        image: "run-terraform:1".into(),
        service_account: "default".into(),
        // It runs until the test ends it.
        pod_labels: [("tenantry.test/never-ready".to_owned(), "true".to_owned())].into(),
        environment: [("ARM_SUBSCRIPTION_ID".to_owned(), "s".to_owned())].into(),
    };
    let adjust = |infrastructure: &mut model::platform::Infrastructure| {
        (infrastructure.supervised, infrastructure.job) = (None, Some(job));
    };
    with_tenant_of(adjust, |world: World| async move {
        assert!(waits_for(world.apply_once().await).starts_with(&world.name()));
        let job = world.job().await.unwrap();
        let uid = job.uid();
        let spec: Value = serde_json::to_value(job.spec.unwrap()).unwrap();
        assert_eq!((&spec["backoffLimit"], &spec["activeDeadlineSeconds"]), (&json!(0), &json!(2820)));
        let password = world.password().await.unwrap();
        for secret in [&password, &required("TERRAFORM_STATE_KEY"), &required("TERRAFORM_STATE_URL")] {
            assert!(!spec.to_string().contains(secret));
        }
        // It goes on, whoever looks at it, and no undo begins.
        waits_for(world.apply_once().await);
        waits_for(world.revert_once(Scope::Run).await);
        waits_for(world.later_run().apply_once().await);
        assert_eq!(world.job().await.unwrap().uid(), uid);

        // A pod that ended without a word was killed: another begins.
        world.end("").await;
        assert_eq!(world.try_apply().await.unwrap_err().code, "terraform_killed");
        waits_for(world.apply_once().await);
        let again = world.job().await.unwrap();
        assert_ne!(again.uid(), uid);
        let outputs =
            json!({ "host": "10.0.0.4", "port": 5432, "admin_user": "a", "cidrs": ["10.0.0.0/28"] });
        let outcome = json!({ "id": format!("{}-apply", world.run), "action": "apply", "outputs": outputs });
        world.end(&outcome.to_string()).await;
        let made = world.apply().await;
        assert_eq!((made.host.as_str(), made.port, made.cidrs.len()), ("10.0.0.4", 5432, 1));
        assert_eq!(
            world.by_name().await,
            (true, false, 1),
            "what it made is known, and no secret is kept for that"
        );
        assert_eq!(world.apply().await, made);

        world.revert(Scope::Run).await;
        assert_eq!(world.by_name().await, (false, false, 0));
        assert_eq!(world.password().await, None);
    })
    .await;
}
