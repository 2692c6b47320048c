//! The AWS Lambda Invoke API. Its endpoint can be overridden, which is how `cargo lambda watch` is reached.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Credentials;
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use engine::phase::{Answer, Job};
use serde_json::Value;

use crate::invoker::{Invoked, Invoker};

/// Invokes functions by name.
#[derive(Clone, Debug)]
pub struct LambdaInvoker {
    client: Client,
    prefix: String,
}

impl LambdaInvoker {
    /// With the environment's credentials, or, where `endpoint` overrides AWS's own, with none. `prefix` comes before
    /// every function's name. An invocation is given up after `within`.
    pub async fn new(endpoint: Option<&str>, prefix: String, within: Duration) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_timeout(within)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // The SDK would start a function again that may still be running.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            // A synchronous invocation sends nothing until it is done, which is not a stall.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = endpoint {
            loader = loader
                .endpoint_url(endpoint)
                .region(Region::new("local"))
                .credentials_provider(Credentials::new("local", "local", None, None, "local"));
        }
        Self { client: Client::new(&loader.load().await), prefix }
    }
}

#[async_trait]
impl Invoker for LambdaInvoker {
    async fn invoke(&self, job: &Job, headers: &Value, redelivered: bool) -> Invoked {
        let payload = job.event(headers, redelivered).to_string();
        let sent = self
            .client
            .invoke()
            .function_name(format!("{}{}", self.prefix, job.phase.function()))
            .invocation_type(InvocationType::RequestResponse)
            .payload(Blob::new(payload))
            .send()
            .await;
        match sent {
            Ok(output) => {
                if let Some(error) = output.function_error() {
                    return Invoked::Unknown(format!("function error: {error}"));
                }
                let body = output.payload().map(AsRef::as_ref).unwrap_or_default();
                match serde_json::from_slice::<Answer>(body) {
                    Ok(answer) => Invoked::Answered(answer),
                    Err(error) => {
                        Invoked::Unknown(format!("the function's response is not a valid answer: {error}"))
                    }
                }
            }
            Err(error) => refused(&error),
        }
    }

    fn remote(&self) -> bool {
        true
    }
}

fn refused(error: &SdkError<InvokeError>) -> Invoked {
    let throttled = match error {
        SdkError::ServiceError(service) => {
            service.raw().status().as_u16() == 429 || service.err().is_too_many_requests_exception()
        }
        // Nothing was sent, so nothing can be running: the same as no room.
        SdkError::DispatchFailure(failure) => failure.is_io() && is_refused(error),
        _ => false,
    };
    if throttled {
        Invoked::Throttled
    } else {
        Invoked::Unknown(aws_sdk_lambda::error::DisplayErrorContext(error).to_string())
    }
}

/// Whether no connection came about.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            return true;
        }
        cause = error.source();
    }
    false
}
