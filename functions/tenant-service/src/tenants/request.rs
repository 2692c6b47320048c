//! What a request for a tenant says, checked as a whole. Pure.

use http_server::FieldError;
use model::platform::Platform;
use model::secret::SecretRef;
use model::{Alerting, DeploymentType, OnFailure, Slug, Tier};
use serde_json::{Map, Value, json};
use tenants::NewTenant;
use tenants::deployment::{Characteristics, determine_deployment_type};
use tenants::phases;

use crate::extract::Actor;
use crate::fields::Fields;
use crate::names;

/// The longest name, in characters.
const NAME: usize = 100;
/// The longest cost centre, in characters; it becomes an annotation.
const COST_CENTER: usize = 100;

/// The tenant that `body` asks for, or everything that is wrong with it.
pub fn parse(
    body: Map<String, Value>,
    platform: &Platform,
    actor: &Actor,
) -> Result<NewTenant, Vec<FieldError>> {
    Fields::read(body, |fields| read(fields, platform, actor))
}

fn read(fields: &mut Fields, platform: &Platform, actor: &Actor) -> Option<NewTenant> {
    let slug = fields.parsed("slug", "invalid_slug", str::parse::<Slug>);
    let slug = fields.required("slug", slug);
    let name = fields.short_text("name", NAME);
    let name = fields.required("name", name);
    let tier = tier(fields);
    let region = region(fields, platform);
    if let (Some(slug), Some(region)) = (&slug, &region) {
        holds_no_region(fields, platform, slug, region);
    }
    let admin_email = fields.parsed("adminEmail", "invalid_email", names::email);
    let admin_email = fields.required("adminEmail", admin_email);
    let domain = names::own_domain(fields, platform);
    let compliance_required = fields.boolean("complianceRequired").unwrap_or(false);
    let member_count = fields.count("memberCount").unwrap_or(0);
    let monthly_api_calls = fields.count("monthlyApiCalls").unwrap_or(0);
    let requested = fields.one_of::<DeploymentType>("deploymentType");
    let dedicated = fields.boolean("hasDedicatedDatabase");
    let cost_center = fields.short_text("costCenter", COST_CENTER);
    let alerting = fields.object("alerting", "alerting.", |fields| alerting(fields, platform, slug.as_ref()));
    let on_failure = fields.one_of::<OnFailure>("onFailure").unwrap_or(OnFailure::Rollback);

    // A decision made on what is wrong would only add noise.
    let judged = ["complianceRequired", "memberCount", "monthlyApiCalls", "deploymentType"];
    let judgeable = tier.filter(|_| !judged.iter().any(|field| fields.wrong(field)));
    let decision = judgeable.and_then(|tier| {
        let characteristics = Characteristics {
            tier,
            compliance_required,
            member_count,
            monthly_api_calls,
            region: region.as_deref().unwrap_or_default(),
            isolation: region
                .as_ref()
                .and_then(|region| platform.regions.get(region))
                .map(|region| region.isolation)
                .unwrap_or_default(),
            requested,
        };
        match determine_deployment_type(&characteristics, &platform.deployment) {
            Ok(decision) => Some(decision),
            Err(forbidden) => {
                fields.error("deploymentType", "deployment_type_forbidden", forbidden.to_string());
                None
            }
        }
    });
    if let (Some(tier), Some(decision)) = (tier, &decision) {
        available(fields, platform, tier, decision.deployment_type, requested.is_some());
        if tier == Tier::Enterprise && dedicated == Some(false) {
            let why = "an enterprise tenant has a dedicated database on a dedicated instance";
            fields.error("hasDedicatedDatabase", "contradiction", why);
        }
        if decision.deployment_type == DeploymentType::Shared && dedicated == Some(true) {
            fields.error(
                "hasDedicatedDatabase",
                "contradiction",
                format!(
                    "a shared tenant has no dedicated database ({}); request container_per_tenant",
                    decision.reason
                ),
            );
        }
    }

    let (tier, decision) = (tier?, decision?);
    let container = decision.deployment_type == DeploymentType::ContainerPerTenant;
    Some(NewTenant {
        slug: slug?,
        name: name?,
        tier,
        region: region?,
        admin_email: admin_email?,
        domain,
        compliance_required,
        member_count,
        monthly_api_calls,
        deployment_type: decision.deployment_type,
        deployment_reason: decision.reason,
        has_dedicated_database: container && dedicated.unwrap_or(true),
        cost_center,
        alerting,
        on_failure,
        actor: actor.0.to_string(),
        phases: phases::plan(decision.deployment_type, tier),
    })
}

/// `tier`, or its synonym `planType`; both only if they agree.
fn tier(fields: &mut Fields) -> Option<Tier> {
    let tier = fields.one_of::<Tier>("tier");
    let plan = fields.one_of::<Tier>("planType");
    match (tier, plan) {
        (Some(tier), Some(plan)) if tier != plan => {
            fields.error(
                "planType",
                "contradiction",
                format!("is a synonym of tier and contradicts it: '{plan}' and '{tier}'"),
            );
            None
        }
        (tier, None) if fields.wrong("planType") => tier,
        (tier, plan) => fields.required("tier", tier.or(plan)),
    }
}

fn region(fields: &mut Fields, platform: &Platform) -> Option<String> {
    let region = fields.parsed("region", "unknown_region", |text| {
        let known = platform.regions.iter().filter(|(_, region)| region.accepts_tenants);
        let known: Vec<&str> = known.map(|(key, _)| key.as_str()).collect();
        if platform.regions.contains_key(text) {
            return Ok(text.to_owned());
        }
        Err(match known.as_slice() {
            [] => "the platform has no region; its operator must add one".to_owned(),
            known => format!("must be one of {}", known.join(", ")),
        })
    });
    let region = fields.required("region", region)?;
    if platform.regions.get(&region).is_some_and(|region| !region.accepts_tenants) {
        let FieldError { field, code, message } = closed(&region);
        fields.error(&field, code, message);
        return None;
    }
    Some(region)
}

/// The tenant's name, `<slug>.<domain>`, must not be that of a region's domain or above it: the zones of that region's tenants
/// would be within the tenant's.
fn holds_no_region(fields: &mut Fields, platform: &Platform, slug: &Slug, region: &str) {
    let name = format!("{slug}.{}", platform.domain_in(region));
    let within = |domain: &&str| names::within(&domain.trim_end_matches('.').to_ascii_lowercase(), &name);
    if let Some(domain) = platform.domains_of_all().find(within) {
        let why =
            format!("would be named {name}, which holds {domain}, the domain of a region; choose another");
        fields.error("slug", "reserved_slug", why);
    }
}

/// What is wrong with naming a region that takes no new tenants.
pub fn closed(region: &str) -> FieldError {
    FieldError {
        field: "region".into(),
        code: "region_closed",
        message: format!("'{region}' takes no new tenants; choose another"),
    }
}

/// Where alerts go, as it is stored. Judged against a slug that is none, a reference is left to the next request.
fn alerting(fields: &mut Fields, platform: &Platform, slug: Option<&Slug>) -> Value {
    let email = fields.parsed("email", "invalid_email", names::email);
    let slack_webhook_ref = fields.parsed("slackWebhookRef", "invalid_secret_reference", |text| {
        // The error of a reference quotes what was given, which may be the secret itself.
        text.parse::<SecretRef>().map_err(|_| {
            "must refer to where the webhook's URL is kept: env:NAME, file:PATH or k8s:namespace/name#key"
        })
    });
    if let (Some(reference), Some(slug)) = (&slack_webhook_ref, slug)
        && !platform.monitoring.allows(reference, slug, &platform.namespace(slug))
    {
        fields.error(
            "slackWebhookRef",
            "secret_reference_forbidden",
            "refers to a secret that this tenant may not name; ask the platform's operator which it may",
        );
    }
    json!(Alerting { email, slack_webhook_ref })
}

/// Whether this platform can make such a tenant.
fn available(fields: &mut Fields, platform: &Platform, tier: Tier, decided: DeploymentType, requested: bool) {
    const CODE: &str = "deployment_type_unavailable";
    let rules = &platform.deployment;
    let list = |names: Vec<&str>| names.join(", ");
    if !rules.tiers.contains(&tier) {
        let can = list(rules.tiers.iter().map(|tier| tier.as_str()).collect());
        fields.error("tier", CODE, format!("this platform cannot make {tier} tenants yet, only {can}"));
    } else if tier == Tier::Enterprise && platform.infrastructure.is_none() {
        let message =
            "this platform cannot make enterprise tenants: [infrastructure] is missing in its platform file";
        fields.error("tier", CODE, message);
    }
    if !rules.available.contains(&decided) {
        let can = list(rules.available.iter().map(|kind| kind.as_str()).collect());
        let message = if requested {
            format!("this platform cannot make {decided} tenants yet, only {can}")
        } else {
            format!("the tenant would be {decided}, which this platform cannot make yet; ask for {can}")
        };
        fields.error("deploymentType", CODE, message);
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
