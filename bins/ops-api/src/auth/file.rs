//! The file of further tokens: a list of names, roles and digests, so that it gives no token away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Role;
use super::tokens::Known;

/// More are a mistake: every call compares with all of them.
const MOST: usize = 1000;
const LONGEST_FILE: u64 = 1024 * 1024;
/// Names that the audit trail gives to other callers.
const TAKEN: [&str; 3] = ["secret", "internal", "anybody"];

/// One entry of the file, as `ops-api token new` prints it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenLine {
    /// Whose it is, in logs and in the audit trail.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// SHA-256 of the token, in hex.
    pub(crate) sha256: String,
    /// After which it is no longer taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl TokenLine {
    /// The entry of a token.
    pub(crate) fn new(name: &str, role: Role, token: &str, expires_at: Option<DateTime<Utc>>) -> Self {
        let digest = Sha256::digest(token);
        Self {
            name: name.to_owned(),
            role,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            expires_at,
        }
    }

    /// What is wrong with it.
    pub(crate) fn problem(&self) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Some(
                "name must be 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen".into(),
            );
        }
        if TAKEN.contains(&self.name.as_str()) || self.name.starts_with("session-") {
            return Some(format!(
                "name {:?} means something else in the audit trail",
                self.name
            ));
        }
        let Some(digest) = unhex(&self.sha256) else {
            return Some("sha256 must be the 64 hex digits of a SHA-256".to_owned());
        };
        if digest == <[u8; 32]>::from(Sha256::digest("")) {
            return Some("sha256 is that of an empty token".to_owned());
        }
        None
    }
}

/// Reads the file.
///
/// # Errors
/// Every problem, with the index of its entry.
pub(super) fn read(path: &Path) -> Result<Vec<Known>, Vec<String>> {
    let shown = path.display();
    let problem = |text: String| vec![format!("OPS_TOKENS_FILE: {shown} {text}")];
    let unreadable = |error: std::io::Error| problem(format!("cannot be read: {error}"));
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(problem("is no regular file".to_owned()));
    }
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST_FILE + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(problem(format!("is longer than {LONGEST_FILE} bytes")));
    }
    parse(&text).map_err(|problems| problems.into_iter().flat_map(problem).collect())
}

/// What is wrong with the file.
pub(crate) fn problems(path: &Path) -> Vec<String> {
    read(path).err().unwrap_or_default()
}

fn parse(text: &[u8]) -> Result<Vec<Known>, Vec<String>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let entries: Vec<Value> = match serde_json::from_slice(text) {
        Ok(Value::Array(entries)) => entries,
        Ok(_) => return Err(vec!["must be a list".to_owned()]),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return Err(vec![format!("is not JSON at line {line} column {column}")]);
        }
    };
    if entries.len() > MOST {
        return Err(vec![format!("lists more than {MOST} tokens")]);
    }
    let mut problems = Vec::new();
    let mut known: Vec<Known> = Vec::new();
    let mut names = BTreeMap::new();
    let mut digests = BTreeSet::new();
    for (at, entry) in entries.into_iter().enumerate() {
        let mut problem = |text: String| problems.push(format!("entry [{at}]: {text}"));
        // Perhaps a token as it is, which the words for a wrong type would repeat.
        if !entry.is_object() {
            problem("must be an object with name, role and sha256".to_owned());
            continue;
        }
        let line: TokenLine = match serde_json::from_value(entry) {
            Ok(line) => line,
            Err(error) => {
                problem(error.to_string());
                continue;
            }
        };
        let found = line.problem();
        let digest = unhex(&line.sha256).filter(|_| found.is_none());
        let Some(digest) = digest else {
            problem(found.unwrap_or_default());
            continue;
        };
        if let Some(first) = names.insert(line.name.clone(), at) {
            problem(format!("name {:?} is that of entry [{first}]", line.name));
        } else if !digests.insert(digest) {
            problem("sha256 is that of another entry".to_owned());
        }
        known.push(Known {
            name: line.name.into(),
            role: line.role,
            digest,
            until: line.expires_at.map(|at| at.timestamp()),
        });
    }
    if problems.is_empty() {
        Ok(known)
    } else {
        Err(problems)
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named_with_the_index_of_its_entry() {
        let good = serde_json::to_string(&TokenLine::new("web", Role::Viewer, "token", None)).unwrap();
        let empty = serde_json::to_string(&TokenLine::new("none", Role::Viewer, "", None)).unwrap();
        let other = serde_json::to_string(&TokenLine::new("web", Role::Admin, "other", None)).unwrap();
        let same = serde_json::to_string(&TokenLine::new("same", Role::Admin, "token", None)).unwrap();
        let taken = serde_json::to_string(&TokenLine::new("secret", Role::Admin, "x", None)).unwrap();
        let text = format!(
            r#"[{good}, 5, {{"name": "a", "role": "root", "sha256": "00"}}, {{"name": "b", "role": "admin", "sha256": "00"}},
                {empty}, {other}, {same}, {taken}, {{"name": "c d", "role": "admin", "sha256": "00"}},
                {{"name": "e", "role": "admin", "sha256": "00", "expiry": 1}},
                {{"name": "f", "role": "admin", "sha256": "00", "expiresAt": "tomorrow"}}]"#
        );
        let problems = parse(text.as_bytes()).unwrap_err();
        let expected = [
            ("[1]", "must be an object"),
            ("[2]", "unknown variant `root`"),
            ("[3]", "sha256 must be"),
            ("[4]", "empty token"),
            ("[5]", "is that of entry [0]"),
            ("[6]", "sha256 is that of another"),
            ("[7]", "audit trail"),
            ("[8]", "name must be"),
            ("[9]", "unknown field `expiry`"),
            ("[10]", ""),
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, (index, part)) in problems.iter().zip(expected) {
            assert!(
                problem.contains(index) && problem.contains(part),
                "{problem}: {index} {part}"
            );
        }
    }

    #[test]
    fn a_token_that_was_written_down_as_it_is_is_not_repeated() {
        for text in [
            r#"["t0ps3cret-value"]"#,
            r#"[["t0ps3cret-value"]]"#,
            r#"[{"name": "a", "role": "admin", "sha256": "t0ps3cret-value"}]"#,
            r#"[{"name": "a", "role": "admin", "token": "t0ps3cret-value"}]"#,
            r#"[{"name": "a", "role": "admin", "sha256": "x", "expiresAt": "t0ps3cret-value"}]"#,
            r#"[{"name": "t0ps3cret-value!", "role": "admin", "sha256": "x"}]"#,
        ] {
            let problems = parse(text.as_bytes()).unwrap_err();
            assert!(!problems.concat().contains("t0ps3cret"), "{problems:?}");
        }
    }

    #[test]
    fn what_is_no_plain_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        assert!(problems(folder.path())[0].contains("is no regular file"));
    }

    #[test]
    fn a_file_that_is_no_list_is_refused() {
        for (text, part) in [
            ("{}", "must be a list"),
            ("[", "is not JSON at line 1"),
            ("", "is not JSON"),
        ] {
            let problems = parse(text.as_bytes()).unwrap_err();
            assert!(problems[0].contains(part), "{problems:?}");
        }
        assert_eq!(parse(b"\xef\xbb\xbf[]").unwrap(), []);
        assert!(problems(Path::new("/nonexistent/tokens.json"))[0].contains("cannot be read"));
    }
}
