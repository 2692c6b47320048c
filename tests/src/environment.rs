//! What `make test` says about the parts it has started.

/// The value of a variable that the local stack's env file sets.
pub fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests by `make test`, or source the env file of a running stack")
    })
}

/// Where the real parts are.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Postgres, as a role that may create databases.
    pub database_url: String,
    /// RabbitMQ's vhost of the stack.
    pub amqp_url: String,
    /// Its management API, with user and password.
    pub management_url: String,
}

impl Environment {
    /// Reads it.
    pub fn read() -> Self {
        Self {
            database_url: required("DATABASE_URL"),
            amqp_url: required("AMQP_URL"),
            management_url: required("RABBITMQ_MANAGEMENT_URL"),
        }
    }

    /// The same server, another database.
    pub fn database(&self, name: &str) -> String {
        swap_path(&self.database_url, name)
    }

    /// The same broker, another vhost.
    pub fn vhost(&self, name: &str) -> String {
        swap_path(&self.amqp_url, name)
    }
}

fn swap_path(url: &str, name: &str) -> String {
    let end = url.find('?').unwrap_or(url.len());
    let start = url.rfind('/').expect("a URL with a path");
    format!("{}/{name}{}", &url[..start], &url[end..])
}
