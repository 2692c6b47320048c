//! How the phase fails.

use std::time::{Duration, Instant};

use engine::phase::{Error, Kind, Phase, Scope};
use setup_database::{SECRET, SetupDatabase};
use tenant_api_client::{Credentials, Strategy, TenantApi};
use tokio::net::TcpListener;

use crate::world::{Change, INTERNAL_SECRET, Watch, World, with_both, with_tenant};

/// Whether an error says what to do and keeps what must be kept.
async fn well_said(world: &World, error: &Error) {
    let text = format!("{error:?}");
    assert!(!error.next_action.is_empty(), "{text}");
    let mut secrets =
        vec![INTERNAL_SECRET.to_owned(), std::env::var("REGION_DATABASE_ADMIN_PASSWORD").unwrap()];
    if world.secret().await.is_some() {
        let values = world.values().await;
        secrets
            .extend(["POSTGRES_PASSWORD", "DATABASE_URL"].iter().filter_map(|key| values.get(*key).cloned()));
    }
    for secret in secrets {
        assert!(!text.contains(&secret), "a secret is in {}", error.code);
    }
}

#[tokio::test]
async fn a_wrong_password_in_the_secret_fails_the_phase() {
    with_both(|world| async move {
        world.apply().await.unwrap();
        let right = world.values().await;
        let wrong_url = right["DATABASE_URL"].replace(&right["POSTGRES_PASSWORD"], "wrong");

        // In the URL alone, from the beginning.
        world.change_secret(&[("DATABASE_URL", &wrong_url)]).await;
        let error = world.apply().await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Retryable, "database_login_refused"), "{error}");
        assert!(error.message.contains("DATABASE_URL"), "{error}");
        well_said(&world, &error).await;
        world.change_secret(&[("DATABASE_URL", &right["DATABASE_URL"])]).await;

        // In both, after the role has got its password and before it is tried.
        let change_at = Some(Change {
            operation: "verify connectivity",
            world: world.clone(),
            values: vec![("POSTGRES_PASSWORD", "wrong".to_owned()), ("DATABASE_URL", wrong_url)],
        });
        let (step, _) = world.step_with(Scope::Run, Watch { change_at, ..Watch::default() });
        let error = world.phase().apply(&world.plan(), &step).await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Retryable, "database_login_refused"), "{error}");
        well_said(&world, &error).await;

        // What the Secret says then holds.
        world.apply().await.unwrap();
        world.login().await;
    })
    .await;
}

#[tokio::test]
async fn a_secret_with_missing_keys_or_for_another_database_is_fatal() {
    with_tenant(Strategy::Database, |world| async move {
        let place = world.plan().place;
        let whole = Credentials::new(&place, "db", 5432, model::secret::Secret::new("half-a-secret"));
        world.put_secret(SECRET, &whole.values()[..4], true).await;
        let error = world.apply().await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "credentials_incomplete"));
        assert!(error.message.ends_with("has no POSTGRES_PASSWORD, DATABASE_URL"), "{error}");
        well_said(&world, &error).await;

        world
            .change_secret(&[
                ("POSTGRES_PASSWORD", "half-a-secret"),
                ("DATABASE_URL", "postgres://half-a-secret"),
                ("POSTGRES_DB", "other"),
            ])
            .await;
        let error = world.apply().await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "credentials_mismatch"));
        well_said(&world, &error).await;
        assert!(world.names().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_foreign_secret_is_fatal_and_untouched() {
    with_both(|world| async move {
        world.put_secret(SECRET, &[("mine", "value")], false).await;
        let before = world.secret().await.unwrap();
        let error = world.apply().await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "foreign_object"));
        well_said(&world, &error).await;
        for scope in [Scope::Run, Scope::Tenant] {
            world.revert(scope).await.unwrap();
        }
        assert_eq!(world.secret().await, Some(before));
        assert!(world.names().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_foreign_role_is_fatal_and_untouched() {
    with_both(|world| async move {
        let role = world.plan().place.role;
        world.sql(&format!("CREATE ROLE \"{role}\" NOLOGIN CONNECTION LIMIT 3")).await;
        let error = world.apply().await.unwrap_err();
        let failed = (error.kind.clone(), error.code);
        well_said(&world, &error).await;
        let mut reverted = Vec::new();
        for scope in [Scope::Run, Scope::Tenant] {
            reverted.push(world.revert(scope).await);
        }
        let limit: Option<i32> =
            sqlx::query_scalar("SELECT rolconnlimit FROM pg_roles WHERE rolname = $1 AND NOT rolcanlogin")
                .bind(&role)
                .fetch_optional(&mut world.admin().await)
                .await
                .unwrap();
        world.sql(&format!("DROP ROLE \"{role}\"")).await;
        assert_eq!(failed, (Kind::Fatal, "foreign_role"));
        assert!(reverted.iter().all(Result::is_ok), "{reverted:?}");
        assert_eq!(limit, Some(3));
        assert!(world.secret().await.is_none(), "the Secret was this run's");
        assert!(world.names().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_foreign_database_is_fatal_and_untouched() {
    with_tenant(Strategy::Database, |world| async move {
        let database = world.plan().place.database;
        world.sql(&format!("CREATE DATABASE \"{database}\" TEMPLATE template0 CONNECTION LIMIT 3")).await;
        let error = world.apply().await.unwrap_err();
        let mut reverted = Vec::new();
        for scope in [Scope::Run, Scope::Tenant] {
            reverted.push(world.revert(scope).await);
        }
        let names = world.names().await;
        world.sql(&format!("DROP DATABASE IF EXISTS \"{database}\"")).await;
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "foreign_database"));
        assert!(reverted.iter().all(Result::is_ok), "{reverted:?}");
        assert_eq!(names, ["database"]);
        well_said(&world, &error).await;
    })
    .await;
}

#[tokio::test]
async fn a_foreign_schema_is_fatal_and_untouched() {
    with_tenant(Strategy::Schema, |world| async move {
        let schema = world.plan().place.schema;
        world.sql(&format!("CREATE SCHEMA \"{schema}\"")).await;
        let error = world.apply().await.unwrap_err();
        let mut reverted = Vec::new();
        for scope in [Scope::Run, Scope::Tenant] {
            reverted.push(world.revert(scope).await);
        }
        let names = world.names().await;
        world.sql(&format!("DROP SCHEMA IF EXISTS \"{schema}\"")).await;
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "foreign_schema"));
        assert!(reverted.iter().all(Result::is_ok), "{reverted:?}");
        assert_eq!(names, ["schema"]);
        well_said(&world, &error).await;
    })
    .await;
}

#[tokio::test]
async fn a_tenant_api_that_is_down_is_unavailable() {
    with_tenant(Strategy::Database, |world| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let mut away = world.clone();
        away.platform.regions.get_mut("eastus").unwrap().tenant_api_url = url;
        for error in [away.apply().await.unwrap_err(), away.revert(Scope::Run).await.unwrap_err()] {
            let down = Kind::Unavailable { dependency: "tenant-api".into() };
            assert_eq!((&error.kind, error.code), (&down, "tenant_api_unavailable"), "{error}");
            well_said(&world, &error).await;
        }
        // The plan holds the address; a rollback that reaches nobody leaves the Secret for the next try.
        assert!(world.secret().await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_the_call_is_unavailable() {
    with_tenant(Strategy::Database, |mut world| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        world.platform.regions.get_mut("eastus").unwrap().tenant_api_url = url;
        let dying = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.unwrap();
            connection.readable().await.unwrap();
        });
        let error = world.apply().await.unwrap_err();
        assert_eq!(error.code, "tenant_api_unavailable", "{error}");
        well_said(&world, &error).await;
        dying.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_refused_internal_secret_is_fatal_and_names_its_setting() {
    with_tenant(Strategy::Database, |world| async move {
        let mut wrong = world.clone();
        let region = wrong.platform.regions.get_mut("eastus").unwrap();
        region.internal_secret = region.database.admin_password.clone();
        let error = wrong.apply().await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "tenant_api_unauthorized"));
        assert!(error.message.contains("regions.eastus.internal_secret"), "{error}");
        well_said(&world, &error).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_is_retryable_in_time() {
    with_tenant(Strategy::Database, |mut world| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        world.platform.regions.get_mut("eastus").unwrap().tenant_api_url = url;
        let api = TenantApi::connect().unwrap().answering_within(Duration::from_millis(300));
        let phase = SetupDatabase::new(world.cluster.clone(), api);
        let (step, _) = world.step(Scope::Run);
        let begun = Instant::now();
        let error = phase.apply(&world.plan(), &step).await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Retryable, "tenant_api_timeout"), "{error}");
        assert!(begun.elapsed() < Duration::from_mins(1));
        well_said(&world, &error).await;
        drop(listener);
    })
    .await;
}
