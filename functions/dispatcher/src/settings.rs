//! What the environment says.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};

/// How functions are invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvokerKind {
    /// By the Lambda Invoke API.
    Lambda,
    /// In this process.
    Embedded,
}

/// The dispatcher's own settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) invoker: InvokerKind,
    pub(crate) lambda_endpoint: Option<String>,
    pub(crate) function_prefix: String,
    pub(crate) health_listen: Option<SocketAddr>,
    pub(crate) listen_url: String,
}

impl Settings {
    /// Reads them; what is wrong is named with what would be right.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let invoker = match set("INVOKER").as_deref() {
            None | Some("lambda") => InvokerKind::Lambda,
            Some("embedded") => InvokerKind::Embedded,
            Some(other) => bail!("INVOKER is '{other}'; use lambda or embedded"),
        };
        let health_listen = set("HEALTH_LISTEN")
            .map(|text| text.parse().with_context(|| format!("HEALTH_LISTEN is '{text}'; use address:port")))
            .transpose()?;
        let listen_url = set("DATABASE_DIRECT_URL")
            .or_else(|| set("DATABASE_URL"))
            .context("DATABASE_URL is not set; set it to the control plane's Postgres URL")?;
        if set("DATABASE_DIRECT_URL").is_some() {
            engine::store::check_url("DATABASE_DIRECT_URL", &listen_url)?;
        }
        Ok(Self {
            invoker,
            lambda_endpoint: set("LAMBDA_ENDPOINT"),
            function_prefix: set("FUNCTION_PREFIX").unwrap_or_default(),
            health_listen,
            listen_url,
        })
    }
}
