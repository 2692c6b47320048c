//! Whose an IngressClass is.

use engine::phase::Result;
use k8s_openapi::api::networking::v1::IngressClass;
use kube::Api;

use super::Cluster;
use super::client::find;

impl Cluster {
    /// The controller that an IngressClass names; none when there is no such class.
    pub async fn ingress_controller_of(&self, class: &str) -> Result<Option<String>> {
        let api: Api<IngressClass> = Api::all(self.client.clone());
        let found = find(&format!("read IngressClass {class}"), api.get(class)).await?;
        Ok(found.map(|class| class.spec.and_then(|spec| spec.controller).unwrap_or_default()))
    }
}
