//! What tofu tells of itself by `-json`, an object a line: how far it is, and what went wrong.

use std::collections::BTreeSet;

use serde_json::Value;

/// Follows an apply or a destroy.
#[derive(Debug, Default)]
pub(super) struct Progress {
    total: u64,
    done: u64,
    now: Vec<String>,
    planned: BTreeSet<String>,
    begun: bool,
    /// Errors, with the resource they are of.
    pub errors: Vec<Diagnostic>,
}

/// An error of tofu's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnostic {
    /// The resource's address, where it is of one.
    pub address: Option<String>,
    /// What it says.
    pub text: String,
}

impl Progress {
    /// Takes a line; true when there is something new to tell.
    pub fn take(&mut self, line: &str) -> bool {
        let Ok(event) = serde_json::from_str::<Value>(line) else { return false };
        let address = || event["hook"]["resource"]["addr"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("planned_change") if event["change"]["action"] == "create" => {
                self.planned.extend(event["change"]["resource"]["addr"].as_str().map(str::to_owned));
                return false;
            }
            Some("change_summary") if event["changes"]["operation"] == "plan" => {
                let count = |what: &str| event["changes"][what].as_u64().unwrap_or_default();
                // A destroy is announced like an apply, with removals only.
                self.total = count("add") + count("change") + count("remove");
            }
            Some("apply_start") => {
                self.begun = true;
                let action = match event["hook"]["action"].as_str() {
                    Some("create") => "creating",
                    Some("delete") => "removing",
                    _ => "changing",
                };
                self.now.push(format!("{} {action}", address()));
            }
            Some("apply_complete" | "apply_errored") => {
                let of_it = format!("{} ", address());
                self.now.retain(|now| !now.starts_with(&of_it));
                self.done += u64::from(event["type"] == "apply_complete");
            }
            Some("diagnostic") if event["diagnostic"]["severity"] == "error" => {
                let text =
                    |key: &str| event["diagnostic"][key].as_str().unwrap_or_default().trim().to_owned();
                self.errors.push(Diagnostic {
                    address: event["diagnostic"]["address"].as_str().map(str::to_owned),
                    text: format!("{}: {}", text("summary"), text("detail"))
                        .trim_end_matches(": ")
                        .to_owned(),
                });
                return false;
            }
            _ => return false,
        }
        true
    }

    /// What it was to make; none where it did not begin to. A plan that fails is summed up too, as far as it came.
    pub fn wanted(&self) -> Option<&BTreeSet<String>> {
        self.begun.then_some(&self.planned)
    }

    /// `3 of 5 resources, terraform_data.postgres creating`.
    pub fn words(&self) -> String {
        let mut words = format!("{} of {} resources", self.done, self.total);
        if let Some(now) = self.now.last() {
            words = format!("{words}, {now}");
        }
        words
    }

    /// All errors in one text.
    pub fn said(&self) -> String {
        let lines: Vec<String> = self
            .errors
            .iter()
            .map(|error| match &error.address {
                Some(address) => format!("{address}: {}", error.text),
                None => error.text.clone(),
            })
            .collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of OpenTofu 1.12.6, shortened.
    #[test]
    fn it_is_told_in_words_how_far_an_apply_is() {
        let mut progress = Progress::default();
        let mut told = Vec::new();
        for line in [
            r#"{"type":"version","tofu":"1.12.6"}"#,
            r#"{"type":"planned_change","change":{"resource":{"addr":"terraform_data.a"},"action":"create"}}"#,
            r#"{"type":"planned_change","change":{"resource":{"addr":"terraform_data.c"},"action":"update"}}"#,
            r#"{"type":"change_summary","changes":{"add":2,"change":0,"import":0,"remove":0,"operation":"plan"}}"#,
            r#"{"type":"apply_start","hook":{"resource":{"addr":"terraform_data.a"},"action":"create"}}"#,
            r#"{"type":"provision_start","hook":{"resource":{"addr":"terraform_data.a"}}}"#,
            r#"{"type":"apply_complete","hook":{"resource":{"addr":"terraform_data.a"},"action":"create"}}"#,
            r#"{"type":"apply_start","hook":{"resource":{"addr":"terraform_data.b"},"action":"create"}}"#,
            r#"{"type":"apply_errored","hook":{"resource":{"addr":"terraform_data.b"},"action":"create"}}"#,
            r#"{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"w","detail":"d"}}"#,
            r#"{"type":"diagnostic","diagnostic":{"severity":"error","summary":"s","detail":"d\n","address":"terraform_data.b"}}"#,
            "no JSON",
        ] {
            if line.contains("apply_start") && told.len() == 1 {
                assert_eq!(progress.wanted(), None, "a plan alone may be one that failed");
            }
            if progress.take(line) {
                told.push(progress.words());
            }
        }
        assert_eq!(
            told,
            [
                "0 of 2 resources",
                "0 of 2 resources, terraform_data.a creating",
                "1 of 2 resources",
                "1 of 2 resources, terraform_data.b creating",
                "1 of 2 resources",
            ]
        );
        assert_eq!(progress.said(), "terraform_data.b: s: d");
        assert_eq!(progress.wanted(), Some(&BTreeSet::from(["terraform_data.a".to_owned()])));
    }
}
