//! Somebody who asks all the time, as the most stubborn of resolvers: whatever was answered is held for as long as its
//! TTL allows, and used for as long.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use testing::required;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::dig;

/// What the probe may hold.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every address that was answered.
    pub addresses: Vec<Ipv4Addr>,
    /// Until when a resolver may answer with one.
    pub held_until: Option<Instant>,
    /// Names that led nowhere although their delegation was still remembered and they had been answered before.
    pub lame: Vec<String>,
    /// How often a server was asked.
    pub asked: usize,
}

/// Asks for a name until it is stopped.
pub struct Probe {
    stop: watch::Sender<bool>,
    asking: JoinHandle<Seen>,
}

impl Probe {
    pub fn start(zone: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let names = [zone.to_owned(), format!("any.{zone}")];
        let asking = tokio::spawn(async move {
            let (parent, child) = (required("PARENT_DNS_ADDR"), required("DNS_ADDR"));
            let mut seen = Seen::default();
            let mut referred_until: Option<Instant> = None;
            let mut answered = [false; 2];
            while !*stopped.borrow() {
                let nth = seen.asked % 2;
                let name = &names[nth];
                seen.asked += 1;
                let at = Instant::now();
                if let Some(answer) = dig::ask(&parent, name).await
                    && let Some((_, ttl)) = answer.referral.first()
                {
                    referred_until = Some(at + Duration::from_secs((*ttl).into()));
                }
                // Whoever holds no referral cannot find the child.
                if referred_until.is_some_and(|until| until >= Instant::now())
                    && let Some(answer) = dig::ask(&child, name).await
                {
                    let now = Instant::now();
                    if answer.addresses.is_empty()
                        && answered[nth]
                        && referred_until.is_some_and(|until| until >= now)
                    {
                        seen.lame.push(name.clone());
                    }
                    answered[nth] |= !answer.addresses.is_empty();
                    for (address, ttl) in answer.addresses {
                        let until = now + Duration::from_secs(ttl.into());
                        seen.held_until = seen.held_until.max(Some(until));
                        if !seen.addresses.contains(&address) {
                            seen.addresses.push(address);
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            seen
        });
        Self { stop, asking }
    }

    pub async fn stop(self) -> Seen {
        self.stop.send_replace(true);
        self.asking.await.unwrap()
    }
}
