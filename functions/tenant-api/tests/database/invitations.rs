//! Administrators and their invitations, and that the pooled instance works with one tenant's rights at a time.

use crate::world::{SECRET, SHARED, Strategy, Tenant, World, number, run, sqlstate, with_tenants};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license::invitation::Token;
use model::TenantId;
use model::secret::SecretRef;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::io::Write as _;
use tenant_api::Tables;

const DENIED: &str = "42501";
const PASSWORD: &str = "correct horse battery";

impl Tenant {
    fn token(&self) -> Token {
        Token::generate(TenantId(self.id)).unwrap()
    }

    /// As of the pooled instance: its role cannot log in.
    async fn pooled(&self, world: &World) {
        let mut body = self.initialize(world);
        body["verifier"] = Value::Null;
        world.ok("initialize", &body).await;
    }
}

impl World {
    async fn users(&self, operation: &str, body: &Value) -> (u16, Value) {
        let call = self.client.post(format!("{}/internal/users/{operation}", self.url)).json(body);
        let answer = call.header("x-internal-secret", SECRET).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn bootstrap(&self, tenant: &Tenant) -> (u16, Value) {
        let body = json!({ "tenantId": tenant.id, "runId": tenant.run, "email": "ann@Acme.Example" });
        self.users("bootstrap", &body).await
    }

    async fn invite(&self, tenant: &Tenant, token: &Token, number: i64, valid_for: u32) -> Value {
        let hash = STANDARD.encode(token.hash());
        let body = json!({ "tenantId": tenant.id, "email": "Ann@acme.example", "number": number,
                           "tokenHash": hash, "validFor": valid_for });
        let (status, answer) = self.users("invite", &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["outcome"].clone()
    }

    /// Without any secret: it is public.
    async fn accept(&self, token: &str, password: &str) -> (u16, Value) {
        let body = json!({ "token": token, "password": password });
        let call = self.client.post(format!("{}/api/v1/invitations/accept", self.url)).json(&body);
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        for secret in [token, password].into_iter().filter(|secret| secret.len() > 3) {
            assert!(!text.contains(secret), "{text}");
        }
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn refuses(&self, token: &Token, status: u16, code: &str) {
        let (got, answer) = self.accept(token.expose(), PASSWORD).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{answer}");
    }

    /// A session of the pooled instance's own login.
    async fn pool_login(&self) -> PgConnection {
        PgConnection::connect(&std::env::var("POOL_DATABASE_URL").unwrap()).await.unwrap()
    }

    /// The same, acting for a tenant.
    async fn acting(&self, tenant: &Tenant) -> PgConnection {
        let mut session = self.pool_login().await;
        let act = format!("SET ROLE \"{0}\"; SET search_path TO \"{0}\"", tenant.name);
        run(&mut session, &act).await.unwrap();
        session
    }
}

#[tokio::test]
async fn an_invitation_is_accepted_once_by_whoever_has_its_token() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        tenant.pooled(&world).await;
        let (first, again) = (world.bootstrap(&tenant).await, world.bootstrap(&tenant).await);
        assert_eq!((first.0, &first), (200, &again), "made once");
        let token = tenant.token();
        world.refuses(&token, 404, "invitation_unknown").await;
        assert_eq!(world.invite(&tenant, &token, 7, 60).await, "holds");
        assert_eq!(world.invite(&tenant, &token, 7, 60).await, "holds", "as after a lost answer");
        for short in ["", "11 characte", &"x".repeat(257)] {
            let (status, answer) = world.accept(token.expose(), short).await;
            assert_eq!((status, &answer["code"]), (422, &json!("password_not_accepted")), "{answer}");
        }
        let (status, answer) = world.accept(token.expose(), PASSWORD).await;
        assert_eq!((status, &answer["userId"]), (200, &first.1["userId"]), "{answer}");
        for _ in 0..2 {
            world.refuses(&token, 410, "invitation_used").await;
        }
        let hashes: Vec<String> = sqlx::query_scalar("SELECT password_hash FROM users")
            .fetch_all(&mut world.acting(&tenant).await)
            .await
            .unwrap();
        assert!(hashes.len() == 1 && hashes[0].starts_with("$argon2id$v=19$m="), "{hashes:?}");
        assert!(hashes[0].len() > 90 && !hashes[0].contains(PASSWORD));
        // Whoever is in needs none.
        assert_eq!(world.invite(&tenant, &tenant.token(), 8, 60).await, "accepted");
        let other = json!({ "tenantId": tenant.id, "runId": tenant.run, "email": "bob@acme.example" });
        let (status, answer) = world.users("bootstrap", &other).await;
        assert_eq!((status, &answer["code"]), (409, &json!("bootstrap_user_exists")), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn of_two_who_accept_at_once_one_is_in() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        tenant.pooled(&world).await;
        world.bootstrap(&tenant).await;
        let token = tenant.token();
        world.invite(&tenant, &token, 1, 60).await;
        let passwords = ["the password of one", "the password of two"];
        let (one, two) = tokio::join!(
            world.accept(token.expose(), passwords[0]),
            world.accept(token.expose(), passwords[1])
        );
        let mut statuses = [one.0, two.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 410], "{one:?} {two:?}");
    })
    .await;
}

#[tokio::test]
async fn an_invitation_that_is_void_over_or_another_tenants_lets_nobody_in() {
    with_tenants([Strategy::Schema, Strategy::Schema], async |world, [tenant, other]| {
        tenant.pooled(&world).await;
        other.pooled(&world).await;
        world.bootstrap(&tenant).await;
        world.bootstrap(&other).await;
        let (first, second) = (tenant.token(), tenant.token());
        world.invite(&tenant, &first, 3, 60).await;
        world.invite(&tenant, &second, 4, 60).await;
        world.refuses(&first, 410, "invitation_void").await;
        // Told late, after the one that took its place.
        let late = tenant.token();
        assert_eq!(world.invite(&tenant, &late, 2, 60).await, "overtaken");
        world.refuses(&late, 404, "invitation_unknown").await;
        // Its random part in another tenant's name, and in nobody's.
        let random = &second.expose()[22..];
        for id in [other.token(), Token::generate(TenantId::generate()).unwrap()] {
            let (status, answer) = world.accept(&format!("{}{random}", &id.expose()[..22]), PASSWORD).await;
            assert_eq!((status, &answer["code"]), (404, &json!("invitation_unknown")), "{answer}");
        }
        for nothing in ["", "x", &second.expose()[1..], "'; DROP TABLE users; --"] {
            let (status, answer) = world.accept(nothing, PASSWORD).await;
            assert_eq!((status, &answer["code"]), (404, &json!("invitation_unknown")), "{answer}");
        }
        let over = "UPDATE invitations SET expires_at = now() WHERE voided_at IS NULL";
        run(&mut world.acting(&tenant).await, over).await.unwrap();
        world.refuses(&second, 410, "invitation_expired").await;
        // Sent again, it holds anew.
        world.invite(&tenant, &second, 4, 60).await;
        assert_eq!(world.accept(second.expose(), PASSWORD).await.0, 200);
        let mut session = world.acting(&other).await;
        assert_eq!(number(&mut session, "SELECT count(password_hash) FROM users").await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_pooled_instance_has_one_tenants_rights_at_a_time_and_none_between() {
    with_tenants([Strategy::Schema, Strategy::Schema, Strategy::Schema], async |world, tenants| {
        let [one, other, own] = &tenants;
        one.pooled(&world).await;
        other.pooled(&world).await;
        world.bootstrap(one).await;
        world.bootstrap(other).await;
        // One with a login has an instance of its own: the pooled one may not act for it.
        world.ok("initialize", &own.initialize(&world)).await;
        let (status, answer) = world.bootstrap(own).await;
        assert_eq!((status, &answer["code"]), (500, &json!("database_forbidden")), "{answer}");

        let read = |of: &Tenant| format!("SELECT count(*) FROM \"{}\".users", of.name);
        let mut session = world.pool_login().await;
        for of in &tenants {
            assert_eq!(sqlstate(run(&mut session, &read(of)).await), DENIED, "the login itself sees nothing");
        }
        for (me, others) in [(one, [other, own]), (other, [one, own])] {
            let mut session = world.acting(me).await;
            assert_eq!(number(&mut session, &read(me)).await, 1);
            for of in others {
                assert_eq!(sqlstate(run(&mut session, &read(of)).await), DENIED);
                let write = format!("DELETE FROM \"{}\".users", of.name);
                assert_eq!(sqlstate(run(&mut session, &write).await), DENIED);
            }
        }
        // A NOLOGIN role is nobody's way in.
        let login = world.connect_as(&one.name, "", SHARED).await;
        assert!(matches!(sqlstate(login.map(drop)).as_str(), "28000" | "28P01"));
        // Sessions that the instance uses again carry nothing over.
        for of in [one, other, one] {
            assert_eq!(world.bootstrap(of).await.0, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn a_pinned_instance_works_by_its_tenants_own_login_and_for_no_other() {
    with_tenants([Strategy::Database, Strategy::Schema], async |world, [tenant, other]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        other.pooled(&world).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        let login = Some(SecretRef::File(path.display().to_string()));
        let pinned = World::serving(Tables::new(login, Some(TenantId(tenant.id)), false)).await;
        // The Secret is not mounted yet.
        let (status, answer) = pinned.bootstrap(&tenant).await;
        assert_eq!((status, &answer["code"]), (503, &json!("login_not_usable")), "{answer}");
        writeln!(std::fs::File::create(&path).unwrap(), "{}", tenant.url(&world)).unwrap();
        assert_eq!(pinned.bootstrap(&tenant).await.0, 200);
        let token = tenant.token();
        pinned.invite(&tenant, &token, 1, 60).await;
        let (status, answer) = pinned.bootstrap(&other).await;
        assert_eq!((status, &answer["code"]), (403, &json!("tenant_not_served")), "{answer}");
        pinned.refuses(&other.token(), 404, "invitation_unknown").await;
        let unable = World::serving(Tables::default()).await;
        unable.refuses(&token, 503, "busy").await;
        assert_eq!(pinned.accept(token.expose(), PASSWORD).await.0, 200);
        let mut session = tenant.login(&world).await.unwrap();
        assert_eq!(number(&mut session, "SELECT count(password_hash) FROM users").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_password_that_changes_is_that_of_the_next_call() {
    with_tenants([Strategy::Database], async |world, [mut tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(&path, tenant.url(&world)).unwrap();
        let login = Some(SecretRef::File(path.display().to_string()));
        let pinned = World::serving(Tables::new(login, Some(TenantId(tenant.id)), false)).await;
        assert_eq!(pinned.bootstrap(&tenant).await.0, 200);
        tenant.password = "another".to_owned();
        world.ok("initialize", &tenant.initialize(&world)).await;
        std::fs::write(&path, tenant.url(&world)).unwrap();
        // The sessions of before are gone too.
        let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                   WHERE usename = current_user AND pid <> pg_backend_pid()";
        run(&mut tenant.login(&world).await.unwrap(), end).await.unwrap();
        let (status, answer) = pinned.bootstrap(&tenant).await;
        assert_eq!(status, 200, "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_login_with_rights_of_its_own_is_refused() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let greedy = format!("greedy_{}", tenant.id.simple());
        let make = format!("CREATE ROLE {greedy} LOGIN INHERIT PASSWORD 'greedy'");
        world.sql(SHARED, &[make, format!("GRANT CONNECT ON DATABASE {SHARED} TO {greedy}")]).await;
        let mut url: sqlx::postgres::PgConnectOptions =
            std::env::var("POOL_DATABASE_URL").unwrap().parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        url = url.username(&greedy).password("greedy");
        let text = format!("postgres://{greedy}:greedy@{}:{}/{SHARED}", url.get_host(), url.get_port());
        std::fs::write(&path, text).unwrap();
        let login = Some(SecretRef::File(path.display().to_string()));
        let instance = World::serving(Tables::new(login, None, false)).await;
        let mut body = tenant.initialize(&world);
        body["verifier"] = Value::Null;
        let version: i32 =
            sqlx::query_scalar(AssertSqlSafe("SELECT current_setting('server_version_num')::int"))
                .fetch_one(&mut world.look(SHARED).await)
                .await
                .unwrap();
        // From 16 on it is the membership that inherits, and it does not.
        if version < 160_000 {
            instance.refused("initialize", &body, 500, "login_inherits").await;
        }
        let gone = [format!("DROP OWNED BY {greedy}"), format!("DROP ROLE {greedy}")];
        world.sql(SHARED, &[vec![format!("GRANT {greedy} TO CURRENT_USER")], gone.to_vec()].concat()).await;
    })
    .await;
}
