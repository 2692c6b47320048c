//! What the routes reach, and each part of it by itself.

use crate::exports::Exports;
use crate::license::Licenses;
use crate::measure::Measures;
use crate::ready::Readiness;
use crate::schema::Migrations;
use crate::tables::Tables;
use axum::extract::FromRef;

/// What the routes reach. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) licenses: Licenses,
    pub(crate) tables: Tables,
    pub(crate) migrations: Migrations,
    pub(crate) exports: Exports,
    pub(crate) measures: Measures,
    pub(crate) readiness: Readiness,
}

impl FromRef<App> for Exports {
    fn from_ref(app: &App) -> Self {
        app.exports.clone()
    }
}

impl FromRef<App> for Measures {
    fn from_ref(app: &App) -> Self {
        app.measures.clone()
    }
}

impl FromRef<App> for Readiness {
    fn from_ref(app: &App) -> Self {
        app.readiness.clone()
    }
}

impl FromRef<App> for Licenses {
    fn from_ref(app: &App) -> Self {
        app.licenses.clone()
    }
}

impl FromRef<App> for Tables {
    fn from_ref(app: &App) -> Self {
        app.tables.clone()
    }
}
