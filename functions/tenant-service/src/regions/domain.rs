//! A region's domain is nobody's name. The zones of the region's tenants would be delegated from that tenant's zone and be
//! covered by its certificate.

use http_server::FieldError;

use crate::names::within;
use crate::problem::{self, Failure};
use crate::state::App;

/// Fails where a region's domain is a living tenant's name or a claimed domain, or within one.
pub async fn expect_free(app: &App, domain: &str) -> Result<(), Failure> {
    let above = names_above(domain);
    let slugs: Vec<&str> = above.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let platform = app.regions.now().await?;
    let living = app.store.living_tenants(&slugs).await?.into_iter();
    let mut names = living.map(|(slug, region)| format!("{slug}.{}", platform.domain_in(&region)));
    if let Some(name) = names.find(|name| within(domain, name)) {
        return Err(taken(format!("is within {name}, the name of a tenant; choose another")));
    }
    if let Some(name) = app.store.claimed_domains(&above, &app.platform.domains).await?.first() {
        return Err(taken(format!("is within {name}, which is a tenant's own domain; choose another")));
    }
    Ok(())
}

fn taken(message: String) -> Failure {
    problem::wrong_fields(vec![FieldError { field: "domain".into(), code: "domain_taken", message }]).into()
}

/// A domain and all that it is within, but for the last label, which is nobody's.
fn names_above(domain: &str) -> Vec<&str> {
    let parents = domain.match_indices('.').map(|(at, _)| &domain[at + 1..]);
    std::iter::once(domain).chain(parents).filter(|name| name.contains('.')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_above_is_looked_for() {
        assert_eq!(names_above("a.eu.matih.ai"), ["a.eu.matih.ai", "eu.matih.ai", "matih.ai"]);
        assert_eq!(names_above("matih.ai"), ["matih.ai"]);
    }
}
