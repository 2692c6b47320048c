//! Wrong settings: one clear line that names what is wrong, exit code 1, and no password in it.

use std::process::Command;

use serde_json::Value;
use tests::process::{Process, Variables, free_port, program};
use tests::{Site, required};

/// Stands where a password would.
const PASSWORD: &str = "hunter2-hunter2";

struct Case {
    program: &'static str,
    variable: &'static str,
    /// None takes the variable away.
    value: Option<String>,
    /// What the line must name, the variable itself or the key of a file.
    names: &'static str,
}

fn case(program: &'static str, variable: &'static str, value: Option<&str>, names: &'static str) -> Case {
    Case { program, variable, value: value.map(str::to_owned), names }
}

/// The one line of a log, whether it is a line for people or a JSON object.
fn line(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 1, "one line, but:\n{log}");
    serde_json::from_str::<Value>(lines[0])
        .ok()
        .and_then(|object| object["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| lines[0].to_owned())
}

async fn refuses(site: &Site, base: &Variables, case: &Case) {
    let Case { program: name, variable, value, names } = case;
    let mut variables = base.clone();
    match value {
        Some(value) => variables.insert((*variable).into(), value.clone()),
        None => variables.remove(*variable),
    };
    let mut process = Process::start(name, Command::new(program(name)), &variables, site.folder());
    let status = process.end().await;
    let log = process.log();
    let what = format!("{name} with {variable}={value:?}: {log}");
    assert_eq!(status.code(), Some(1), "{what}");
    let line = line(&log);
    assert!(line.contains(names), "names {names}: {what}");
    assert!(line.starts_with(&format!("{name}: ")), "says who speaks: {what}");
    assert!(!log.contains(PASSWORD), "shows the password: {what}");
    for secret in ["TENANT_API_INTERNAL_SECRET", "REGION_DATABASE_ADMIN_PASSWORD", "ADMIN_TOKEN"] {
        assert!(!log.contains(&base[secret]), "shows {secret}: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_named_in_one_line() {
    Site::run(|site| async move {
        let folder = site.folder();
        let written = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let config = std::fs::read_to_string(&site.variables["TENANTRY_CONFIG"]).unwrap();
        let unknown_key = written("unknown.toml", &format!("no_such_key = 1\n{config}"));
        let no_toml = written("broken.toml", &format!("domain = [\n{config}"));
        let line = config.lines().find(|line| line.starts_with("lease = ")).unwrap();
        let lease = config.replace(line, "lease = 0.1");
        assert_ne!(lease, config);
        let bad_value = written("lease.toml", &lease);
        let line = config.lines().find(|line| line.starts_with("slug_rest = ")).unwrap();
        let remembered = config.replace(line, "slug_rest = 0.5");
        assert_ne!(remembered, config);
        let remembered = written("remembered.toml", &remembered);
        let line = config.lines().find(|line| line.starts_with("operators = ")).unwrap();
        let nobody = written("nobody.toml", &config.replace(line, "operators = []"));
        let nowhere = folder.join("nowhere.toml").display().to_string();
        let bad_url = format!("no-scheme:{PASSWORD}@host");
        // A password with characters that belong encoded, as people paste them.
        let pasted = format!("postgres://user:{PASSWORD}%zz@host:port/database");
        let taken = format!("127.0.0.1:{}", free_port());
        let _taken = std::net::TcpListener::bind(&taken).unwrap();

        let mut cases = Vec::new();
        for program in ["dispatcher", "tenant-service", "create-namespace", "setup-database", "event-relay"] {
            cases.extend([
                case(program, "DATABASE_URL", None, "DATABASE_URL"),
                case(program, "DATABASE_URL", Some(&bad_url), "DATABASE_URL"),
                case(program, "DATABASE_URL", Some(&pasted), "DATABASE_URL"),
                case(program, "TENANTRY_CONFIG", None, "TENANTRY_CONFIG"),
                case(program, "TENANTRY_CONFIG", Some(&nowhere), "nowhere.toml"),
                case(program, "TENANTRY_CONFIG", Some(&folder.display().to_string()), "TENANTRY_CONFIG"),
                case(program, "TENANTRY_CONFIG", Some(&unknown_key), "no_such_key"),
                case(program, "TENANTRY_CONFIG", Some(&no_toml), "broken.toml"),
                case(program, "TENANTRY_CONFIG", Some(&bad_value), "engine.lease"),
                case(program, "TENANTRY_CONFIG", Some(&remembered), "dns.ttl"),
            ]);
        }
        for program in ["dispatcher", "create-namespace", "setup-database"] {
            cases.push(case(program, "KUBECONFIG", Some(&nowhere), "nowhere.toml"));
        }
        cases.extend([
            case("create-namespace", "AWS_LAMBDA_RUNTIME_API", None, "AWS_LAMBDA_RUNTIME_API"),
            case("create-namespace", "AWS_LAMBDA_FUNCTION_NAME", None, "AWS_LAMBDA_FUNCTION_NAME"),
            case("dispatcher", "DATABASE_DIRECT_URL", Some(&bad_url), "DATABASE_DIRECT_URL"),
            case("dispatcher", "AMQP_URL", None, "AMQP_URL"),
            case("dispatcher", "AMQP_URL", Some(&bad_url), "AMQP_URL"),
            case("dispatcher", "INVOKER", Some("x"), "INVOKER"),
            case("dispatcher", "HEALTH_LISTEN", Some("x"), "HEALTH_LISTEN"),
            case("dispatcher", "HEALTH_LISTEN", Some(&taken), "HEALTH_LISTEN"),
            case("tenant-service", "LISTEN", Some("x"), "LISTEN"),
            case("tenant-service", "LISTEN", Some(&taken), "LISTEN"),
            case("tenant-service", "ADMIN_TOKEN", None, "ADMIN_TOKEN"),
            case("event-relay", "KAFKA_BROKERS", None, "KAFKA_BROKERS"),
            case("event-relay", "KAFKA_BROKERS", Some("nowhere"), "KAFKA_BROKERS"),
            case("event-relay", "SMTP_URL", None, "SMTP_URL"),
            case("event-relay", "SMTP_URL", Some(&bad_url), "SMTP_URL"),
            case("event-relay", "TENANTRY_CONFIG", Some(&nobody), "mail.operators"),
            case("event-relay", "HEALTH_LISTEN", Some("x"), "HEALTH_LISTEN"),
            case("event-relay", "HEALTH_LISTEN", Some(&taken), "HEALTH_LISTEN"),
            case("tenant-api", "TENANT_API_INTERNAL_SECRET", None, "TENANT_API_INTERNAL_SECRET"),
            case("tenant-api", "LISTEN", Some(&taken), "LISTEN"),
        ]);

        let mut wrong = Vec::new();
        for case in &cases {
            let base = if case.program == "dispatcher" {
                site.dispatcher_variables()
            } else {
                // Where the Lambda runtime would be: nobody must come so far as to ask it.
                let mut variables = site.variables.clone();
                for name in ["KAFKA_BROKERS", "SMTP_URL"] {
                    variables.insert(name.into(), required(name));
                }
                if !["tenant-service", "tenant-api", "event-relay"].contains(&case.program) {
                    variables.insert("AWS_LAMBDA_RUNTIME_API".into(), "127.0.0.1:1".into());
                }
                variables
            };
            let held = std::panic::AssertUnwindSafe(refuses(&site, &base, case));
            if futures::FutureExt::catch_unwind(held).await.is_err() {
                wrong.push(format!("{} with {}={:?}", case.program, case.variable, case.value));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    })
    .await;
}
