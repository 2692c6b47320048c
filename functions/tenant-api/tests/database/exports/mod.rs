//! Exports on a real RabbitMQ and a real Postgres: instances with a broker user each, as PROVISION_DEPLOYMENT makes it.

mod station;

use crate::signing::{issue, key};
use crate::world::{Strategy, Tenant, World, number, run, with_tenants};
use job_broker::prefix_of;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use model::TenantId;
use model::secret::SecretRef;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use station::{Broker, Instance, PASSWORD, WITHIN, eventually, process, publish, waiting};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tenant_api::{Licenses, Tables};
use uuid::Uuid;

fn lines(text: &str) -> BTreeMap<String, usize> {
    let mut tables = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        *tables.entry(line["table"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    tables
}

#[tokio::test]
async fn an_export_holds_the_tenants_rows_and_nobodys_hash() {
    with_tenants([Strategy::Database, Strategy::Schema], async |world, [tenant, pooled]| {
        let broker = Broker::new();
        let login = broker.login(TenantId(tenant.id)).await;
        world.ok("initialize", &tenant.initialize(&world)).await;
        let mut body = pooled.initialize(&world);
        body["verifier"] = Value::Null;
        world.ok("initialize", &body).await;
        let insert = format!(
            "INSERT INTO users (tenant_id, email, role, password_hash) \
             VALUES ('{}', 'ann@acme.example', 'owner', 'the hash of a password')",
            tenant.id
        );
        run(&mut tenant.login(&world).await.unwrap(), &insert).await.unwrap();

        let own = Instance::own(&world, &broker, &tenant, &prefix_of(TenantId(tenant.id)), &login).await;
        // The pooled one has a prefix of its own, which the operator gives it.
        let tables = Tables::new(Some(SecretRef::Env("POOL_DATABASE_URL".into())), None, false);
        let broad = broker.broad().await;
        let shared = Instance::start(tables, Some(broker.settings("jobs.pooled", &broad, None))).await;

        for (instance, tenant, users) in [(&own, &tenant, 1), (&shared, &pooled, 0)] {
            let id = Uuid::new_v4();
            instance.ask(tenant, id).await;
            let done = instance.becomes(tenant, id, "done").await;
            let (status, text) = instance.get(&format!("/internal/exports/{}/{id}/content", tenant.id)).await;
            assert_eq!(status, 200);
            let mut expected =
                BTreeMap::from([("configuration", 5), ("system_roles", 4), ("dashboard_templates", 3)]);
            expected.extend((users > 0).then_some(("users", users)));
            assert!(
                lines(&text).iter().map(|(table, count)| (table.as_str(), *count)).eq(expected),
                "{text}"
            );
            assert!(text.contains(&tenant.id.to_string()) && !text.contains("hash"), "{text}");
            let hash = hex::encode(Sha256::digest(&text));
            assert_eq!((&done["sha256"], &done["attempts"]), (&json!(hash), &json!(1)), "{done}");
            assert_eq!((&done["rows"], &done["bytes"]), (&json!(text.lines().count()), &json!(text.len())));
            let name = format!("{}/exports/{id}.jsonl", tenant.id);
            assert_eq!(done["storage"], json!(name));
            let file = broker.storage().join(name);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            // Asked for again, it is the same one; its content lost, that is said.
            assert_eq!(instance.ask(tenant, id).await, done);
            std::fs::remove_file(&file).unwrap();
            let (status, text) = instance.get(&format!("/internal/exports/{}/{id}/content", tenant.id)).await;
            assert!(status == 410 && text.contains("export_gone"), "{text}");
            let (status, text) =
                instance.get(&format!("/internal/exports/{}/{}", tenant.id, Uuid::new_v4())).await;
            assert!(status == 404 && text.contains("export_unknown"), "{text}");
        }
        assert_eq!((own.jobs("done"), shared.jobs("done")), (1, 1));
        broker.remove(&[&tenant]).await;
    })
    .await;
}

/// Two tenants' instances on one broker, four exports each: how many jobs an instance got that were the other's.
async fn crossed(world: &World, broker: &Broker, sides: [(&Tenant, &str, &str); 2]) -> u64 {
    let mut asked = Vec::new();
    for (tenant, prefix, login) in sides {
        let instance = Instance::own(world, broker, tenant, prefix, login).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(Uuid::new_v4());
        }
        asked.push((instance, tenant, ids));
    }
    // Both take jobs before there are any.
    for (_, prefix, login) in sides {
        let consumers = if sides[0].1 == sides[1].1 { 2 } else { 1 };
        eventually!("both take jobs", {
            let connection = Connection::connect(login, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue = format!("{prefix}.jobs");
            let found = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await;
            found.is_ok_and(|queue| queue.consumer_count() == consumers)
        });
    }
    for (instance, tenant, ids) in &asked {
        for id in ids {
            instance.ask(tenant, *id).await;
        }
    }
    let over = |instance: &Instance| {
        ["done", "failed", "foreign"].iter().map(|outcome| instance.jobs(outcome)).sum::<u64>()
    };
    eventually!("all jobs are over", { asked.iter().map(|(instance, ..)| over(instance)).sum::<u64>() == 8 });
    let foreign = asked.iter().map(|(instance, ..)| instance.jobs("foreign")).sum();
    if foreign == 0 {
        for (instance, tenant, ids) in &asked {
            for id in ids {
                assert_eq!(instance.state(tenant, *id).await["state"], "done");
            }
        }
    }
    foreign
}

#[tokio::test]
async fn two_instances_on_one_broker_never_take_each_others_job() {
    with_tenants([Strategy::Schema, Strategy::Schema], async |world, [one, other]| {
        let broker = Broker::new();
        let [(my, mine), (their, theirs)] = [
            (broker.login(TenantId(one.id)).await, prefix_of(TenantId(one.id))),
            (broker.login(TenantId(other.id)).await, prefix_of(TenantId(other.id))),
        ];
        for tenant in [&one, &other] {
            world.ok("initialize", &tenant.initialize(&world)).await;
        }
        assert_eq!(crossed(&world, &broker, [(&one, &mine, &my), (&other, &theirs, &their)]).await, 0);

        // It is the broker that refuses: one's login does not get at the other's queue, whatever asks with it.
        let connection = Connection::connect(&my, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let queue = format!("{theirs}.jobs");
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
        assert!(format!("{got:?}").contains("ACCESS"), "{got:?}");
        let astray = Instance::own(&world, &broker, &one, &theirs, &my).await;
        let (status, answer) = astray.post("/internal/exports", &json!({ "tenantId": one.id })).await;
        assert_eq!((status, &answer["code"]), (503, &json!("jobs_unavailable")), "{answer}");
        assert!(answer.to_string().contains("ACCESS") && !answer.to_string().contains(PASSWORD), "{answer}");

        // And it is the prefix that keeps them apart: with the same one, and a login that may use it, jobs do cross.
        let broad = broker.broad().await;
        let both = [(&one, "jobs.same", broad.as_str()), (&other, "jobs.same", broad.as_str())];
        let lost = crossed(&world, &broker, both).await;
        assert!(lost > 0);
        eventually!("they are put aside", u64::from(waiting(&broad, "jobs.same.dead").await) == lost);
        broker.remove(&[&one, &other]).await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_comes_twice_is_done_once_and_what_is_no_job_is_put_aside() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let broker = Broker::new();
        let (login, prefix) = (broker.login(TenantId(tenant.id)).await, prefix_of(TenantId(tenant.id)));
        world.ok("initialize", &tenant.initialize(&world)).await;
        let instance = Instance::own(&world, &broker, &tenant, &prefix, &login).await;
        let id = Uuid::new_v4();
        instance.ask(&tenant, id).await;
        let done = instance.becomes(&tenant, id, "done").await;
        let file = broker.storage().join(format!("{}/exports/{id}.jsonl", tenant.id));
        let written = std::fs::metadata(&file).unwrap().modified().unwrap();
        let job = json!({ "tenantId": tenant.id, "exportId": id }).to_string();
        for body in [&job, &job, "nonsense", "{}"] {
            publish(&login, &prefix, body.as_bytes()).await;
        }
        let nobodys = json!({ "tenantId": tenant.id, "exportId": Uuid::new_v4() }).to_string();
        publish(&login, &prefix, nobodys.as_bytes()).await;
        eventually!("all are over", {
            (instance.jobs("repeated"), instance.jobs("malformed"), instance.jobs("unknown")) == (2, 2, 1)
        });
        assert_eq!(instance.state(&tenant, id).await, done);
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written, "not written again");
        eventually!("put aside", waiting(&login, &format!("{prefix}.dead")).await == 2);
        assert_eq!(waiting(&login, &format!("{prefix}.jobs")).await, 0);

        // What cannot be done fails with its reason; the next job is done.
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        let mut session = tenant.login(&world).await.unwrap();
        run(&mut session, &rename("dashboard_templates", "elsewhere")).await.unwrap();
        let poison = Uuid::new_v4();
        instance.ask(&tenant, poison).await;
        let failed = instance.becomes(&tenant, poison, "failed").await;
        assert_eq!((&failed["error"]["code"], &failed["attempts"]), (&json!("database_error"), &json!(1)));
        assert!(failed["error"]["detail"].as_str().unwrap().contains("dashboard_templates"), "{failed}");
        let (status, text) = instance.get(&format!("/internal/exports/{}/{poison}/content", tenant.id)).await;
        assert!(status == 409 && text.contains("export_not_done"), "{text}");
        run(&mut session, &rename("elsewhere", "dashboard_templates")).await.unwrap();
        let next = Uuid::new_v4();
        instance.ask(&tenant, next).await;
        instance.becomes(&tenant, next, "done").await;
        let kept = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(kept, 2, "nothing half-written stays");
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_killed_in_the_middle_is_repeated_by_the_broker_but_not_for_ever() {
    with_tenants([Strategy::Database], async |world, [tenant]| {
        let broker = Broker::new();
        let login = broker.login(TenantId(tenant.id)).await;
        world.ok("initialize", &tenant.initialize(&world)).await;
        // Each export is stopped by this lock in the middle of its rows.
        for (deaths, wanted) in [(1, "done"), (3, "failed")] {
            let mut held = tenant.login(&world).await.unwrap();
            run(&mut held, "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await.unwrap();
            let id = Uuid::new_v4();
            for death in 1..=deaths {
                let (mut child, instance) = process(&world, &broker, &tenant, &login).await;
                if death == 1 {
                    instance.ask(&tenant, id).await;
                }
                eventually!("it is under way", {
                    let now = instance.state(&tenant, id).await;
                    now["state"] == "running" && now["attempts"] == json!(death)
                });
                child.kill().await.unwrap();
            }
            held.close().await.unwrap();
            let (mut child, instance) = process(&world, &broker, &tenant, &login).await;
            let end = instance.becomes(&tenant, id, wanted).await;
            assert_eq!(end["attempts"], json!(deaths + 1), "{end}");
            if wanted == "failed" {
                assert_eq!(end["error"]["code"], "given_up", "{end}");
            }
            child.kill().await.unwrap();
        }
        assert_eq!(waiting(&login, &format!("{}.jobs", prefix_of(TenantId(tenant.id)))).await, 0);
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_the_broker_has_lost_is_given_to_it_again_and_an_outage_is_waited_for() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let broker = Broker::new();
        let (login, prefix) = (broker.login(TenantId(tenant.id)).await, prefix_of(TenantId(tenant.id)));
        world.ok("initialize", &tenant.initialize(&world)).await;
        let [lost, kept] = [0; 2].map(|_| Uuid::new_v4());
        let mut session = tenant.login(&world).await.unwrap();
        for (id, queued) in [(lost, "now() - interval '1 hour'"), (kept, "now()")] {
            let insert = format!(
                "INSERT INTO exports (tenant_id, id, queued_at) VALUES ('{}', '{id}', {queued})",
                tenant.id
            );
            run(&mut session, &insert).await.unwrap();
        }
        session.close().await.unwrap();
        let instance = Instance::own(&world, &broker, &tenant, &prefix, &login).await;
        instance.becomes(&tenant, lost, "done").await;
        // The other one's is with the broker, as far as anybody knows. It comes while nobody may log in.
        let lock = |how: &str| [format!("ALTER ROLE \"{}\" {how}", tenant.name)];
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'",
            tenant.name
        );
        let admin = crate::world::SHARED;
        let join = format!("GRANT \"{}\" TO CURRENT_USER", tenant.name);
        world.sql(admin, &[vec![join], lock("NOLOGIN").to_vec(), vec![end]].concat()).await;
        let job = json!({ "tenantId": tenant.id, "exportId": kept }).to_string();
        publish(&login, &prefix, job.as_bytes()).await;
        eventually!("it is taken", waiting(&login, &format!("{prefix}.jobs")).await == 0);
        world.sql(admin, &lock("LOGIN")).await;
        assert_eq!(instance.becomes(&tenant, kept, "done").await["attempts"], 1);
        world.sql(admin, &[format!("REVOKE \"{}\" FROM CURRENT_USER", tenant.name)]).await;
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_there_are_no_exports_and_without_an_answer_they_may_be_asked_for_again() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let broker = Broker::new();
        world.ok("initialize", &tenant.initialize(&world)).await;
        let tables = || {
            let login = broker.secret(&tenant.url(&world));
            Tables::new(Some(login), Some(TenantId(tenant.id)), false)
        };
        let body = json!({ "tenantId": tenant.id, "id": Uuid::new_v4() });
        let mut settings =
            broker.settings("jobs.x", "amqp://u:hunter2@127.0.0.1:1/x", Some(TenantId(tenant.id)));
        let silent = Instance::start(tables(), Some(settings.clone())).await;
        settings.login = SecretRef::File("/nowhere/AMQP_URL".into());
        let without = Instance::start(tables(), Some(settings)).await;
        let none = Instance::start(tables(), None).await;
        for (instance, status, code) in [
            (&none, 501, "jobs_not_configured"),
            (&without, 501, "jobs_not_configured"),
            (&silent, 503, "jobs_unavailable"),
        ] {
            let (got, answer) = instance.post("/internal/exports", &body).await;
            assert_eq!((got, &answer["code"]), (status, &json!(code)), "{answer}");
            assert!(!answer.to_string().contains("hunter2"), "{answer}");
        }
        // The same one, once there is a broker.
        let (login, prefix) = (broker.login(TenantId(tenant.id)).await, prefix_of(TenantId(tenant.id)));
        let instance = Instance::own(&world, &broker, &tenant, &prefix, &login).await;
        let id = body["id"].as_str().unwrap().parse().unwrap();
        instance.ask(&tenant, id).await;
        instance.becomes(&tenant, id, "done").await;
        let call = instance.http.post(format!("{}/internal/exports", instance.url)).json(&body);
        assert_eq!(call.send().await.unwrap().status(), 401, "nobody without the secret");
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn where_licences_are_checked_there_is_no_export_without_one_that_holds() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let (broker, key, id) = (Broker::new(), key(), TenantId(tenant.id));
        let (login, prefix) = (broker.login(id).await, prefix_of(id));
        world.ok("initialize", &tenant.initialize(&world)).await;
        let tables = Tables::new(Some(broker.secret(&tenant.url(&world))), Some(id), false);
        let licenses = Licenses::open(key.public_keys(), Some(id), None, None).unwrap();
        let settings = broker.settings(&prefix, &login, Some(id));
        let instance = Instance::licensed(tables, Some(settings), licenses).await;
        let export = Uuid::new_v4();
        let refuses = async |status: u16, code: &str| {
            let body = json!({ "tenantId": tenant.id, "id": export });
            let (got, answer) = instance.post("/internal/exports", &body).await;
            assert_eq!((got, &answer["code"]), (status, &json!(code)), "{answer}");
        };
        let tell = async |before: i64, after: i64, suspended: bool| {
            let text = issue(&key, id, before, after, suspended).text;
            let body = json!({ "tenantId": tenant.id, "license": &*text });
            let (status, answer) = instance.post("/internal/license/refresh", &body).await;
            assert_eq!(status, 200, "{answer}");
        };
        refuses(404, "license_missing").await;
        tell(30, 2, false).await;
        eventually!("it expires", {
            instance.get(&format!("/internal/license/{}", tenant.id)).await.0 == 404
        });
        refuses(404, "license_missing").await;
        tell(20, 600, true).await;
        refuses(403, "license_suspended").await;
        let mut conn = tenant.login(&world).await.unwrap();
        assert_eq!(number(&mut conn, "SELECT count(*) FROM exports").await, 0);
        tell(10, 600, false).await;
        instance.ask(&tenant, export).await;
        instance.becomes(&tenant, export, "done").await;
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn a_pooled_export_whose_job_was_lost_on_the_way_goes_on_once_when_it_is_asked_for_again() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let broker = Broker::new();
        let mut body = tenant.initialize(&world);
        body["verifier"] = Value::Null;
        world.ok("initialize", &body).await;
        let tables = Tables::new(Some(SecretRef::Env("POOL_DATABASE_URL".into())), None, false);
        let broad = broker.broad().await;
        let instance = Instance::start(tables, Some(broker.settings("jobs.pooled", &broad, None))).await;
        let mut session = PgConnection::connect(&std::env::var("POOL_DATABASE_URL").unwrap()).await.unwrap();
        let act = format!("SET ROLE \"{0}\"; SET search_path TO \"{0}\"", tenant.name);
        run(&mut session, &act).await.unwrap();
        // Somebody has begun with both; only of one, nobody can be at it still.
        let [lost, fresh] = [0; 2].map(|_| Uuid::new_v4());
        for (id, queued) in [(lost, "now() - interval '1 hour'"), (fresh, "now()")] {
            let insert = format!(
                "INSERT INTO exports (tenant_id, id, state, queued_at, started_at, attempts) \
                 VALUES ('{}', '{id}', 'running', {queued}, {queued}, 1)",
                tenant.id
            );
            run(&mut session, &insert).await.unwrap();
        }
        // While it is under way, asking often gives the broker no more jobs.
        run(&mut session, "BEGIN; LOCK TABLE users").await.unwrap();
        for _ in 0..5 {
            for id in [lost, fresh] {
                assert_eq!(instance.ask(&tenant, id).await["state"], "running");
            }
        }
        run(&mut session, "ROLLBACK").await.unwrap();
        instance.becomes(&tenant, lost, "done").await;
        let nobodys = json!({ "tenantId": tenant.id, "exportId": Uuid::new_v4() }).to_string();
        publish(&broad, "jobs.pooled", nobodys.as_bytes()).await;
        eventually!("all are over", instance.jobs("unknown") == 1);
        assert_eq!((instance.jobs("done"), instance.jobs("repeated")), (1, 0));
        assert_eq!(instance.state(&tenant, fresh).await["attempts"], 1);
        broker.remove(&[]).await;
    })
    .await;
}
