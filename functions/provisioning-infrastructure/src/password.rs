//! The administrator's password: made up once, in one Secret of the control plane's namespace.

use cluster::Target;
use engine::phase::{Result, Step};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use kube::api::ObjectMeta;
use model::RunId;
use model::secret::{Secret, SecretRef};
use rand::TryRngCore as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};

use crate::{Plan, ProvisioningInfrastructure};

/// Characters of the administrator's password after [`PREFIX`]: 40 alphanumerics hold 238 bits, and need no quoting anywhere.
const PASSWORD_LENGTH: usize = 40;

/// Before them: Azure wants upper and lower case, digits or signs, and a random word may lack any of them.
const PREFIX: &str = "Aa1-";

/// The key of the Secret with it.
pub(crate) const PASSWORD: &str = "password";

impl ProvisioningInfrastructure {
    /// Makes sure that there is a password; one that is there is kept. The run that made it.
    pub(crate) async fn keep_password(&self, plan: &Plan, step: &Step) -> Result<Option<RunId>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        Ok(cluster.ensure_kept(&secret(plan, &password())).await?.created_by)
    }
}

/// A new password, from the operating system's randomness.
pub(crate) fn password() -> Secret {
    let random = Alphanumeric.sample_string(&mut OsRng.unwrap_err(), PASSWORD_LENGTH);
    Secret::new(format!("{PREFIX}{random}"))
}

/// Tells a module that the password is another one: itself it is in no state that it could be compared with. 32 bits of its
/// hash say nothing of 238 random ones.
pub(crate) fn version_of(password: &Secret) -> (String, String) {
    let hash = Sha256::digest(password.expose().as_bytes());
    let version = hash.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    ("admin_password_version".to_owned(), version.to_string())
}

pub(crate) fn password_ref(plan: &Plan) -> SecretRef {
    SecretRef::Kubernetes {
        namespace: plan.site.namespace.clone(),
        name: plan.secret.clone(),
        key: PASSWORD.into(),
    }
}

pub(crate) fn secret_target(plan: &Plan) -> Target {
    Target::of::<v1::Secret>(Some(&plan.site.namespace), &plan.secret)
}

fn secret(plan: &Plan, password: &Secret) -> v1::Secret {
    let value = ByteString(password.expose().as_bytes().to_vec());
    v1::Secret {
        metadata: ObjectMeta {
            name: Some(plan.secret.clone()),
            namespace: Some(plan.site.namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        data: Some([(PASSWORD.to_owned(), value)].into()),
        ..v1::Secret::default()
    }
}
