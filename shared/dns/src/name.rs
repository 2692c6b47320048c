//! Domain names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A domain name in lower case, without the last dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Name(String);

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl Name {
    /// A name, with or without its last dot.
    pub fn new(text: &str) -> Self {
        Self(text.trim_end_matches('.').to_ascii_lowercase())
    }

    /// The name as text, without the last dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With its last dot, as zone files and PowerDNS write it.
    pub fn absolute(&self) -> String {
        format!("{}.", self.0)
    }

    /// The name below this one by a relative one; `@` is this one itself.
    #[must_use]
    pub fn below(&self, relative: &str) -> Self {
        if relative == "@" { self.clone() } else { Self::new(&format!("{relative}.{}", self.0)) }
    }

    /// Whether it is `zone` or below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        self.0.strip_suffix(&zone.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The name as seen from a zone that it lies in: `@` for the zone itself.
    pub fn relative_to(&self, zone: &Self) -> String {
        match self.0.strip_suffix(&zone.0) {
            Some("") => "@".into(),
            Some(rest) => rest.trim_end_matches('.').to_owned(),
            None => self.0.clone(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_seen_from_their_zone() {
        let zone = Name::new("Matih.AI.");
        let acme = zone.below("acme");
        assert_eq!((acme.as_str(), acme.absolute().as_str()), ("acme.matih.ai", "acme.matih.ai."));
        assert_eq!((acme.relative_to(&zone), zone.relative_to(&zone)), ("acme".into(), "@".into()));
        assert_eq!(zone.below("*").as_str(), "*.matih.ai");
        assert!(acme.is_within(&zone) && zone.is_within(&zone) && !zone.is_within(&acme));
        assert!(!Name::new("notmatih.ai").is_within(&zone));
    }
}
