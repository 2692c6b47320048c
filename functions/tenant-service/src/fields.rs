//! Reading the fields of an object one by one, so that everything wrong with it is said at once.

use std::str::FromStr;

use http_server::FieldError;
use model::UnknownName;
use serde_json::{Map, Value};

/// What is still to be read of an object, and what was wrong so far.
#[derive(Debug)]
pub struct Fields {
    rest: Map<String, Value>,
    prefix: &'static str,
    errors: Vec<FieldError>,
}

impl Fields {
    /// What `read` takes out of an object as a whole, or everything that is wrong with it: of the fields that it reads, and
    /// those that nobody asks for. Where `read` gives none it has said what is wrong.
    pub fn read<T>(
        object: Map<String, Value>,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, Vec<FieldError>> {
        let mut fields = Self::new(object, "");
        let read = read(&mut fields);
        let errors = fields.finish();
        read.filter(|_| errors.is_empty()).ok_or(errors)
    }

    /// The fields of `object`; their names are shown behind `prefix`.
    fn new(object: Map<String, Value>, prefix: &'static str) -> Self {
        Self { rest: object, prefix, errors: Vec::new() }
    }

    /// Something is wrong with `field`.
    pub fn error(&mut self, field: &str, code: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: format!("{}{field}", self.prefix),
            code,
            message: message.into(),
        });
    }

    /// Takes a field out. `null` counts as left out.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.rest.remove(field).filter(|value| !value.is_null())
    }

    fn wrong_type(&mut self, field: &str, wanted: &str, got: &Value) {
        let got = match got {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.error(field, "wrong_type", format!("must be {wanted}, is {got}"));
    }

    /// Whether something was wrong with `field` so far.
    pub fn wrong(&self, field: &str) -> bool {
        let name = format!("{}{field}", self.prefix);
        self.errors.iter().any(|error| error.field == name)
    }

    /// Whether something was wrong with a field whose name begins so.
    pub fn wrong_within(&self, beginning: &str) -> bool {
        let beginning = format!("{}{beginning}", self.prefix);
        self.errors.iter().any(|error| error.field.starts_with(&beginning))
    }

    /// A field that must be there: says so if `value` is none and nothing else was wrong with it.
    pub fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.wrong(field) {
            self.error(field, "required", "is required");
        }
        value
    }

    /// A text without control characters.
    pub fn text(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            // A NUL would be refused by the database, a line end would forge a line of a log.
            Value::String(text) if text.chars().any(char::is_control) => {
                self.error(field, "control_character", "must not hold control characters");
                None
            }
            Value::String(text) => Some(text),
            other => {
                self.wrong_type(field, "a string", &other);
                None
            }
        }
    }

    /// A text of 1 to `longest` characters that is not blank. Surrounding blanks are cut off.
    pub fn short_text(&mut self, field: &str, longest: usize) -> Option<String> {
        let text = self.text(field)?.trim().to_owned();
        let length = text.chars().count();
        if (1..=longest).contains(&length) {
            return Some(text);
        }
        let (code, has) = if length == 0 { ("too_short", 0) } else { ("too_long", length) };
        self.error(field, code, format!("must have 1 to {longest} characters, has {has}"));
        None
    }

    /// A text that `parse` understands.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(field)?;
        parse(&text).map_err(|error| self.error(field, code, error.to_string())).ok()
    }

    /// A member of a closed list.
    pub fn one_of<T: FromStr<Err = UnknownName>>(&mut self, field: &str) -> Option<T> {
        self.parsed(field, "unknown_value", |text| {
            text.parse().map_err(|error: UnknownName| format!("must be one of {}", error.known.join(", ")))
        })
    }

    /// A boolean.
    pub fn boolean(&mut self, field: &str) -> Option<bool> {
        match self.take(field)? {
            Value::Bool(value) => Some(value),
            other => {
                self.wrong_type(field, "true or false", &other);
                None
            }
        }
    }

    /// A whole number.
    pub fn integer(&mut self, field: &str) -> Option<i64> {
        match self.take(field)? {
            Value::Number(number) => {
                if let Some(value) = number.as_i64().or_else(|| whole(&number)) {
                    return Some(value);
                }
                let (code, message) = if number.is_u64() {
                    ("out_of_range", "is too large".to_owned())
                } else {
                    ("wrong_type", format!("must be a whole number, is {number}"))
                };
                self.error(field, code, message);
                None
            }
            other => {
                self.wrong_type(field, "a whole number", &other);
                None
            }
        }
    }

    /// A whole number that is not negative.
    pub fn count(&mut self, field: &str) -> Option<i64> {
        let value = self.integer(field)?;
        if value < 0 {
            self.error(field, "negative", format!("must not be negative, is {value}"));
            return None;
        }
        Some(value)
    }

    /// A list of texts that `parse` understands; every one that it does not is named by its place.
    pub fn list<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        code: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let values = match self.take(field)? {
            Value::Array(values) => values,
            other => {
                self.wrong_type(field, "an array of strings", &other);
                return None;
            }
        };
        let mut read = Vec::with_capacity(values.len());
        for (nth, value) in values.into_iter().enumerate() {
            let name = format!("{field}[{nth}]");
            let Value::String(text) = value else {
                self.wrong_type(&name, "a string", &value);
                continue;
            };
            match parse(&text) {
                Ok(value) => read.push(value),
                Err(error) => self.error(&name, code, error.to_string()),
            }
        }
        Some(read)
    }

    /// An object, read by `read`; what is wrong in it is named with `prefix` (the field's name and a dot).
    pub fn object<T>(
        &mut self,
        field: &str,
        prefix: &'static str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        match self.take(field)? {
            Value::Object(map) => {
                let mut inner = Self::new(map, prefix);
                let read = read(&mut inner);
                let errors = inner.finish();
                let whole = errors.is_empty();
                self.errors.extend(errors);
                whole.then_some(read)
            }
            other => {
                self.wrong_type(field, "an object", &other);
                None
            }
        }
    }

    /// Everything that was wrong, with what nobody asked for.
    fn finish(mut self) -> Vec<FieldError> {
        for name in std::mem::take(&mut self.rest).into_iter().map(|(name, _)| name) {
            // The name is the caller's own; what is shown of it is bounded.
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            self.error(&shown, "unknown_field", "is not a field of this request");
        }
        self.errors
    }
}

/// `3.0` is a whole number too (JSON Schema's reading of `integer`), as far as it is exact.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value =
        number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0 && value.abs() < EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and under 2^53")]
    let value = value as i64;
    Some(value)
}
