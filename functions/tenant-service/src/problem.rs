//! Errors as the caller sees them: the table of this service's problems, and those that say more than their type.

use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse, Response};
use engine::store::StoreError;
use http_server::{FieldError, Problem};

http_server::problem_types! {
    BAD_REQUEST idempotency_key_required "The Idempotency-Key is missing or unusable"
        => "Send a header Idempotency-Key with a fresh UUID for each new request, and the same one when you send again.";
    BAD_REQUEST incomplete_body "Malformed body";
    BAD_REQUEST invalid_idempotency_key "The Idempotency-Key is missing or unusable"
        => "Send a header Idempotency-Key with a fresh UUID for each new request, and the same one when you send again.";
    BAD_REQUEST invalid_parameters "Invalid parameters";
    BAD_REQUEST malformed_json "Malformed body";
    BAD_REQUEST not_an_object "Malformed body";
    UNAUTHORIZED unauthorized "Unauthorized" => "Send the header 'Authorization: Bearer <token>'.";
    NOT_FOUND deployment_not_found "The tenant has no deployment" => "See the tenant's provisioning status.";
    NOT_FOUND deployment_shared as no_own_deployment "The tenant has no dedicated deployment";
    NOT_FOUND domain_not_found "The tenant has no such domain" => "POST it to the tenant's domains first.";
    NOT_FOUND not_found "Not found" => "GET /openapi.json lists the routes.";
    NOT_FOUND region_not_found "Region not found" => "GET /api/v1/regions lists the regions.";
    NOT_FOUND tenant_not_found "Tenant not found" => "GET /api/v1/tenants lists the tenants.";
    METHOD_NOT_ALLOWED method_not_allowed "Method not allowed";
    CONFLICT change_not_possible "The tenant has nothing that could be changed so" => "Look at the tenant's deploymentType.";
    CONFLICT deployment_shared "The tenant has no dedicated deployment";
    CONFLICT deployment_would_change "The tenant would have to move"
        => "Make another tenant in that tier and move the data, or keep the tier.";
    CONFLICT domain_not_verified "The domain is not shown to be yours"
        => "Add the TXT record at the domain's DNS provider, wait until it is served, and send this again.";
    CONFLICT domain_taken "The domain is taken" => "Choose another domain, or have the tenant that has it give it up.";
    CONFLICT idempotency_key_in_flight "A request with this Idempotency-Key is being answered" => "Send it again in a moment.";
    CONFLICT invalid_transition as invalid_change "The tenant cannot be changed now"
        => "GET {tenant}/provisioning/status says what is under way.";
    CONFLICT invalid_transition "The run does not allow this" => "GET {tenant}/provisioning/status says what is possible now.";
    CONFLICT needs_force "The run does not allow this" => "If you have undone it by hand, send \"force\": true.";
    CONFLICT no_bootstrap_user "Nobody can be invited now";
    CONFLICT not_skippable "The run does not allow this" => "Retry it, or roll the run back, or abandon it.";
    CONFLICT region_changing "The region is being changed by others" => "Send it again.";
    CONFLICT region_exists "There is such a region already" => "PATCH {region} changes it.";
    CONFLICT region_has_tenants "Tenants live in the region"
        => "Make another region for new tenants, and close this one with acceptsTenants: false.";
    CONFLICT region_in_platform_file "The region is one of the platform file"
        => "Choose another key, or have the platform's operator change the file.";
    CONFLICT region_unknown "The tenant's region no longer exists" => "Restore the region in the platform file.";
    CONFLICT request_pending "The run does not allow this"
        => "Wait until it has taken effect; that is at the latest when its worker's lease ends.";
    CONFLICT slug_taken "The slug is taken" => "Choose another slug, or look at the tenant that has it.";
    CONFLICT slug_taken as slug_resting "The slug is taken" => "Choose another slug, or send the request again after freeAt.";
    CONFLICT stale_seq "The run does not allow this"
        => "Look at the status, and decide again with the seq that stands there.";
    CONFLICT tenant_leaving "The tenant is being taken out";
    CONFLICT tenant_not_active "Nobody can be invited now"
        => "Wait until the tenant is ACTIVE; its first invitation is then sent automatically.";
    CONFLICT too_many_domains "The tenant has too many domains"
        => "Give one up, or raise domains.per_tenant of the platform.";
    PAYLOAD_TOO_LARGE body_too_large "Payload too large";
    UNSUPPORTED_MEDIA_TYPE unsupported_media_type "Unsupported media type"
        => "Send JSON with the header 'Content-Type: application/json'.";
    UNPROCESSABLE_ENTITY deployment_type_unavailable "Deployment type not available";
    UNPROCESSABLE_ENTITY idempotency_key_reused "The Idempotency-Key belongs to another request"
        => "Send a fresh key with a new request, and the same body with the same key.";
    UNPROCESSABLE_ENTITY invalid_fields "Invalid fields";
    INTERNAL_SERVER_ERROR internal "Internal server error";
    SERVICE_UNAVAILABLE database_unavailable "The control plane's database is unavailable"
        => "Retry the request; use the same Idempotency-Key for a creation.";
    SERVICE_UNAVAILABLE dns_unavailable "The DNS cannot be asked now"
        => "Check that the domain's name servers answer, and send this again.";
    SERVICE_UNAVAILABLE license_key "Invitations cannot be sealed now"
        => "Correct [license] in the platform's configuration or the secret it names, and send this again.";
    SERVICE_UNAVAILABLE timeout "The request took too long"
        => "Retry the request; use the same Idempotency-Key for a creation.";
}

/// 422: the body can be read and its fields cannot be accepted; all of them are named.
pub fn wrong_fields(errors: Vec<FieldError>) -> Problem {
    if errors.iter().all(|error| error.code == "deployment_type_unavailable") {
        let why: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        return deployment_type_unavailable(why.join("; ")).errors(errors);
    }
    invalid_fields(see_errors(&errors)).errors(errors)
}

/// 400: query parameters that cannot be accepted; all of them are named.
pub fn wrong_parameters(errors: Vec<FieldError>) -> Problem {
    invalid_parameters(see_errors(&errors)).errors(errors)
}

fn see_errors(errors: &[FieldError]) -> String {
    let mut names: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    names.dedup();
    format!("cannot accept {}; see errors", names.join(", "))
}

/// 401.
pub fn no_token() -> Problem {
    unauthorized("a valid bearer token is required")
        .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tenantry\""))
}

/// 404 for a tenant.
pub fn no_tenant(id: &str) -> Problem {
    tenant_not_found(format!("no tenant has the id or slug '{}'", shown(id)))
}

/// What a client wrote may be anything; what is shown of it is bounded.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// 503: the control plane's database does not answer.
pub fn no_database() -> Problem {
    database_unavailable("the request was not carried out, or its outcome is unknown").retry_after(5)
}

/// 503: given up after `limit`.
pub fn timed_out(limit: Duration) -> Problem {
    timeout(format!("no answer within {} s; the outcome is unknown", limit.as_secs())).retry_after(5)
}

/// 500. The cause is in the log, under the request's id.
pub fn logged() -> Problem {
    internal("the cause is logged under the request id in the header x-request-id")
}

/// What a handler fails with: a problem, or the control plane's database, which becomes one.
#[derive(Clone, Debug)]
pub struct Failure(Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// Logged here, once: the caller is told no more than that it is so.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Database(cause) if away(cause) => {
                tracing::warn!(%error, "the control plane's database cannot be used");
                Self(no_database())
            }
            _ => {
                tracing::error!(%error, "the control plane's database refused");
                Self(logged())
            }
        }
    }
}

/// Whether the database is away, busy or not set up, rather than asked for something wrong.
fn away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(answer) => {
            // Connection (08), authorisation (28), no such database (3D), lost races (40), no such table (42P01, not
            // migrated yet), resources (53), operator intervention (57).
            let state = answer.code().unwrap_or_default();
            state == "42P01" || matches!(state.get(..2), Some("08" | "28" | "3D" | "40" | "53" | "57"))
        }
        _ => false,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
