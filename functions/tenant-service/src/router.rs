//! Where every request goes.

use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Router, middleware};
use http_server::Frame;

use crate::problem;
use crate::state::App;
use crate::{
    auth, deployment, domains, extract, health, invitations, lifecycle, openapi, regions, status, tenants,
    verbs,
};

/// Methods and paths of the API, behind the token. The description of the API lists the same.
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
    routes.extend([
        ("post", "/api/v1/tenants/{id}/suspend", post(lifecycle::suspend)),
        ("post", "/api/v1/tenants/{id}/resume", post(lifecycle::resume)),
        ("post", "/api/v1/tenants/{id}/provisioning/retry", post(verbs::retry)),
        ("post", "/api/v1/tenants/{id}/provisioning/rollback", post(verbs::rollback)),
        ("post", "/api/v1/tenants/{id}/provisioning/pause", post(verbs::pause)),
        ("post", "/api/v1/tenants/{id}/provisioning/resume", post(verbs::resume)),
        ("post", "/api/v1/tenants/{id}/provisioning/skip", post(verbs::skip)),
        ("post", "/api/v1/tenants/{id}/provisioning/abandon", post(verbs::abandon)),
    ]);
    routes
}

/// Methods and paths that need no token.
fn open() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("get", "/healthz", get(health::alive)),
        ("get", "/readyz", get(health::ready)),
        ("get", "/metrics", get(health::metrics)),
        ("get", "/openapi.json", get(openapi::openapi)),
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
    use std::collections::BTreeSet;

    #[test]
    fn the_description_and_the_router_list_the_same() {
        let described = serde_json::to_value(openapi::document()).unwrap();
        let mut listed = BTreeSet::new();
        for (path, methods) in described["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
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
