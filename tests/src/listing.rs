//! Everything that the outside systems hold, with its content: what a run has changed is told by comparing two of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::Management;
use crate::look::{Outside, title};
use crate::names;
use crate::objects::Content;

/// Longest wait for what others have begun to remove.
const AT_REST_WITHIN: Duration = Duration::from_mins(3);

/// How much of a difference is shown.
const SHOWN: usize = 200;

/// A full listing: the content of each thing by its kind, name and identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing(BTreeMap<String, String>);

impl Listing {
    /// Lists everything once nothing is being removed and two listings in a row are the same.
    pub async fn at_rest(management: &Management) -> Self {
        let began = Instant::now();
        let mut last: Option<Self> = None;
        loop {
            let outside = Outside::look_at(management, Content::Whole).await;
            let going = going(&outside.objects);
            let now = Self::of(&outside, management).await;
            if going.is_empty() && last.as_ref() == Some(&now) {
                return now;
            }
            let changed = last.map(|last| last.differences(&now));
            assert!(began.elapsed() < AT_REST_WITHIN, "no rest: {going:?} are going, {changed:?}");
            last = Some(now);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn of(outside: &Outside, management: &Management) -> Self {
        let mut all = BTreeMap::new();
        for object in &outside.objects {
            let version = object["apiVersion"].as_str().unwrap_or_default();
            all.insert(format!("{version} {}", title(object)), content(object));
        }
        for (kind, name, comment, rest) in &outside.databases {
            all.insert(format!("{kind} {name}"), format!("{comment} {rest}"));
        }
        for (kind, name, said) in outside.names.iter().cloned().chain(names::settings().await) {
            let said = if kind == "DNS record SOA" && name == "matih.ai." { unnumbered(&said) } else { said };
            // Several records may have one name.
            all.insert(format!("{kind} {name} {said}"), String::new());
        }
        for instance in &outside.instances {
            all.insert(instance.clone(), String::new());
        }
        for queue in management.queue_names().await {
            all.insert(format!("queue {queue}"), String::new());
        }
        Self(all)
    }

    /// Whether anything is listed whose kind, name and identity begin so.
    pub fn has(&self, beginning: &str) -> bool {
        self.0.keys().any(|key| key.starts_with(beginning))
    }

    /// What is gone, new or changed in a later one, a line each.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let gone = self.0.keys().filter(|key| !later.0.contains_key(*key)).map(|key| format!("gone: {key}"));
        let other = later.0.iter().filter_map(|(key, content)| match self.0.get(key) {
            None => Some(format!("new: {key}")),
            Some(before) if before != content => Some(format!("changed: {key}: {}", change(before, content))),
            Some(_) => None,
        });
        gone.chain(other).collect()
    }
}

/// What is being removed.
fn going(objects: &[Value]) -> Vec<String> {
    objects.iter().filter(|object| object["metadata"].get("deletionTimestamp").is_some()).map(title).collect()
}

/// An object without what changes by itself.
fn content(object: &Value) -> String {
    let mut object = object.clone();
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let fields = object.as_object_mut().expect("an object");
    // What controllers have found, written whenever they look: a node's heartbeat is in it.
    fields.remove("status");
    if kind == "Lease" {
        // Who leads, and when that was last said.
        fields.remove("spec");
    }
    if kind == "Secret" {
        // Compared, and not shown when it differs.
        for key in ["data", "stringData"] {
            if let Some(data) = fields.get_mut(key) {
                let mut hasher = DefaultHasher::new();
                data.to_string().hash(&mut hasher);
                *data = hasher.finish().into();
            }
        }
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        // Who has written what when, and how often: writes of the status are counted too.
        for key in ["resourceVersion", "managedFields", "generation"] {
            metadata.remove(key);
        }
    }
    object.to_string()
}

/// An SOA record without its serial number, which grows with every change of the zone, whoever makes it.
fn unnumbered(said: &str) -> String {
    let mut hit: Value = serde_json::from_str(said).expect("JSON");
    let words: Vec<String> =
        hit["content"].as_str().expect("its content").split(' ').map(str::to_owned).collect();
    assert!(words.len() == 7 && words[2].parse::<u32>().is_ok(), "an SOA record: {said}");
    hit["content"] = [&words[..2], &words[3..]].concat().join(" ").into();
    hit.to_string()
}

/// Two contents from where they differ.
fn change(before: &str, after: &str) -> String {
    let same = before.chars().zip(after.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN / 2);
    let part = |text: &str| text.chars().skip(from).take(SHOWN).collect::<String>();
    format!("'{}' is now '{}'", part(before), part(after))
}
