//! Where secrets must not be: logs, tables, messages, arguments.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tests::process::processes;
use tests::{Site, World, calm, fresh_slug, outside, required};

/// The password within a URL.
fn password_in(url: &str) -> String {
    let (login, _) = url.split_once("://").unwrap().1.rsplit_once('@').unwrap();
    login.split_once(':').unwrap().1.to_owned()
}

/// Everything in the control plane's database, as text.
pub async fn tables(world: &World) -> String {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(names.len() > 8, "{names:?}");
    let mut text = String::new();
    for name in names {
        let rows: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT row_to_json(t)::text FROM \"{name}\" t")))
                .fetch_all(&world.pool)
                .await
                .unwrap();
        text.push_str(&rows.join("\n"));
    }
    text
}

/// The arguments of every process of this machine, looked at again and again until told to stop.
struct Arguments {
    seen: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Arguments {
    fn watch() -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
        let (into, until) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for id in processes() {
                    let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
                    into.lock().unwrap().insert(String::from_utf8_lossy(&arguments).replace('\0', " "));
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        Self { seen, stop, thread }
    }

    fn seen(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let seen = self.seen.lock().unwrap();
        seen.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_where_it_could_be_read() {
    Site::run_with(calm, |mut site| async move {
        // What is left out talks of every byte it reads and holds nothing of ours that others would not show.
        site.variables.insert("RUST_LOG".into(), "debug,hyper=info,h2=info".into());
        let arguments = Arguments::watch();
        let (functions, endpoint) = site.functions().await;
        let (service, api) = site.tenant_service().await;
        let dispatcher = site.dispatcher_of(&endpoint);
        let slug = fresh_slug("quiet");
        let tenant = api.create(&slug).await;
        // What no job is goes to the dead letters, and stays there.
        site.until_row(tenant, "under way", |row| row.run.seq > 1).await;
        let queue = format!("tenant.{tenant}");
        site.world.management.publish(&queue, "no job").await;
        site.until(tenant, "ACTIVE").await;
        let password = outside::password(&format!("matih-{slug}")).unwrap();
        let active = tables(&site.world).await;
        api.delete(tenant).await;
        site.until(tenant, "DELETED").await;

        let broker = queue::Broker::new(&site.world.amqp_url, "test").unwrap();
        let letters = format!("{:?}", queue::list_dead(&broker, 1_000).await.unwrap());
        broker.close().await;
        assert!(letters.contains("not a job"), "{letters}");
        let places = [
            ("the functions' log", functions.log()),
            ("tenant-service's log", service.log()),
            ("the dispatcher's log", dispatcher.log()),
            ("tenant-api's log", site.tenant_api_log()),
            ("the tables of an active tenant", active),
            ("the tables of a deleted tenant", tables(&site.world).await),
            ("the dead letters", letters),
            ("the arguments of a process", arguments.seen()),
        ];
        let secrets = [
            ("the tenant's password", password),
            ("the region's administrator's password", required("REGION_DATABASE_ADMIN_PASSWORD")),
            ("the internal secret", required("TENANT_API_INTERNAL_SECRET")),
            ("the admin token", required("ADMIN_TOKEN")),
            ("the DNS servers' key", required("PDNS_API_KEY")),
            ("the licences' signing key", required("LICENSE_SIGNING_KEY")),
            ("the licences' key-encryption key", required("LICENSE_KEY_ENCRYPTION_KEY")),
            ("the broker's password", password_in(&site.world.amqp_url)),
            ("the control plane's database password", password_in(&site.world.database_url)),
        ];
        // Places that are looked into must be the right ones.
        for (place, text) in &places[..7] {
            assert!(
                text.contains(&slug) || text.contains(&tenant.to_string()),
                "{place} tells of the tenant"
            );
        }
        assert!(places[7].1.contains("helm") && places[7].1.contains(&slug), "helm was seen at work");
        for (place, text) in &places {
            for (what, secret) in &secrets {
                let line = text.lines().find(|line| line.contains(secret.as_str()));
                let line = line.map(|line| line.replace(secret.as_str(), "***"));
                assert_eq!(line, None, "{what} is in {place}");
            }
        }
    })
    .await;
}
