//! RabbitMQ as its operator sees it, over the management API: the broker itself, not what we believe of it.

use std::time::Duration;

use serde_json::{Value, json};

/// The management API, with one vhost in view.
#[derive(Clone, Debug)]
pub struct Management {
    http: reqwest::Client,
    url: String,
    user: String,
    password: String,
    vhost: String,
}

impl Management {
    /// From `http://user:password@host:port`.
    pub fn new(url: &str, vhost: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (login, host) = rest.split_once('@').expect("a URL with user and password");
        let (user, password) = login.split_once(':').expect("user:password");
        Self {
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(10))
                // A connection left idle may be closed by the server in the moment of the next request, which is lost then.
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
            url: format!("{scheme}://{}", host.trim_end_matches('/')),
            user: user.to_owned(),
            password: password.to_owned(),
            vhost: vhost.to_owned(),
        }
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self
            .http
            .request(method, format!("{}/api/{path}", self.url))
            .basic_auth(&self.user, Some(&self.password));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("management API");
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        assert!(status.is_success() || status.as_u16() == 404, "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Makes the vhost, with all rights for our user.
    pub async fn create_vhost(&self) {
        self.call(reqwest::Method::PUT, &format!("vhosts/{}", self.vhost), Some(json!({}))).await;
        let rights = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.call(reqwest::Method::PUT, &format!("permissions/{}/{}", self.vhost, self.user), Some(rights))
            .await;
    }

    /// Removes the vhost with all that is in it.
    pub async fn delete_vhost(&self) {
        self.call(reqwest::Method::DELETE, &format!("vhosts/{}", self.vhost), None).await;
    }

    /// The names of the tenants' queues.
    pub async fn tenant_queues(&self) -> Vec<String> {
        self.queue_names().await.into_iter().filter(|name| name.starts_with("tenant.")).collect()
    }

    /// The names of the broker's users, whatever vhost they are for.
    pub async fn users(&self) -> Vec<String> {
        names(&self.call(reqwest::Method::GET, "users", None).await)
    }

    /// The names of all queues.
    pub async fn queue_names(&self) -> Vec<String> {
        // Without statistics, which are seconds old: the list itself is of now.
        let path = format!("queues/{}?disable_stats=true&enable_queue_totals=true", self.vhost);
        names(&self.call(reqwest::Method::GET, &path, None).await)
    }

    /// Messages in a queue, delivered or not. From the management API's own count, some seconds old.
    pub async fn messages(&self, queue: &str) -> u64 {
        let path = format!("queues/{}/{queue}?disable_stats=true&enable_queue_totals=true", self.vhost);
        self.call(reqwest::Method::GET, &path, None).await["messages"].as_u64().unwrap_or(0)
    }

    /// Deletes a queue, as an operator's mistake would.
    pub async fn delete_queue(&self, queue: &str) {
        self.call(reqwest::Method::DELETE, &format!("queues/{}/{queue}", self.vhost), None).await;
    }

    /// Closes every client connection of the vhost, as a network failure would. Returns how many there were.
    pub async fn close_connections(&self) -> usize {
        let names = self.connections().await;
        for name in &names {
            let encoded = name.replace(' ', "%20").replace('>', "%3E");
            self.call(reqwest::Method::DELETE, &format!("connections/{encoded}"), None).await;
        }
        names.len()
    }

    /// Publishes a body to a queue through the management API.
    pub async fn publish(&self, queue: &str, body: &str) {
        let message =
            json!({ "properties": {}, "routing_key": queue, "payload": body, "payload_encoding": "string" });
        let path = format!("exchanges/{}/amq.default/publish", self.vhost);
        let routed = self.call(reqwest::Method::POST, &path, Some(message)).await;
        assert_eq!(routed["routed"], json!(true), "{queue} takes messages");
    }

    /// The names of the vhost's client connections, some seconds old.
    pub async fn connections(&self) -> Vec<String> {
        let path = format!("vhosts/{}/connections", self.vhost);
        names(&self.call(reqwest::Method::GET, &path, None).await)
    }

    /// Makes a queue that is none of ours.
    pub async fn create_queue(&self, queue: &str) {
        let path = format!("queues/{}/{queue}", self.vhost);
        self.call(reqwest::Method::PUT, &path, Some(json!({ "durable": true }))).await;
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, exchange: &str, queue: &str) {
        let path = format!("bindings/{}/e/{exchange}/q/{queue}", self.vhost);
        self.call(reqwest::Method::POST, &path, Some(json!({}))).await;
    }

    /// Takes all messages out of a queue.
    pub async fn take(&self, queue: &str) -> Vec<Value> {
        let path = format!("queues/{}/{queue}/get", self.vhost);
        let asked = json!({ "count": 100_000, "ackmode": "ack_requeue_false", "encoding": "auto" });
        match self.call(reqwest::Method::POST, &path, Some(asked)).await {
            Value::Array(messages) => messages,
            _ => Vec::new(),
        }
    }
}

fn names(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["name"].as_str().map(str::to_owned))
        .collect()
}
