use std::io::Write as _;
use std::process::{Command, Stdio};

use engine::phase::Scope;
use model::RunId;
use testing::{kubectl, required};

use crate::world::World;
use crate::zone;

fn openssl(arguments: &[&str], input: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = openssl.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

/// The root of the ACME server at hand, which is another at each start.
async fn root() -> String {
    let authority = std::fs::read(required("ACME_CA_FILE")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
    http.get(required("ACME_ROOTS_URL")).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_tenant_gets_a_certificate_for_both_names_and_its_routes() {
    let world = World::new().await;
    zone::create(&world.zone()).await;
    zone::delegate(&world.zone()).await;
    let (made, _) = world.create_by(world.run).await;
    assert_eq!(made.hosts, [world.host.clone(), format!("*.{}", world.host)]);
    assert!(made.not_after.is_some());

    let secret = world.object(&["secret", &world.certificate]).unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["labels"]["matih.ai/tenant-id"], world.tenant.id.to_string());
    assert_eq!(secret["metadata"]["annotations"]["matih.ai/run-id"], world.run.to_string());
    let template = r#"--template={{index .data "tls.crt" | base64decode}}"#;
    let chain = kubectl(&["get", "secret", &world.certificate, "-n", &world.namespace, template]);
    let folder = std::env::temp_dir().join(format!("tenantry-{}", world.tenant.slug));
    std::fs::create_dir(&folder).unwrap();
    let (roots, leaf) = (folder.join("root.pem"), folder.join("chain.pem"));
    std::fs::write(&roots, root().await).unwrap();
    std::fs::write(&leaf, &chain).unwrap();
    let (roots, leaf) = (roots.to_str().unwrap(), leaf.to_str().unwrap());
    for host in [world.host.clone(), format!("bi.{}", world.host)] {
        openssl(&["verify", "-CAfile", roots, "-untrusted", leaf, "-verify_hostname", &host, leaf], "");
    }
    std::fs::remove_dir_all(folder).unwrap();

    // The Ingress names the issuer; that makes no second Certificate, nor a second owner of this one.
    let before = world.there_after_the_challenges().await;
    let later = RunId::generate();
    assert_eq!(world.create_by(later).await.0.certificate.uid, made.certificate.uid);
    assert_eq!(world.there(), before);
    let certificates = world.object(&["certificates"]).unwrap();
    let certificates = certificates["items"].as_array().unwrap();
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0]["metadata"].get("ownerReferences"), None);
    assert_eq!(certificates[0]["status"]["revision"], 1);

    // The later run's rollback takes nothing of it; the run's own takes all.
    world.undo(later, Scope::Run).await;
    assert_eq!(world.there(), before);
    for _ in 0..2 {
        world.undo(world.run, Scope::Run).await;
        assert_eq!(world.there(), [""; 0]);
    }
    zone::remove(&world.zone()).await;
}
