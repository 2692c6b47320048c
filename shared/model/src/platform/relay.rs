//! How the ends of runs are told outside: events for other programs, letters for people.

use serde::{Deserialize, Serialize};

use super::Seconds;
use crate::secret::SecretRef;

/// Between a claim and the end of the delivery that it was made for, besides the delivery's own time: the claim's way, and a
/// slow machine.
const ROOM: f64 = 10.0;

/// The events, as CloudEvents in Kafka.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Where the brokers' addresses are: `host:port`, comma-separated.
    pub brokers: SecretRef,
    /// The topic. The key of its records is the tenant's id, so that a tenant's events stay in order.
    pub topic: String,
    /// The CloudEvents attribute `source`: a URI reference that says which platform speaks.
    pub source: String,
    /// How they are delivered.
    pub delivery: Delivery,
}

/// The letters, by SMTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Letters {
    /// Where the server's URL is: `smtp://host:port`, `smtps://user:password@host`, `smtp://…?tls=required` for STARTTLS;
    /// a path is the name that the server is greeted with.
    pub url: SecretRef,
    /// The sender, `Name <address>` or an address.
    pub from: String,
    /// Addresses of the platform's operators, who are told of every failure. The relay needs at least one.
    pub operators: Vec<String>,
    /// How often a letter may be refused for good (a 5xx answer for its recipients or its content), over at least
    /// `delivery.refused_for`, before it is set aside, so that the tenant's next ones are sent. Other failures are tried for
    /// ever.
    pub refusals: i32,
    /// How they are delivered.
    pub delivery: Delivery,
}

/// How one sink is served. Times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// The longest that one delivery may take.
    pub timeout: Seconds,
    /// How long a claim of a row holds. What a killed relay has claimed is sent by another after that.
    pub claim: Seconds,
    /// Deliveries at one time, each of another tenant.
    pub in_flight: u32,
    /// First backoff after a failure; doubles each time.
    pub backoff: Seconds,
    /// Longest backoff: how soon, at the latest, the backlog begins to drain when the sink is back.
    pub backoff_cap: Seconds,
    /// How often new rows are looked for.
    pub poll: Seconds,
    /// How long a row is refused, counted from the first time, before it is set aside; the longest that a misconfigured sink
    /// may refuse what it would take, without anybody having to replay it. Kafka refuses nothing.
    pub refused_for: Seconds,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            brokers: SecretRef::Env("KAFKA_BROKERS".into()),
            topic: "tenantry.tenants".into(),
            source: "/tenantry".into(),
            delivery: Delivery::default(),
        }
    }
}

impl Default for Letters {
    fn default() -> Self {
        Self {
            url: SecretRef::Env("SMTP_URL".into()),
            from: "Tenantry <noreply@matih.ai>".into(),
            operators: Vec::new(),
            refusals: 5,
            delivery: Delivery::default(),
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            timeout: Seconds(15.0),
            claim: Seconds(60.0),
            in_flight: 16,
            backoff: Seconds(1.0),
            backoff_cap: Seconds(60.0),
            poll: Seconds(1.0),
            refused_for: Seconds(3600.0),
        }
    }
}

impl Events {
    /// Checks what types cannot: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.topic.is_empty() || self.topic.len() > 249 || !self.topic.chars().all(legal) {
            let why =
                format!("is '{}', which is not a topic name; use letters, digits, '.', '_', '-'", self.topic);
            return Err(("topic".into(), why));
        }
        if self.source.is_empty() || self.source.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let why =
                format!("is '{}', which is not a URI reference; use one such as /tenantry", self.source);
            return Err(("source".into(), why));
        }
        self.delivery.check()
    }
}

impl Letters {
    /// As [`Events::check`].
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for (key, address) in std::iter::once(("from", &self.from))
            .chain(self.operators.iter().map(|address| ("operators", address)))
        {
            if !address.contains('@') || address.chars().any(char::is_control) {
                return Err((key.into(), format!("'{address}' is not an e-mail address")));
            }
        }
        if self.refusals < 1 {
            return Err(("refusals".into(), format!("is {} and must be at least 1", self.refusals)));
        }
        self.delivery.check()
    }
}

impl Delivery {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for (key, value) in [
            ("timeout", self.timeout),
            ("claim", self.claim),
            ("backoff", self.backoff),
            ("backoff_cap", self.backoff_cap),
            ("poll", self.poll),
        ] {
            if !(value.0.is_finite() && value.0 > 0.0) {
                let why = format!("is {} and must be a positive number of seconds", value.0);
                return Err((format!("delivery.{key}"), why));
            }
        }
        if !(self.refused_for.0.is_finite() && self.refused_for.0 >= 0.0) {
            let why = format!("is {} and must be a number of seconds, 0 or more", self.refused_for.0);
            return Err(("delivery.refused_for".into(), why));
        }
        if self.in_flight < 1 {
            return Err(("delivery.in_flight".into(), "is 0 and must be at least 1".into()));
        }
        if self.claim.0 < self.timeout.0 + ROOM {
            let why = format!(
                "is {} s; it must be at least {ROOM} s longer than delivery.timeout ({} s), or another relay sends what is \
                 still being sent",
                self.claim.0, self.timeout.0
            );
            return Err(("delivery.claim".into(), why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together_and_a_wrong_value_names_its_key() {
        assert_eq!(Events::default().check(), Ok(()));
        assert_eq!(Letters::default().check(), Ok(()));
        let key = |checked: Result<(), (String, String)>| checked.unwrap_err().0;
        assert_eq!(key(Events { topic: "a b".into(), ..Events::default() }.check()), "topic");
        assert_eq!(key(Events { source: String::new(), ..Events::default() }.check()), "source");
        assert_eq!(key(Letters { from: "nobody".into(), ..Letters::default() }.check()), "from");
        assert_eq!(key(Letters { operators: vec!["x".into()], ..Letters::default() }.check()), "operators");
        assert_eq!(key(Letters { refusals: 0, ..Letters::default() }.check()), "refusals");
        for (delivery, wrong) in [
            (Delivery { poll: Seconds(0.0), ..Delivery::default() }, "delivery.poll"),
            (Delivery { refused_for: Seconds(-1.0), ..Delivery::default() }, "delivery.refused_for"),
            (Delivery { in_flight: 0, ..Delivery::default() }, "delivery.in_flight"),
            (Delivery { claim: Seconds(20.0), ..Delivery::default() }, "delivery.claim"),
        ] {
            assert_eq!(key(Letters { delivery, ..Letters::default() }.check()), wrong);
        }
    }
}
