//! From the text of `hosts.json` to entries, collecting every problem on the way.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::keys::{is_comment, meant};
use super::{Catalog, CatalogError, Host, Problem, SecretRef, entry};

/// Gives the secret that a text refers to, or what is wrong with it.
pub(super) type Resolve<'a> = dyn Fn(SecretRef<'_>) -> Result<String, String> + 'a;

/// What is said about a file beside its entries.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

pub(super) fn catalog(text: &str, resolve: &Resolve<'_>) -> Result<Catalog, CatalogError> {
    let mut outcome = Outcome::default();
    let entries = entries(text, &mut outcome);
    let mut hosts: Vec<Host> = Vec::new();
    let mut first_seen: HashMap<String, usize> = HashMap::new();
    for (at, value) in entries.iter().enumerate() {
        let Some(map) = value.as_object() else {
            outcome.problems.push(Problem {
                host: format!("hosts[{at}]"),
                key: String::new(),
                message: format!("must be an object, is {}", type_of(value)),
            });
            continue;
        };
        if let Some(name) = map.get("name").and_then(Value::as_str).map(str::trim)
            && let Some(first) = first_seen.insert(name.to_lowercase(), at)
        {
            outcome.problems.push(Problem {
                host: name.chars().take(64).collect(),
                key: "name".into(),
                message: format!("is used twice: by hosts[{first}] and hosts[{at}] (case does not count)"),
            });
        }
        hosts.extend(entry::read(at, map, resolve, &mut outcome));
    }
    if outcome.problems.is_empty() {
        Ok(Catalog::from_hosts(hosts, outcome.warnings))
    } else {
        Err(CatalogError {
            problems: outcome.problems,
            readable: hosts,
        })
    }
}

fn entries(text: &str, outcome: &mut Outcome) -> Vec<Value> {
    let problems = &mut outcome.problems;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut whole = |key: &str, message: String| {
        problems.push(Problem {
            host: String::new(),
            key: key.into(),
            message,
        });
        Vec::new()
    };
    match serde_json::from_str::<Value>(text) {
        Err(error) => {
            let place = format!("line {} column {}", error.line(), error.column());
            whole("", format!("is not JSON at {place}: {error}"))
        }
        Ok(Value::Object(mut map)) => {
            let hosts = map.remove("hosts");
            let unknown = map.keys().filter(|key| !is_comment(key));
            let hosts_meant = unknown.filter(|key| meant(key, ["hosts"].into_iter()).is_some());
            outcome.warnings.extend(hosts_meant.map(|key| Problem {
                host: String::new(),
                key: key.chars().take(64).collect(),
                message: "is not known and means nothing; did you mean \"hosts\"?".into(),
            }));
            match hosts {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(entries)) => entries,
                Some(other) => whole("hosts", format!("must be a list, is {}", type_of(&other))),
            }
        }
        Ok(other) => whole(
            "",
            format!("must be an object with a list \"hosts\", is {}", type_of(&other)),
        ),
    }
}

/// How a reader of the message would call the value's type.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads the keys of one entry; a wrong one becomes a problem and its default goes on.
pub(super) struct Keys<'a> {
    pub(super) host: String,
    pub(super) map: &'a Map<String, Value>,
    pub(super) resolve: &'a Resolve<'a>,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Keys<'_> {
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            host: self.host.clone(),
            key: key.into(),
            message: message.into(),
        });
    }

    /// The text under `key`; absent, null and blank are `None`.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.map.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                self.problem(key, "contains a control character");
                None
            }
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(other) => {
                self.problem(key, format!("must be text, is {}", type_of(other)));
                None
            }
        }
    }

    /// The text under `key` read by `parse`, whose error becomes the problem.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, error.to_string());
                None
            }
        }
    }

    /// A whole number in `range`, written as a number or as text.
    pub(super) fn number(&mut self, key: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            let shown = value.to_string();
            let (low, high) = (range.start(), range.end());
            self.problem(
                key,
                format!("must be a whole number from {low} to {high}, is {shown:.60}"),
            );
        }
        number
    }

    /// A switch: a boolean, or one of the words of the contract.
    pub(super) fn switch(&mut self, key: &str) -> Option<bool> {
        match self.map.get(key)? {
            Value::Null => None,
            Value::Bool(on) => Some(*on),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            Value::String(text) => Some(!crate::is_false_word(text)),
            other => {
                let message = format!("must be true or false, is {}", type_of(other));
                self.problem(key, message);
                None
            }
        }
    }

    /// A secret: text, `env:NAME` or `file:/path`. Says which variable or file is at fault, never what a value is.
    pub(super) fn secret(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        let Some(reference) = SecretRef::parse(&text) else {
            return Some(text);
        };
        match (self.resolve)(reference) {
            Ok(value) if value.is_empty() => {
                self.problem(key, format!("{reference} is empty"));
                None
            }
            Ok(value) if value.chars().any(char::is_control) => {
                self.problem(key, format!("{reference} contains a control character"));
                None
            }
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(key, message);
                None
            }
        }
    }
}
