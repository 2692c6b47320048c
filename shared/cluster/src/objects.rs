//! What a phase makes in the cluster, as one list: it is made in the list's order and taken away in the reverse order, so that
//! no undo can be forgotten.

use std::collections::BTreeMap;

use engine::phase::{Progress, Result, Step};
use kube::core::Resource;
use serde::Serialize;

use super::ensure::Manifest;
use super::{Ensured, Owned, Target};

/// The objects of a phase. Each is made within a named operation, and taken away within the operation `delete <name>`, whose
/// name is the same unless [`Objects::undone_as`] says another.
#[derive(Clone, Debug, Default)]
pub struct Objects(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    operation: String,
    /// What the operation is called after "delete " that takes it away; none for what is only adjusted.
    undone_as: Option<String>,
    target: Target,
    content: Content,
    /// The operation's result lists its objects by name.
    by_name: bool,
}

#[derive(Clone, Debug)]
enum Content {
    /// As [`Owned::ensure`].
    Applied(Result<Manifest>),
    /// As [`Owned::ensure_kept`].
    Kept(Result<Manifest>),
    /// As [`Owned::adjust`].
    Adjusted(Result<Manifest>),
    /// The phase writes it itself, or another plan of it does.
    Elsewhere,
}

/// What an operation has made, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Made {
    /// One object.
    One(Ensured),
    /// Several, in the order of their making.
    InOrder(Vec<Ensured>),
    /// Those of one kind, by name.
    ByName(BTreeMap<String, Ensured>),
}

impl Made {
    /// The first.
    pub fn first(&self) -> Option<&Ensured> {
        match self {
            Self::One(ensured) => Some(ensured),
            Self::InOrder(all) => all.first(),
            Self::ByName(all) => all.values().next(),
        }
    }
}

impl Objects {
    /// Made as given, whenever the phase runs: see [`Owned::ensure`].
    #[must_use]
    pub fn apply<K>(self, operation: &str, object: &K) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        self.with(operation, object, Content::Applied(Manifest::of(object)), false)
    }

    /// As [`Objects::apply`], several of one kind: the operation's result lists them by name.
    #[must_use]
    pub fn apply_all<K>(self, operation: &str, objects: &[K]) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        objects.iter().fold(self, |all, object| {
            all.with(operation, object, Content::Applied(Manifest::of(object)), true)
        })
    }

    /// Made once and then kept as it is: see [`Owned::ensure_kept`].
    #[must_use]
    pub fn keep<K>(self, operation: &str, object: &K) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        self.with(operation, object, Content::Kept(Manifest::of(object)), false)
    }

    /// Some fields of what belongs to its namespace: see [`Owned::adjust`]. Not taken away.
    #[must_use]
    pub fn adjust<K>(self, operation: &str, object: &K) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut all = self.with(operation, object, Content::Adjusted(Manifest::of(object)), false);
        if let Some(last) = all.0.last_mut() {
            last.undone_as = None;
        }
        all
    }

    /// Only taken away: the phase writes it itself, because its content is read while it works, or only another plan of the
    /// phase makes it.
    #[must_use]
    pub fn elsewhere<K>(mut self, operation: &str, namespace: Option<&str>, name: &str) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        let target = Target::of::<K>(namespace, name);
        self.0.push(Entry::new(operation, target, Content::Elsewhere, false));
        self
    }

    /// Names the operation that takes the last object away. Objects beside each other with one name go in one operation.
    #[must_use]
    pub fn undone_as(mut self, what: &str) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.undone_as = Some(what.to_owned());
        }
        self
    }

    fn with<K>(mut self, operation: &str, object: &K, content: Content, by_name: bool) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        let meta = object.meta();
        let target = Target::of::<K>(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        self.0.push(Entry::new(operation, target, content, by_name));
        self
    }

    /// Makes all of them in order, operation by operation. Called again, it brings them to what they should be.
    pub async fn ensure(&self, owned: &Owned, step: &Step) -> Result<()> {
        for entries in self.0.chunk_by(|one, next| one.operation == next.operation) {
            let operation = entries[0].operation.as_str();
            if entries.iter().any(|entry| !matches!(entry.content, Content::Elsewhere)) {
                self.ensure_in(operation, owned, step).await?;
            }
        }
        Ok(())
    }

    /// Makes those of one operation, as that operation.
    pub async fn ensure_in(&self, operation: &str, owned: &Owned, step: &Step) -> Result<Made> {
        step.operation(operation, self.make(operation, owned)).await
    }

    /// Makes those of one operation, within whatever operation the caller is in.
    pub async fn make(&self, operation: &str, owned: &Owned) -> Result<Made> {
        let entries: Vec<&Entry> = self.0.iter().filter(|entry| entry.operation == operation).collect();
        let mut made = Vec::new();
        for entry in &entries {
            let ensured = match &entry.content {
                Content::Applied(manifest) => {
                    owned.put(manifest.as_ref().map_err(Clone::clone)?, true).await?
                }
                Content::Kept(manifest) => owned.put(manifest.as_ref().map_err(Clone::clone)?, false).await?,
                Content::Adjusted(manifest) => {
                    owned.set_fields(manifest.as_ref().map_err(Clone::clone)?).await?;
                    continue;
                }
                Content::Elsewhere => continue,
            };
            made.push((entry.target.name.clone(), ensured));
        }
        if entries.iter().any(|entry| entry.by_name) {
            return Ok(Made::ByName(made.into_iter().collect()));
        }
        let mut made: Vec<Ensured> = made.into_iter().map(|(_, ensured)| ensured).collect();
        Ok(if made.len() == 1 { Made::One(made.remove(0)) } else { Made::InOrder(made) })
    }

    /// Takes them away, the last first, as far as the step may: see [`Owned::ensure_deleted`]. Called again, it looks again.
    pub async fn delete(&self, owned: &Owned, step: &Step) -> Result<()> {
        for (what, targets) in self.undo() {
            step.wait_for(&format!("delete {what}"), async {
                for target in targets {
                    owned.ensure_deleted(target).await?.or_park()?;
                }
                Ok(Progress::Done(()))
            })
            .await?;
        }
        Ok(())
    }

    /// What goes in which operation, in its order.
    fn undo(&self) -> Vec<(&str, Vec<&Target>)> {
        let mut undo: Vec<(&str, Vec<&Target>)> = Vec::new();
        for entry in self.0.iter().rev() {
            let Some(what) = entry.undone_as.as_deref() else { continue };
            match undo.last_mut() {
                Some((last, targets)) if *last == what => targets.push(&entry.target),
                _ => undo.push((what, vec![&entry.target])),
            }
        }
        undo
    }
}

impl Entry {
    fn new(operation: &str, target: Target, content: Content, by_name: bool) -> Self {
        let undone_as = Some(operation.to_owned());
        Self { operation: operation.to_owned(), undone_as, target, content, by_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
    use kube::core::ObjectMeta;

    fn named(name: &str) -> ObjectMeta {
        ObjectMeta { name: Some(name.into()), namespace: Some("a".into()), ..ObjectMeta::default() }
    }

    fn map(name: &str) -> ConfigMap {
        ConfigMap { metadata: named(name), ..ConfigMap::default() }
    }

    #[test]
    fn everything_but_what_is_adjusted_is_taken_away_the_last_first() {
        let account = |name| ServiceAccount { metadata: named(name), ..ServiceAccount::default() };
        let objects = Objects::default()
            .adjust("account", &account("default"))
            .apply("account", &account("worker"))
            .elsewhere::<Secret>("login", Some("a"), "login")
            .apply_all("maps", &[map("one"), map("two")])
            .keep("secret", &Secret { metadata: named("made once"), ..Secret::default() })
            .undone_as("maps");
        let undo: Vec<(&str, Vec<String>)> = objects
            .undo()
            .into_iter()
            .map(|(what, targets)| (what, targets.iter().map(ToString::to_string).collect()))
            .collect();
        let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            undo,
            [
                ("maps", names(&["Secret a/made once", "ConfigMap a/two", "ConfigMap a/one"])),
                ("login", names(&["Secret a/login"])),
                ("account", names(&["ServiceAccount a/worker"])),
            ]
        );
    }
}
