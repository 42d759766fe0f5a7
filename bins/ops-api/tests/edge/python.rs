//! Readers that nobody here wrote: a few lines of Python with JSON in and out.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::skip;

/// Runs a script; `None` where Python or one of its packages is missing.
pub(crate) fn run(script: &str, input: &Value) -> Option<Value> {
    #[expect(
        clippy::disallowed_methods,
        reason = "told by the environment where the interpreter is"
    )]
    let python = std::env::var("INTEROP_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let started = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        skip("no Python");
        return None;
    };
    // A script whose import fails does not read its input.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if complaint.contains("No module named") {
        skip("no Python with jsonschema and PyYAML (INTEROP_PYTHON)");
        return None;
    }
    assert!(output.status.success(), "{complaint}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
