//! In whose name Azure is called.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, RetryOptions};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use engine::phase::{Error, Result};
use model::platform::{AzureCredential, AzureDnsSettings};
use model::secret::Secret;
use reqwest::header::HeaderValue;

use crate::error;

/// Where tokens come from; cheap to clone. A token is kept until it is about to end.
#[derive(Clone)]
pub struct TokenSource {
    credential: Arc<dyn TokenCredential>,
    scope: String,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl TokenSource {
    /// As the settings say. `secret` is the application's password, for [`AzureCredential::ClientSecret`].
    pub fn new(settings: &AzureDnsSettings, secret: Option<&Secret>) -> Result<Self> {
        let mut cloud = CustomConfiguration::default();
        settings.authority.trim_end_matches('/').clone_into(&mut cloud.authority_host);
        let client_options = ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            // Retries live in the engine.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let credential: azure_core::Result<Arc<dyn TokenCredential>> = match &settings.credential {
            AzureCredential::WorkloadIdentity { client_id, tenant_id, token_file } => {
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: client_id.clone(),
                    tenant_id: tenant_id.clone(),
                    token_file_path: token_file.as_ref().map(PathBuf::from),
                };
                WorkloadIdentityCredential::new(Some(options)).map(|made| made as _)
            }
            AzureCredential::ManagedIdentity { client_id } => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                    client_options,
                };
                ManagedIdentityCredential::new(Some(options)).map(|made| made as _)
            }
            AzureCredential::ClientSecret { tenant_id, client_id, .. } => {
                let secret = secret.ok_or_else(|| error::config("dns.azure.credential.secret is missing"))?;
                let secret = secret.expose().to_owned().into();
                let options = ClientSecretCredentialOptions { client_options };
                ClientSecretCredential::new(tenant_id, client_id.clone(), secret, Some(options))
                    .map(|made| made as _)
            }
        };
        let credential =
            credential.map_err(|why| error::config(format!("dns.azure.credential cannot be used: {why}")))?;
        Ok(Self::of(credential, &settings.endpoint))
    }

    /// Tokens of a credential of the caller's own, for the resource manager at `endpoint`.
    pub fn of(credential: Arc<dyn TokenCredential>, endpoint: &str) -> Self {
        Self { credential, scope: format!("{}/.default", endpoint.trim_end_matches('/')) }
    }

    /// The value of the `Authorization` header.
    pub(super) async fn header(&self) -> Result<HeaderValue> {
        let token = self.credential.get_token(&[&self.scope], None).await.map_err(|why| {
            let message = format!("a token for {}: {why}", self.scope);
            Error::unavailable("dns", "dns_unauthorized", message)
                .next("Fix the identity that [dns.azure] names; the run then continues on its own.")
        })?;
        let value = HeaderValue::from_str(&format!("Bearer {}", token.token.secret()));
        let mut value = value.map_err(|_| error::unreadable("a token", "it cannot be sent in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
