//! Two tenants, each with all of its own credentials, and what they reach of the other: nothing.

use std::collections::BTreeMap;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use model::{TenantId, Tier};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tests::{RegionWorld, kubectl, required, slug};

const PHASES: [&str; 3] = ["CREATE_NAMESPACE", "PROVISION_DEPLOYMENT", "SETUP_DATABASE"];

/// Connections that a professional tenant may have (control-plane reference, "its own pool").
const LIMIT: usize = 20;

struct Own {
    slug: String,
    tenant: TenantId,
}

impl Own {
    fn namespace(&self) -> String {
        format!("matih-{}", self.slug)
    }

    /// What a Secret of the tenant's holds.
    async fn secret(&self, name: &str) -> BTreeMap<String, String> {
        let template =
            r#"--template={{range $key, $value := .data}}{{$key}}={{$value | base64decode}}{{"\n"}}{{end}}"#;
        let found = kubectl(&["get", "secret", name, "-n", &self.namespace(), template]).await;
        let pairs = found.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// With its own login, to a database of this name.
    async fn login(&self, database: &str) -> sqlx::Result<PgConnection> {
        let own = self.secret("tenant-database-credentials").await;
        let at = |part: &str| own.iter().find(|(key, _)| key.to_lowercase().contains(part)).unwrap().1;
        let options = PgConnectOptions::new_without_pgpass()
            .host(at("host"))
            .port(at("port").parse().unwrap())
            .username(at("user"))
            .password(at("password"))
            .database(database);
        options.connect().await
    }
}

fn code(refused: sqlx::Result<PgConnection>) -> String {
    match refused {
        Err(sqlx::Error::Database(error)) => error.code().unwrap_or_default().into_owned(),
        other => panic!("was let in, or worse: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_reach_nothing_of_each_other_and_a_professional_one_has_twenty_connections() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let mut both = Vec::new();
            for _ in 0..2 {
                let slug = slug("apart");
                let tenant = world.provision_these(&slug, Tier::Professional, true, &PHASES).await;
                both.push(Own { slug, tenant });
            }
            for own in &both {
                world.settled(own.tenant, "ACTIVE").await;
            }
            for (own, other) in [(&both[0], &both[1]), (&both[1], &both[0])] {
                // Databases: its own, and no other's, nor the one that others share.
                let database = |own: &Own| format!("tenant_{}", own.tenant);
                own.login(&database(own)).await.unwrap().close().await.unwrap();
                for elsewhere in [database(other), "region_eastus".to_owned()] {
                    assert_eq!(code(own.login(&elsewhere).await), "42501", "{elsewhere}");
                }
                // Secrets: by every account of its namespace, and of its own not more.
                let accounts = ["get", "serviceaccounts", "-n", &own.namespace(), "-o=name"];
                for account in kubectl(&accounts).await.lines() {
                    let account = account.trim_start_matches("serviceaccount/");
                    let user = format!("--as=system:serviceaccount:{}:{account}", own.namespace());
                    for verb in ["get", "list", "watch"] {
                        let asked = ["auth", "can-i", verb, "secrets", "-n", &other.namespace(), &user];
                        let said =
                            tokio::process::Command::new("kubectl").args(asked).output().await.unwrap();
                        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "no", "{account} {verb}");
                    }
                }
                // Queues.
                let broker = own.secret("tenant-api-jobs").await;
                let stack: reqwest::Url = required("AMQP_URL").parse().unwrap();
                let (host, port) = (stack.host_str().unwrap(), stack.port().unwrap());
                let (user, password, vhost) =
                    (&broker["AMQP_USER"], &broker["AMQP_PASSWORD"], &broker["AMQP_VHOST"]);
                let url = format!("amqp://{user}:{password}@{host}:{port}/{vhost}");
                let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
                for (whose, let_in) in [(own, true), (other, false)] {
                    let channel = connection.create_channel().await.unwrap();
                    let queue = format!("jobs.{}.tried", whose.tenant);
                    let made = channel
                        .queue_declare(
                            queue.as_str().into(),
                            QueueDeclareOptions::default(),
                            FieldTable::default(),
                        )
                        .await;
                    assert_eq!(made.is_ok(), let_in, "{queue}: {made:?}");
                }
                connection.close(200, "done".into()).await.unwrap();
            }

            let (own, database) = (&both[0], format!("tenant_{}", both[0].tenant));
            let mut held = Vec::new();
            for _ in 0..LIMIT {
                held.push(own.login(&database).await.unwrap());
            }
            assert_eq!(code(own.login(&database).await), "53300", "the {}st", LIMIT + 1);
            for connection in held {
                connection.close().await.unwrap();
            }
            for own in both {
                world.take_out(&own.slug, own.tenant).await;
            }
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
