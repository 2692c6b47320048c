//! What the phase makes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::phase::{Kind, Phase, Progress, Scope};
use model::DeploymentType;
use model::secret::Secret;
use sqlx::Row as _;
use tenant_api_client::{Credentials, Server, Strategy, own_secret};

use crate::world::{INTERNAL_SECRET, Watch, serve_own, with_both, with_tenant};

#[tokio::test]
async fn twice_applied_is_the_same_password_and_one_effect() {
    with_both(|world| async move {
        let first = world.apply().await.unwrap();
        let values = world.values().await;
        let dedicated = first.place.strategy == Strategy::Database;
        assert!(
            first.created.role && first.created.database == dedicated && first.created.schema != dedicated
        );
        assert!(!first.migrations.is_empty() && first.migrations.iter().all(|migration| migration.applied));

        let second = world.later_run().apply().await.unwrap();
        assert_eq!(world.values().await, values);
        assert_eq!(second.secret, first.secret);
        assert_eq!(second.created_by_run, world.run);
        assert_eq!(second.secret.unwrap().created_by, Some(world.run));
        assert_eq!(second.created, tenant_api_client::Created::default());

        let row = sqlx::query(
            "SELECT current_user::text, current_database()::text, current_schema()::text, \
             (SELECT count(*) FROM system_roles), (SELECT count(*) FROM dashboard_templates), \
             (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)",
        )
        .fetch_one(&mut world.login().await)
        .await
        .unwrap();
        let place = &first.place;
        let names: [String; 3] = [row.get(0), row.get(1), row.get(2)];
        assert_eq!(names, [&place.role, &place.database, &place.schema].map(Clone::clone));
        assert_eq!((row.get::<i64, _>(3), row.get::<i64, _>(4), row.get::<i32, _>(5)), (4, 3, 20));
    })
    .await;
}

#[tokio::test]
async fn a_tenant_of_the_pooled_instance_has_a_role_that_nobody_can_log_in_as_and_no_secret() {
    with_tenant(Strategy::Schema, |mut world| async move {
        world.tenant.deployment_type = DeploymentType::Shared;
        for _ in 0..2 {
            let made = world.apply().await.unwrap();
            assert_eq!(made.secret, None);
            assert!(world.secret().await.is_none());
            assert_eq!(world.names().await, ["role", "schema"]);
            let (login, connect): (bool, bool) = sqlx::query_as(
                "SELECT rolcanlogin, has_database_privilege(oid, current_database(), 'CONNECT') \
                 FROM pg_roles WHERE rolname = $1",
            )
            .bind(&made.place.role)
            .fetch_one(&mut world.admin().await)
            .await
            .unwrap();
            assert_eq!((login, connect), (false, false));
        }
        world.revert(Scope::Run).await.unwrap();
        assert_eq!(world.names().await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn the_secret_has_the_six_keys_and_nothing_else() {
    with_both(|world| async move {
        let made = world.apply().await.unwrap();
        let secret = serde_json::to_value(world.secret().await.unwrap()).unwrap();
        let mut keys: Vec<&str> = secret["data"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = Credentials::KEYS.to_vec();
        keys.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(keys, wanted);
        assert_eq!(secret["type"], "Opaque");
        assert_eq!(secret["metadata"]["uid"], made.secret.unwrap().uid.as_str());
        assert_eq!(secret["metadata"]["labels"]["matih.ai/tenant-id"], world.tenant.id.to_string());
        let value = |key: &str| {
            String::from_utf8(STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap()).unwrap()
        };
        let password = value("POSTGRES_PASSWORD");
        assert!(password.len() >= 32 && password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let start = format!(
            "postgres://{}:{password}@{}:{}/{}",
            value("POSTGRES_USER"),
            value("POSTGRES_HOST"),
            value("POSTGRES_PORT"),
            value("POSTGRES_DB"),
        );
        let options = match made.place.strategy {
            Strategy::Database => String::new(),
            Strategy::Schema => format!("?options=-c%20search_path%3D{}", made.place.schema),
        };
        assert_eq!(value("DATABASE_URL"), format!("{start}{options}"));
    })
    .await;
}

#[tokio::test]
async fn a_worker_lost_after_the_secret_is_continued() {
    with_both(|world| async move {
        let (step, _) =
            world.step_with(Scope::Run, Watch { lost_at: Some("initialize database"), ..Watch::default() });
        let lost = world.phase().apply(&world.plan(), &step).await.unwrap_err();
        assert!(matches!(lost.kind, Kind::Interrupted(_)), "{lost}");
        let values = world.values().await;
        assert!(world.names().await.is_empty());

        world.apply().await.unwrap();
        assert_eq!(world.values().await, values);
        world.login().await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_lost_in_the_middle_of_the_call_is_continued() {
    with_both(|world| async move {
        for after in [5, 20, 60, 120, 240] {
            let (step, _) = world.step(Scope::Run);
            let (phase, plan) = (world.phase(), world.plan());
            let apply = phase.apply(&plan, &step);
            drop(tokio::time::timeout(std::time::Duration::from_millis(after), apply).await);
        }
        world.apply().await.unwrap();
        world.login().await;
    })
    .await;
}

#[tokio::test]
async fn a_secret_of_the_tenants_own_making_is_kept() {
    with_tenant(Strategy::Database, |world| async move {
        let place = world.plan().place;
        let server = world.plan().server.admin;
        let password = model::secret::Secret::new("chosen by somebody else");
        let chosen = Credentials::new(&place, &server.host, server.port, password);
        world.put_secret(setup_database::SECRET, &chosen.values(), true).await;
        world.apply().await.unwrap();
        assert_eq!(world.values().await["POSTGRES_PASSWORD"], "chosen by somebody else");
        world.login().await;
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_in_what_is_stored() {
    with_both(|world| async move {
        let plan = world.plan();
        let (step, watch) = world.step(Scope::Run);
        let Progress::Done(checkpoint) = world.phase().apply(&plan, &step).await.unwrap() else {
            panic!("waits")
        };
        let (back, watch_back) = world.step(Scope::Tenant);
        let values = world.values().await;
        world.phase().revert(&plan, Some(&checkpoint), &back).await.unwrap();
        let stored = [
            serde_json::to_string(&plan).unwrap(),
            serde_json::to_string(&checkpoint).unwrap(),
            watch.recorded(),
            watch_back.recorded(),
        ]
        .join("\n");
        assert!(stored.contains("connected directly: the nodes are simulated"), "{stored}");
        let admin = std::env::var("REGION_DATABASE_ADMIN_PASSWORD").unwrap();
        for secret in [&values["POSTGRES_PASSWORD"], &values["DATABASE_URL"], INTERNAL_SECRET, &admin] {
            assert!(!stored.contains(secret));
        }
        assert!(!stored.contains("SCRAM-SHA-256") && !stored.contains("postgres://"));
        // What is stored is read back as it was.
        assert_eq!(
            serde_json::from_str::<setup_database::Plan>(stored.lines().next().unwrap()).unwrap(),
            plan
        );
        assert_eq!(
            serde_json::from_str::<setup_database::Checkpoint>(stored.lines().nth(1).unwrap()).unwrap(),
            checkpoint
        );
    })
    .await;
}

#[tokio::test]
async fn the_tenants_own_instance_makes_it_and_the_pooled_one_takes_it_away() {
    with_tenant(Strategy::Database, |world| async move {
        let tenant = world.tenant.id;
        let secret = own_secret(&Secret::new(INTERNAL_SECRET), tenant);
        let endpoint = serve_own(tenant, secret.expose()).await;
        let mut plan = world.plan();
        plan.instance = Some(Server { endpoint, own: Some(tenant), ..plan.server.clone() });
        // Nobody else is there to make it.
        let pooled = std::mem::replace(&mut plan.server.endpoint, "http://127.0.0.1:1".into());
        let (step, _) = world.step(Scope::Run);
        let Progress::Done(made) = world.phase().apply(&plan, &step).await.unwrap() else { panic!("waits") };
        assert!(made.created.role && made.created.database);
        let made = world.names().await;
        // The region's secret is no instance's own.
        let mut refused = plan.clone();
        refused.instance.as_mut().unwrap().own = None;
        let error = world.phase().apply(&refused, &step).await.unwrap_err();
        plan.server.endpoint = pooled;
        let undone = world.phase().revert(&plan, None, &step).await;
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "tenant_api_unauthorized"), "{error}");
        assert!(matches!(undone, Ok(Progress::Done(()))), "{undone:?}");
        assert_eq!(made, ["role", "database"]);
        assert!(world.names().await.is_empty());
    })
    .await;
}
