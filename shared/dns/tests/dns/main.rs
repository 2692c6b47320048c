//! Azure DNS: our client and the official SDK send the same operations to a server that writes down what it is asked; and
//! what Azure's less common answers mean.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

mod recorder;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use dns::{AzureDns, Deletion, DnsProvider, Mark, Name, RecordSet, TokenSource, Written, Zone};
use engine::phase::{Kind, Wait};
use model::platform::{AzureCredential, AzureDnsSettings};
use model::{RunId, TenantId};
use recorder::{Recorder, Reply, Request};
use serde_json::{Value, json};

/// Stands for whoever gives out tokens.
#[derive(Debug)]
struct Token;

#[async_trait::async_trait]
impl TokenCredential for Token {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        assert!(scopes.len() == 1 && scopes[0].ends_with("/.default"), "{scopes:?}");
        Ok(AccessToken::new("token", azure_core::time::OffsetDateTime::now_utc() + Duration::from_hours(1)))
    }
}

fn settings(url: &str) -> AzureDnsSettings {
    AzureDnsSettings {
        subscription: "sub".into(),
        resource_group: "tenants".into(),
        parent_resource_group: Some("platform".into()),
        endpoint: url.into(),
        authority: "https://login.microsoftonline.com".into(),
        credential: AzureCredential::ManagedIdentity { client_id: None },
    }
}

fn client(recorder: &Recorder, group: &str) -> AzureDns {
    let settings = settings(&recorder.url);
    let tokens = TokenSource::of(Arc::new(Token), &settings.endpoint);
    AzureDns::new(reqwest::Client::new(), &settings, group, tokens, "matih.ai").unwrap()
}

fn mark() -> Mark {
    Mark { tenant_id: TenantId::generate(), run_id: Some(RunId::generate()), epoch: Some(1) }
}

fn zone() -> Name {
    Name::new("acme.matih.ai")
}

fn set(name: &Name, kind: &str, values: &[&str], mark: &Mark) -> RecordSet {
    RecordSet {
        name: name.clone(),
        kind: kind.into(),
        ttl: 60,
        values: values.iter().map(ToString::to_string).collect(),
        mark: Some(mark.clone()),
        version: Some("set-1".into()),
    }
}

fn looked_at() -> Zone {
    Zone { name: zone(), name_servers: Vec::new(), mark: None, version: Some("zone-1".into()) }
}

/// The NS records that Azure gives a new zone.
fn own_servers(ttl: u32) -> Reply {
    let records = json!([{ "nsdname": "ns1-01.azure-dns.com." }, { "nsdname": "ns2-01.azure-dns.net." }]);
    let properties = json!({ "TTL": ttl, "fqdn": "acme.matih.ai.", "NSRecords": records });
    let kind = "Microsoft.Network/dnszones/NS";
    Reply::of(200, json!({ "name": "@", "type": kind, "etag": "set-1", "properties": properties }))
}

/// The test's operations by our client; it may ask more than the SDK is told to.
async fn ours(recorder: &Recorder, mark: &Mark) {
    let (own, above) = (client(recorder, "tenants"), client(recorder, "platform"));
    let (zone, parent) = (zone(), Name::new("matih.ai"));
    own.create_zone(&zone, 60, mark).await.unwrap();
    recorder.answer([own_servers(172_800)]);
    own.complete_zone(&zone, 60).await.unwrap();
    own.zone(&zone).await.unwrap();
    let servers = set(&zone, "NS", &["ns1-01.azure-dns.com", "ns2-01.azure-dns.net"], mark);
    above.write(&parent, &servers, None).await.unwrap();
    let address = set(&zone, "A", &["20.85.123.45"], mark);
    own.write(&zone, &address, None).await.unwrap();
    let wildcard = set(&zone.below("*"), "A", &["20.85.123.45"], mark);
    own.write(&zone, &wildcard, Some(&wildcard)).await.unwrap();
    own.record_sets(&zone, &zone).await.unwrap();
    above.record_sets(&parent, &zone).await.unwrap();
    own.held_by(mark.tenant_id, None).await.unwrap();
    own.delete(&zone, &address).await.unwrap();
    own.delete_zone(&looked_at()).await.unwrap();
}

/// The same by the official SDK.
async fn theirs(recorder: &Recorder, tags: &Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let run = async |program: &str, arguments: &[&str]| {
        let done = tokio::process::Command::new(program).args(arguments).output().await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let tool = root.join("infra/tools/azure_sdk.py");
    let python = run("python3", &["-B", tool.to_str().unwrap()]).await;
    let script = root.join("shared/dns/tests/dns/sdk.py");
    run(python.trim(), &[script.to_str().unwrap(), &recorder.url, &tags.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_requests_are_the_official_sdks() {
    let recorder = Recorder::start().await;
    let mark = mark();
    ours(&recorder, &mark).await;
    let ours = recorder.take();
    let tags = ours[0].body["tags"].clone();
    assert_eq!(tags["matih.ai-tenant-id"], json!(mark.tenant_id));
    theirs(&recorder, &tags).await;
    let theirs = recorder.take();
    assert_eq!(theirs.len(), 13);
    for request in &theirs {
        assert!(ours.contains(request), "not among ours: {request:#?}\nours: {ours:#?}");
    }
    // Ours are more by the looks at the other types that a name in the parent may have, and only by those.
    let more: Vec<&Request> = ours.iter().filter(|request| !theirs.contains(request)).collect();
    assert_eq!(more.len(), 7, "{more:#?}");
    assert!(
        more.iter().all(|request| request.method == "GET" && request.path.ends_with("/acme")),
        "{more:#?}"
    );
}

#[tokio::test]
async fn a_throttled_call_rests_for_as_long_as_it_is_told() {
    let recorder = Recorder::start().await;
    let dns = client(&recorder, "tenants");
    recorder.answer([Reply::of(429, json!({})).with("Retry-After", "17"), Reply::of(429, json!({}))]);
    let told = dns.zone(&zone()).await.unwrap_err();
    assert!(
        matches!(&told.kind, Kind::Parked(Wait { after, .. }) if *after == Duration::from_secs(17)),
        "{told}"
    );
    let untold = dns.zone(&zone()).await.unwrap_err();
    assert_eq!(untold.kind, Kind::Unavailable { dependency: "dns".into() });
}

/// Azure's own default is two days, in which a slug has its next tenant.
#[tokio::test]
async fn a_zones_own_name_servers_are_remembered_for_as_long_as_the_plan_says() {
    let recorder = Recorder::start().await;
    let dns = client(&recorder, "tenants");
    recorder.answer([own_servers(172_800)]);
    assert_eq!(dns.complete_zone(&zone(), 60).await.unwrap(), Written::Done);
    let [looked, written] = recorder.take().try_into().unwrap();
    assert_eq!((looked.method.as_str(), &looked.path), ("GET", &written.path));
    assert!(written.path.ends_with("/acme.matih.ai/NS/@"), "{}", written.path);
    assert_eq!((written.method.as_str(), written.headers["if-match"].as_str()), ("PUT", "set-1"));
    let records = json!([{ "nsdname": "ns1-01.azure-dns.com." }, { "nsdname": "ns2-01.azure-dns.net." }]);
    assert_eq!(written.body, json!({ "properties": { "TTL": 60, "NSRecords": records } }));

    // Once they are so, nothing is written; and nothing over somebody else's change.
    recorder.answer([
        own_servers(60),
        own_servers(172_800),
        Reply::of(412, json!({})),
        Reply::of(404, json!({})),
    ]);
    assert_eq!(dns.complete_zone(&zone(), 60).await.unwrap(), Written::Done);
    assert_eq!(recorder.take().len(), 1);
    for _ in 0..2 {
        assert_eq!(dns.complete_zone(&zone(), 60).await.unwrap(), Written::Otherwise);
    }
}

#[tokio::test]
async fn what_is_not_as_it_was_looked_at_is_not_written_over() {
    let recorder = Recorder::start().await;
    let dns = client(&recorder, "tenants");
    recorder.answer((0..5).map(|_| Reply::of(412, json!({ "code": "PreconditionFailed" }))));
    let address = set(&zone(), "A", &["20.85.123.45"], &mark());
    assert_eq!(dns.create_zone(&zone(), 60, &mark()).await.unwrap(), Written::Otherwise);
    assert_eq!(dns.write(&zone(), &address, None).await.unwrap(), Written::Otherwise);
    assert_eq!(dns.write(&zone(), &address, Some(&address)).await.unwrap(), Written::Otherwise);
    assert_eq!(dns.delete(&zone(), &address).await.unwrap(), Written::Otherwise);
    assert_eq!(dns.delete_zone(&looked_at()).await.unwrap(), Deletion::Otherwise);
    let expected: Vec<Option<String>> = recorder
        .take()
        .into_iter()
        .map(|request| {
            let header = |name: &str| request.headers.get(name).map(|value| format!("{name}: {value}"));
            header("if-match").or_else(|| header("if-none-match"))
        })
        .collect();
    let expected: Vec<&str> = expected.iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(
        expected,
        ["if-none-match: *", "if-none-match: *", "if-match: set-1", "if-match: set-1", "if-match: zone-1"]
    );
}

#[tokio::test]
async fn a_deletion_that_takes_long_is_asked_about_and_not_begun_again() {
    let recorder = Recorder::start().await;
    let dns = client(&recorder, "tenants");
    let operation = format!("{}/subscriptions/sub/operations/1?api-version=2018-05-01", recorder.url);
    recorder.answer([
        Reply::of(202, Value::Null).with("Azure-AsyncOperation", operation.clone()).with("Retry-After", "3"),
        Reply::of(200, json!({ "status": "InProgress" })).with("Retry-After", "4"),
        Reply::of(200, json!({ "status": "Succeeded" })),
        Reply::of(202, Value::Null).with("Location", operation.clone()),
        Reply::of(202, Value::Null).with("Location", operation.clone()),
        Reply::of(204, Value::Null),
    ]);
    let begun = |after| Deletion::Begun { ticket: operation.clone(), after };
    assert_eq!(dns.delete_zone(&looked_at()).await.unwrap(), begun(3));
    assert_eq!(dns.deleting(&operation).await.unwrap(), begun(4));
    assert_eq!(dns.deleting(&operation).await.unwrap(), Deletion::Gone);
    assert_eq!(dns.delete_zone(&looked_at()).await.unwrap(), begun(5));
    assert_eq!(dns.deleting(&operation).await.unwrap(), begun(5));
    assert_eq!(dns.deleting(&operation).await.unwrap(), Deletion::Gone);
    let methods: Vec<String> = recorder.take().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["DELETE", "GET", "GET", "DELETE", "GET", "GET"]);
    // The token goes to nobody else, whatever an answer says.
    let elsewhere = dns.deleting("http://127.0.0.1:9/elsewhere").await.unwrap_err();
    assert_eq!(elsewhere.code, "dns_answer");
}

#[tokio::test]
async fn owners_are_read_from_tags_and_metadata_over_all_pages() {
    let recorder = Recorder::start().await;
    let dns = client(&recorder, "tenants");
    let mark = mark();
    let tags = json!({ "matih.ai-tenant-id": mark.tenant_id, "matih.ai-run-id": mark.run_id });
    let ours = json!({ "name": "acme", "type": "Microsoft.Network/dnszones/NS", "etag": "e",
        "properties": { "TTL": 60, "metadata": tags, "NSRecords": [{ "nsdname": "ns1-01.azure-dns.com." }] } });
    let other = json!({ "name": "www", "type": "Microsoft.Network/dnszones/A",
        "properties": { "TTL": 60, "ARecords": [{ "ipv4Address": "1.2.3.4" }] } });
    let next = format!("{}/next", recorder.url);
    recorder.answer([
        Reply::of(200, json!({ "value": [other], "nextLink": next })),
        Reply::of(200, json!({ "value": [ours] })),
        Reply::of(
            200,
            json!({ "name": "acme.matih.ai", "etag": "z", "tags": tags,
            "properties": { "nameServers": ["ns1-01.azure-dns.com."] } }),
        ),
        Reply::of(404, json!({ "code": "ResourceNotFound" })),
    ]);
    let parent = Name::new("matih.ai");
    let held = dns.held_by(mark.tenant_id, Some(&parent)).await.unwrap();
    assert_eq!(held.iter().map(ToString::to_string).collect::<Vec<_>>(), ["NS acme.matih.ai"]);
    let found = dns.zone(&zone()).await.unwrap().unwrap();
    assert_eq!(found.name_servers, [Name::new("ns1-01.azure-dns.com")]);
    assert_eq!((found.mark.unwrap().run_id, found.version.as_deref()), (mark.run_id, Some("z")));
    assert_eq!(dns.zone(&zone()).await.unwrap(), None);
}

#[test]
fn each_kind_of_credential_is_made_from_its_settings() {
    let file = std::env::temp_dir().join(format!("tenantry-token-{}", RunId::generate()));
    std::fs::write(&file, "a service account's token").unwrap();
    let secret = model::secret::Secret::new("hunter2");
    let directory = || "72f988bf-0000-0000-0000-2d7cd011db47".to_owned();
    for credential in [
        AzureCredential::WorkloadIdentity {
            client_id: Some("app".into()),
            tenant_id: Some(directory()),
            token_file: Some(file.to_str().unwrap().into()),
        },
        AzureCredential::ManagedIdentity { client_id: Some("app".into()) },
        AzureCredential::ManagedIdentity { client_id: None },
        AzureCredential::ClientSecret {
            tenant_id: directory(),
            client_id: "app".into(),
            secret: "env:AZURE".parse().unwrap(),
        },
    ] {
        let settings = AzureDnsSettings { credential, ..settings("https://management.azure.com") };
        let made = TokenSource::new(&settings, Some(&secret)).unwrap();
        assert!(!format!("{made:?}").contains("hunter2"));
    }
    // A token is never asked for in the clear.
    let credential = AzureCredential::ClientSecret {
        tenant_id: directory(),
        client_id: "app".into(),
        secret: "env:AZURE".parse().unwrap(),
    };
    let clear = AzureDnsSettings { authority: "http://login".into(), credential, ..settings("https://x") };
    assert_eq!(TokenSource::new(&clear, Some(&secret)).unwrap_err().code, "dns_config");
    std::fs::remove_file(file).unwrap();
}
