//! Where the password is not.

use std::path::Path;

use testing::required;
use tokio::process::Command;

use crate::world::{World, local, processes, with_slow};

/// The state, decrypted by the stack's own key as an operator would do it.
async fn pulled(world: &World) -> String {
    let data = tempfile::tempdir().unwrap();
    let settings = world.infrastructure();
    let encryption = serde_json::json!({
        "key_provider": { "pbkdf2": { "state": { "passphrase": required("TERRAFORM_STATE_KEY"), "iterations": 200_000 } } },
        "method": { "aes_gcm": { "state": { "keys": "key_provider.pbkdf2.state" } } },
        "state": { "method": "method.aes_gcm.state" },
    });
    let tofu = |arguments: &[&str], workspace: &str| {
        let mut command = Command::new(&settings.program);
        command.arg(format!("-chdir={}", settings.module)).args(arguments).env("TF_DATA_DIR", data.path());
        command
            .env("PG_CONN_STR", required("TERRAFORM_STATE_URL"))
            .env("TF_ENCRYPTION", encryption.to_string());
        command.env("TF_WORKSPACE", workspace).env("TF_CLI_CONFIG_FILE", "/dev/null").kill_on_drop(true);
        async move {
            let done = command.output().await.unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        }
    };
    tofu(&["init", "-input=false"], "default").await;
    tofu(&["state", "pull"], &format!("tenant-{}", world.tenant.id)).await
}

/// Neither in the state as it is stored nor in what it says when it is opened.
pub async fn nowhere_in_the_state(world: &World, password: &str) {
    let stored = world.stored().await.unwrap();
    assert!(
        stored.contains("encrypted_data") && !stored.contains("terraform_data"),
        "it is stored encrypted"
    );
    let opened = pulled(world).await;
    assert!(opened.contains("terraform_data"), "{opened}");
    for state in [&stored, &opened] {
        assert!(!state.contains(password));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_an_argument_a_log_or_a_file_that_stays() {
    with_slow(|world: World| async move {
        world.apply_to_the_middle().await;
        let password = world.password().await.unwrap();
        let secrets = [&password, &required("TERRAFORM_STATE_KEY"), &required("TERRAFORM_STATE_URL")];
        assert!(!world.detached().is_empty());
        for secret in secrets {
            assert_eq!(processes(secret), [""; 0], "in an argument");
        }
        world.go_on();
        world.apply().await;
        let name = format!("tf-{}", world.tenant.id);
        let folder = local().join("terraform").join(&name);
        let files =
            [folder.join("log"), folder.join("outcome"), local().join("programs").join(name + ".conf")];
        for file in &files {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(
                !text.is_empty() && secrets.iter().all(|secret| !text.contains(*secret)),
                "{}",
                file.display()
            );
        }
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(!left.iter().any(|path| path.ends_with(Path::new("work"))), "{left:?}");
    })
    .await;
}
