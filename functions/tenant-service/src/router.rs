//! Where every request goes.

use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Router, middleware};
use engine::decide::verbs::Verb;
use http_server::Frame;
use model::TenantStatus;

use crate::problem;
use crate::state::App;
use crate::{
    auth, deployment, domains, extract, health, invitations, lifecycle, regions, status, tenants, verbs,
};

/// Methods and paths of the API, behind the token. `openapi.json` lists the same.
fn api() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    let mut routes = vec![
        ("post", "/api/v1/tenants", post(tenants::create)),
        ("get", "/api/v1/tenants", get(tenants::list)),
        ("get", "/api/v1/tenants/{id}", get(tenants::show)),
        ("delete", "/api/v1/tenants/{id}", delete(verbs::delete)),
        ("patch", "/api/v1/tenants/{id}", patch(lifecycle::change)),
        ("get", "/api/v1/tenants/{id}/provisioning/status", get(status::status)),
        ("get", "/api/v1/tenants/{id}/provisioning/audit", get(status::audit)),
    ];
    routes.extend([
        ("get", "/api/v1/regions", get(regions::list)),
        ("post", "/api/v1/regions", post(regions::create)),
        ("get", "/api/v1/regions/{key}", get(regions::show)),
        ("patch", "/api/v1/regions/{key}", patch(regions::change)),
    ]);
    routes.extend([
        ("get", "/api/v1/tenants/{id}/deployment", get(deployment::show)),
        ("patch", "/api/v1/tenants/{id}/deployment", patch(deployment::change)),
        ("post", "/api/v1/tenants/{id}/deployment/refresh", post(deployment::refresh)),
        ("get", "/api/v1/tenants/{id}/domains", get(domains::list)),
        ("post", "/api/v1/tenants/{id}/domains", post(domains::add)),
        ("delete", "/api/v1/tenants/{id}/domains/{domain}", delete(domains::remove)),
        ("post", "/api/v1/tenants/{id}/domains/{domain}/verify", post(domains::verify)),
        ("post", "/api/v1/tenants/{id}/bootstrap-user/invitations", post(invitations::renew)),
    ]);
    for (status, path) in [
        (TenantStatus::Suspended, "/api/v1/tenants/{id}/suspend"),
        (TenantStatus::Active, "/api/v1/tenants/{id}/resume"),
    ] {
        routes.push(("post", path, post(move |app, actor, id| lifecycle::become_so(status, app, actor, id))));
    }
    let verbs = [
        (Verb::Retry, "/api/v1/tenants/{id}/provisioning/retry"),
        (Verb::Rollback, "/api/v1/tenants/{id}/provisioning/rollback"),
        (Verb::Pause, "/api/v1/tenants/{id}/provisioning/pause"),
        (Verb::Resume, "/api/v1/tenants/{id}/provisioning/resume"),
        (Verb::Skip, "/api/v1/tenants/{id}/provisioning/skip"),
        (Verb::Abandon, "/api/v1/tenants/{id}/provisioning/abandon"),
    ];
    for (verb, path) in verbs {
        routes.push(("post", path, post(move |app, actor, id, body| verbs::ask(verb, app, actor, id, body))));
    }
    routes
}

/// Methods and paths that need no token.
fn open() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("get", "/healthz", get(http_server::alive)),
        ("get", "/readyz", get(health::ready)),
        ("get", "/metrics", get(health::metrics)),
        ("get", "/openapi.json", get(health::openapi)),
    ]
}

/// All routes. `timeout` bounds each request.
pub fn router(app: App, timeout: Duration) -> Router {
    let routes = |list: Vec<(_, &str, MethodRouter<App>)>| {
        list.into_iter().fold(Router::new(), |router, (_, path, route)| router.route(path, route))
    };
    let api = routes(api())
        .layer(DefaultBodyLimit::max(extract::LIMIT))
        .route_layer(middleware::from_fn_with_state(app.tokens.clone(), auth::require));
    let frame = Frame {
        metrics: app.measures.0.clone(),
        timeout,
        timed_out: problem::timed_out,
        panicked: problem::logged,
    };
    let all = routes(open())
        .merge(api)
        .method_not_allowed_fallback(|| async { problem::method_not_allowed("see the header Allow") })
        .fallback(|| async { problem::not_found("no route matches this path") })
        .with_state(app);
    frame.around(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn the_openapi_file_and_the_router_list_the_same() {
        let described: Value = serde_json::from_str(health::OPENAPI).unwrap();
        let mut listed = BTreeSet::new();
        for (path, methods) in described["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                listed.insert((method.clone(), path.clone()));
            }
        }
        let served: BTreeSet<(String, String)> = api()
            .into_iter()
            .chain(open())
            .map(|(method, path, _)| (method.to_owned(), path.to_owned()))
            .collect();
        assert_eq!(listed, served);
    }
}
