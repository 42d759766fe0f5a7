//! Arguments to a line, to a request, and back.

use std::time::Duration;

use crate::Command;
use crate::cmdline::argv::{argv, operators_seen_by_cmd};
use crate::settings::Limits;
use crate::soap::parse;
use crate::soap::request::{self, Addressing};

/// Reads `data` as arguments with a NUL between them.
///
/// # Panics
/// When the program would not get exactly these arguments, or `cmd.exe` would see an operator.
pub fn quoting(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let args: Vec<&str> = text.split('\0').collect();
    for lenient in [false, true] {
        let command = Command::new("x.exe")
            .args(args.clone())
            .allow_cmd_metacharacters(lenient);
        let Ok(line) = command.line() else { continue };
        assert_eq!(argv(&line)[1..], args);
        if !lenient {
            assert_eq!(operators_seen_by_cmd(&line), 0);
            assert!(!line.contains(['%', '!', '\r', '\n']));
        }
        in_a_request(&command);
    }
    program(&text);
}

/// What the host's XML reader gets out of the request is what was put in.
fn in_a_request(command: &Command) {
    let words = command.quoted().expect("was quoted before");
    let limits = Limits {
        xml_elements: 64 + words.len(),
        ..Limits::default()
    };
    let addressing = Addressing::new("http://h:5985/wsman", Duration::from_secs(20), &limits);
    let request = request::command(&addressing, "SHELL", "ID", command, &words);
    let root = parse(request.xml.as_bytes(), &limits).expect("our own request is read");
    let mut found = Vec::new();
    for element in root.root().walk() {
        if matches!(element.local(), "Command" | "Arguments") {
            found.push(element.text());
        }
    }
    assert_eq!(found, words);
}

/// A program is one word whatever it is.
fn program(text: &str) {
    for lenient in [false, true] {
        let command = Command::new(text).arg("a").allow_cmd_metacharacters(lenient);
        if let Ok(line) = command.line() {
            assert_eq!(argv(&line), [text, "a"]);
        }
    }
}
