//! Names that are parsed once and then carried as types.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A tenant's short name: a DNS label of 3 to 30 characters that is not reserved and not shaped like a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

/// Why a text is no slug, in words for the one who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSlug {
    /// Fewer than 3 or more than 30 characters.
    #[error("must have 3 to 30 characters, has {0}")]
    Length(usize),
    /// Not a DNS label.
    #[error(
        "must be a DNS label: lower-case letters, digits and '-', beginning with a letter and not ending with '-'"
    )]
    NotALabel,
    /// Shaped like a UUID, which would make `/tenants/{id}` ambiguous.
    #[error("must not be shaped like a UUID")]
    Uuid,
    /// Means something else in the platform's DNS zone or in Kubernetes.
    #[error("'{0}' is reserved")]
    Reserved(String),
}

/// Slugs that mean something else in the platform's DNS zone or in Kubernetes; `kube-*`, and `ns*` for name servers, besides.
const RESERVED: [&str; 7] = ["api", "bi", "www", "admin", "mail", "default", "system"];

impl Slug {
    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let length = text.chars().count();
        // A UUID's text is longer than a slug may be; naming the shape helps more than naming the length.
        if uuid::Uuid::parse_str(text).is_ok() {
            return Err(InvalidSlug::Uuid);
        }
        // Two-letter names that are reserved would otherwise be called too short, which hides the reason.
        let reserved = RESERVED.contains(&text) || text.starts_with("kube-") || text.starts_with("ns");
        if reserved {
            return Err(InvalidSlug::Reserved(text.to_owned()));
        }
        if !(3..=30).contains(&length) {
            return Err(InvalidSlug::Length(length));
        }
        let label = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-');
        if label { Ok(Self(text.to_owned())) } else { Err(InvalidSlug::NotALabel) }
    }
}

impl TryFrom<String> for Slug {
    type Error = InvalidSlug;
    fn try_from(text: String) -> Result<Self, InvalidSlug> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Kubernetes namespace that holds everything a tenant owns in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(String);

impl Namespace {
    /// `{prefix}{slug}`, such as `matih-acme`.
    pub fn of(prefix: &str, slug: &Slug) -> Self {
        Self(format!("{prefix}{slug}"))
    }

    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A phase, by the name that seeds, audit log and API use: `CREATE_NAMESPACE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhaseName(Cow<'static, str>);

impl PhaseName {
    /// The inventory that ends every backward run.
    pub const TAKE_INVENTORY: Self = Self::new("TAKE_INVENTORY");

    /// A name known at compile time.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The function that runs this phase: `create-namespace` for `CREATE_NAMESPACE`.
    pub fn function(&self) -> String {
        self.0.to_ascii_lowercase().replace('_', "-")
    }
}

impl From<String> for PhaseName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_dns_label_of_3_to_30_characters() {
        for good in ["acme", "a-b", "abc", "a23456789012345678901234567890", "ans", "kubernetes"] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("ab", InvalidSlug::Length(2)),
            ("a234567890123456789012345678901", InvalidSlug::Length(31)),
            ("", InvalidSlug::Length(0)),
            ("Acme", InvalidSlug::NotALabel),
            ("-acme", InvalidSlug::NotALabel),
            ("acme-", InvalidSlug::NotALabel),
            ("1acme", InvalidSlug::NotALabel),
            ("ac_me", InvalidSlug::NotALabel),
            ("ac.me", InvalidSlug::NotALabel),
            ("äcme", InvalidSlug::NotALabel),
            ("api", InvalidSlug::Reserved("api".into())),
            ("bi", InvalidSlug::Reserved("bi".into())),
            ("ns", InvalidSlug::Reserved("ns".into())),
            ("ns12", InvalidSlug::Reserved("ns12".into())),
            ("nsa", InvalidSlug::Reserved("nsa".into())),
            ("nsx1", InvalidSlug::Reserved("nsx1".into())),
            ("ns-acme", InvalidSlug::Reserved("ns-acme".into())),
            ("kube-x", InvalidSlug::Reserved("kube-x".into())),
            ("550e8400-e29b-41d4-a716-446655440000", InvalidSlug::Uuid),
            ("550e8400e29b41d4a716446655440000", InvalidSlug::Uuid),
        ] {
            assert_eq!(bad.parse::<Slug>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_phase_names_its_function() {
        assert_eq!(PhaseName::new("CREATE_NAMESPACE").function(), "create-namespace");
    }
}
