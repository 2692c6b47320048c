//! A Postgres and a RabbitMQ of a test's own, to be killed.

use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use queue::Broker;
use sqlx::{Connection as _, PgConnection};
use tenants::Store;

use crate::broker::Management;
use crate::environment::required;
use crate::process::{Process, Variables, free_port};
use crate::world::World;

/// Debian's package keeps each version's programs here.
const POSTGRES: &str = "/usr/lib/postgresql";
/// Debian's wrappers in /usr/sbin switch to the system's own node; these do not.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Reaches no further than this machine's loopback, for the test's few minutes.
const PASSWORD: &str = "private";

/// How a server is asked whether it serves.
#[derive(Clone, Debug)]
enum Probe {
    Postgres(String),
    RabbitMq(String),
}

impl Probe {
    async fn answers(&self) -> bool {
        match self {
            Self::Postgres(url) => PgConnection::connect(url).await.is_ok(),
            Self::RabbitMq(url) => {
                let Ok(broker) = Broker::new(url, "probe") else { return false };
                let answers = broker.channel().await.is_ok();
                broker.close().await;
                answers
            }
        }
    }
}

/// A server in a folder of its own, which can be killed and started again.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    script: String,
    variables: Variables,
    folder: PathBuf,
    data: PathBuf,
    probe: Probe,
    process: Option<Process>,
}

impl Server {
    /// Starts it, and waits until it serves.
    pub async fn start(&mut self) {
        let began = Instant::now();
        loop {
            // One that ends at once has found remains of the one that was killed.
            if self.process.as_mut().is_none_or(|process| process.ended().is_some()) {
                let mut command = Command::new("sh");
                command.args(["-c", &self.script]);
                self.process = Some(Process::start(self.name, command, &self.variables, &self.folder));
            }
            let answers = self.probe.answers().await;
            if answers && self.process.as_mut().is_some_and(|process| process.ended().is_none()) {
                return;
            }
            assert!(began.elapsed() < Duration::from_mins(3), "{} does not serve", self.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// SIGKILL, to it and to all that it has started.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Takes everything away that it has stored. It must not run.
    pub fn forget(&self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        assert!(self.data.starts_with(&self.folder) && self.data != self.folder, "its own data");
        fs::remove_dir_all(&self.data).expect("its data");
    }
}

/// A world whose control plane is on a private Postgres and a private RabbitMQ. What its scripted phases do to the world
/// outside is, as always, in the stack's Postgres, which stays.
#[expect(missing_debug_implementations, reason = "a handle with nothing to show")]
pub struct Private {
    world: World,
    postgres: Server,
    rabbitmq: Server,
    _epmd: Process,
}

impl Private {
    // Methods rather than fields: an async block that names fields takes only those along, and the rest is dropped.

    /// The world.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Its Postgres.
    pub fn postgres(&mut self) -> &mut Server {
        &mut self.postgres
    }

    /// Its RabbitMQ.
    pub fn rabbitmq(&mut self) -> &mut Server {
        &mut self.rabbitmq
    }

    /// Starts both, runs the test, and takes them away.
    pub async fn run<F, R>(test: F)
    where
        F: FnOnce(Private) -> R,
        R: Future<Output = ()>,
    {
        World::run(|mut world| async move {
            // Dropped last, when nobody writes to it any more.
            let folder = tempfile::tempdir().expect("a folder");
            let variables: Variables = [("PATH".to_owned(), required("PATH"))].into();
            let mut postgres = postgres(folder.path(), &variables);
            let (epmd, mut rabbitmq, management) = rabbitmq(folder.path(), &variables);
            tokio::join!(postgres.start(), rabbitmq.start());
            let (Probe::Postgres(database_url), Probe::RabbitMq(amqp_url)) =
                (postgres.probe.clone(), rabbitmq.probe.clone())
            else {
                unreachable!("each is asked in its own way")
            };
            world.store = Store::connect_to(&database_url, 20).expect("store");
            world.store.migrate().await.expect("migrations");
            (world.database_url, world.amqp_url, world.management) = (database_url, amqp_url, management);
            test(Self { world, postgres, rabbitmq, _epmd: epmd }).await;
        })
        .await;
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Postgres refuses to run as root, and the other user may not be able to walk to its folder: it gets it as an open
/// descriptor.
fn as_postgres(folder: &Path, command: &str) -> String {
    let drop = if is_root() { "setpriv --reuid=postgres --regid=postgres --init-groups " } else { "" };
    format!("cd / && exec 9< '{}' && exec {drop}{command}", folder.display())
}

fn postgres(folder: &Path, variables: &Variables) -> Server {
    let versions = fs::read_dir(POSTGRES).expect("Postgres is installed").flatten();
    let newest = versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()))
        .expect("Postgres is installed");
    let bin = newest.join("bin");
    let data = folder.join("postgres");
    fs::create_dir(&data).expect("a folder");
    if is_root() {
        let given = Command::new("chown").arg("postgres:postgres").arg(&data).status().expect("chown");
        assert!(given.success(), "chown: {given}");
    }
    let initdb = format!(
        "{}/initdb -D /proc/self/fd/9 -U postgres -E UTF8 --no-locale --auth=trust --no-sync",
        bin.display()
    );
    let made = Command::new("sh").args(["-c", &as_postgres(&data, &initdb)]).output().expect("sh");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let port = free_port();
    let run = format!(
        "{}/postgres -D /proc/self/fd/9 -c listen_addresses=127.0.0.1 -c port={port} \
         -c unix_socket_directories= -c max_connections=200",
        bin.display()
    );
    Server {
        name: "postgres",
        script: as_postgres(&data, &run),
        variables: variables.clone(),
        folder: folder.to_owned(),
        data,
        probe: Probe::Postgres(format!("postgres://postgres@127.0.0.1:{port}/postgres")),
        process: None,
    }
}

fn rabbitmq(folder: &Path, variables: &Variables) -> (Process, Server, Management) {
    let home = folder.join("rabbitmq");
    let data = home.join("data");
    fs::create_dir_all(&data).expect("a folder");
    let [amqp, http, distribution, epmd_port] = [(); 4].map(|()| free_port());
    let mut command = Command::new("epmd");
    command.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()]);
    let epmd = Process::start("epmd", command, variables, folder);
    let write = |name: &str, text: &str| {
        let path = home.join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let plugins = write("enabled_plugins", "[rabbitmq_management].\n");
    let config = write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {http}\n\
             default_vhost = tenantry\ndefault_user = tenantry\ndefault_pass = {PASSWORD}\n\
             default_user_tags.administrator = true\nlog.console = true\nlog.file = false\n"
        ),
    );
    let mut variables = variables.clone();
    let path = |path: &Path| path.display().to_string();
    variables.extend(
        [
            ("HOME", path(&home)),
            // A host name of its own would have to resolve; two nodes of one name have epmds of their own.
            ("RABBITMQ_NODENAME", "private@localhost".into()),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
            ("RABBITMQ_CONFIG_FILE", config),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "/dev/null/none".into()),
            ("RABBITMQ_MNESIA_BASE", path(&data)),
            ("RABBITMQ_LOG_BASE", path(&home.join("log"))),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", plugins),
            ("RABBITMQ_NODE_PORT", amqp.to_string()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
            ("ERL_EPMD_PORT", epmd_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            // So the script becomes the node, and a signal to the process reaches it.
            ("RABBITMQ_ALLOW_INPUT", "1".into()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}".into(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let server = Server {
        name: "rabbitmq",
        script: format!("exec {RABBITMQ}"),
        variables,
        folder: folder.to_owned(),
        data,
        probe: Probe::RabbitMq(format!("amqp://tenantry:{PASSWORD}@127.0.0.1:{amqp}/tenantry")),
        process: None,
    };
    let management = Management::new(&format!("http://tenantry:{PASSWORD}@127.0.0.1:{http}"), "tenantry");
    (epmd, server, management)
}
