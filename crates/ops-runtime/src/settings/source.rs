//! Where settings come from: the environment over an optional TOML file, merged by figment.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;
use figment::{Figment, Profile};

use secrecy::{ExposeSecret as _, SecretString};

use super::known::{is_known, nearest};
use super::secret::read_secret_file;

/// Merged values, with where each came from, and the problems found while reading them.
#[derive(Debug)]
pub(super) struct Source {
    figment: Figment,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Source {
    /// `variables` is the environment; values stay text, so that a password of digits keeps its zeros.
    pub(super) fn new(variables: &BTreeMap<String, String>, file: Option<&Path>) -> Self {
        let mut figment = Figment::new();
        let mut problems = Vec::new();
        if let Some(file) = file {
            match std::fs::read_to_string(file) {
                Ok(text) => figment = figment.merge(Toml::string(&text)),
                Err(error) => problems.push(format!("settings file {}: {error}", file.display())),
            }
        }
        let known: BTreeMap<String, &String> = variables
            .iter()
            .filter(|(name, _)| is_known(name))
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        figment = figment.merge(Serialized::from(known, Profile::Default));
        let mut source = Self {
            figment,
            problems,
            warnings: Vec::new(),
        };
        source.check_file(file);
        source.warn_of_unknown(variables);
        source
    }

    /// Unknown keys of the file are refused: nothing but us reads it.
    fn check_file(&mut self, file: Option<&Path>) {
        let values: Result<BTreeMap<String, Value>, _> = self.figment.extract();
        match values {
            Ok(values) => {
                for key in values.keys() {
                    let name = key.to_uppercase();
                    if is_known(&name) {
                        continue;
                    }
                    let hint = nearest(&name).map_or_else(String::new, |near| {
                        format!("; did you mean {}?", near.to_lowercase())
                    });
                    let file = file.map_or_else(String::new, |file| file.display().to_string());
                    self.problems
                        .push(format!("settings file {file}: unknown key {key}{hint}"));
                }
            }
            Err(error) => self.problems.push(format!("settings file: {error}")),
        }
    }

    /// Unknown variables of our prefix are only warned of: the environment is shared with other programs.
    fn warn_of_unknown(&mut self, variables: &BTreeMap<String, String>) {
        for name in variables.keys().filter(|name| name.starts_with("OPS_")) {
            if is_known(name) {
                continue;
            }
            self.warnings.push(match nearest(name) {
                Some(near) => format!("unknown variable {name}; did you mean {near}?"),
                None => format!("unknown variable {name}"),
            });
        }
    }

    pub(super) fn problem(&mut self, name: &str, message: impl std::fmt::Display) {
        self.problems.push(format!("{name}: {message}"));
    }

    /// The text of a setting, blanks trimmed. Present but empty is `Some("")`.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.exact(name).map(|text| text.trim().to_owned())
    }

    fn exact(&mut self, name: &str) -> Option<String> {
        match self.figment.find_value(&name.to_lowercase()).ok()? {
            Value::String(_, text) => Some(text),
            Value::Bool(_, on) => Some(on.to_string()),
            Value::Num(_, number) => Some(match (number.to_i128(), number.to_u128(), number.to_f64()) {
                (Some(whole), _, _) => whole.to_string(),
                (_, Some(whole), _) => whole.to_string(),
                (_, _, other) => other.map_or_else(String::new, |other| other.to_string()),
            }),
            Value::Array(_, items) => Some(
                items
                    .iter()
                    .filter_map(Value::as_str)
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            _ => {
                self.problem(name, "must be text, a number or a boolean");
                None
            }
        }
    }

    /// The text of a setting that means nothing when it is empty.
    pub(super) fn non_empty(&mut self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// A secret, exactly as it stands in the variable `name` or in the file that `<name>_FILE` names; there one line
    /// break at the end is cut. Empty means none.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        let value = self.exact(name).filter(|text| !text.trim().is_empty());
        let by_file = format!("{name}_FILE");
        match (value, self.non_empty(&by_file)) {
            (Some(_), Some(_)) => {
                self.problem(name, format!("and {by_file} are both set; choose one"));
                None
            }
            (value, None) => value.map(SecretString::from),
            (None, Some(file)) => match read_secret_file(Path::new(&file)) {
                Ok(secret) => Some(secret),
                Err(error) => {
                    self.problem(&by_file, format!("{file} {}", crate::Chain(&error)));
                    None
                }
            },
        }
    }

    /// A secret without the blanks around it, for what is sent in a header or read as an address.
    pub(super) fn token(&mut self, name: &str) -> Option<SecretString> {
        let secret = self.secret(name)?;
        let trimmed = secret.expose_secret().trim();
        (!trimmed.is_empty()).then(|| SecretString::from(trimmed))
    }

    /// A whole number in `range`, or the default.
    pub(super) fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> u64 {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.parse::<u64>().ok().filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                let (low, high) = (range.start(), range.end());
                self.problem(
                    name,
                    format!("must be a whole number from {low} to {high}, is {text:?}"),
                );
                default
            }
        }
    }

    /// One of a few words, or the default; case does not count.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(text) = self.non_empty(name) else {
            return default;
        };
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map_or_else(
            || {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                self.problem(name, format!("must be one of {}, is {text:?}", words.join(", ")));
                default
            },
            |(_, value)| *value,
        )
    }
}
