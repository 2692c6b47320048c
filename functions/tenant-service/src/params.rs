//! Query parameters, read one by one; everything wrong with them is said at once.

use std::str::FromStr;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use http_server::FieldError;

use crate::problem::{self, Failure};

/// The query as it came.
pub type RawQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// What is still to be read, and what was wrong so far.
#[derive(Debug)]
pub struct Params {
    rest: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Params {
    /// Takes the query.
    pub fn new(query: RawQuery) -> Result<Self, Failure> {
        let Query(rest) = query.map_err(|_| {
            problem::wrong_parameters(vec![FieldError {
                field: "query".into(),
                code: "malformed",
                message: "is not URL-encoded as name=value&…".into(),
            }])
        })?;
        Ok(Self { rest, errors: Vec::new() })
    }

    /// Something is wrong with a parameter.
    pub fn error(&mut self, field: &str, code: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.to_owned(), code, message: message.into() });
    }

    /// A text; given twice it is wrong, for it would not be clear which one holds.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut found = self.rest.extract_if(.., |(given, _)| given == name).map(|(_, value)| value);
        let (first, twice) = (found.next(), found.next().is_some());
        drop(found);
        if twice {
            self.error(name, "repeated", "is given more than once");
            return None;
        }
        if first.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
            self.error(name, "control_character", "must not hold control characters");
            return None;
        }
        first
    }

    /// A value that `T` understands.
    pub fn parsed<T: FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.error(name, "unknown_value", format!("must be {wanted}"));
        }
        parsed
    }

    /// A whole number from `low` to `high`; `default` when left out.
    pub fn number(&mut self, name: &str, low: i64, high: i64, default: i64) -> i64 {
        let wanted = if high == i64::MAX {
            format!("a whole number from {low}")
        } else {
            format!("a whole number from {low} to {high}")
        };
        match self.parsed(name, &wanted) {
            Some(value) if (low..=high).contains(&value) => value,
            Some(_) => {
                self.error(name, "out_of_range", format!("must be {wanted}"));
                default
            }
            None => default,
        }
    }

    /// Refuses what was wrong, and what nobody asked for.
    pub fn finish(mut self) -> Result<(), Failure> {
        for (name, _) in std::mem::take(&mut self.rest) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            self.error(&shown, "unknown_parameter", "is not a parameter of this request");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(problem::wrong_parameters(self.errors).into()) }
    }
}
