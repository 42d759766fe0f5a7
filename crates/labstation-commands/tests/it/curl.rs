//! The real `curl` does what [`read_file_from`] and [`read_file_length`] count on: the one here, on a file here, with the
//! same words and another path.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment says whether real programs are required"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use labstation_commands::{
    CURL_CANNOT_OPEN, CURL_PAST_END, CommandLine, EventCursor, PathError, Piece, content_length,
    read_file_from, read_file_length,
};

/// The same words for a file of this machine.
fn run(line: &CommandLine, file: &Path) -> Option<Output> {
    let (url, words) = line.args.split_last().unwrap();
    assert!(url.starts_with("file:///C:/"), "{url}");
    let url = format!("file://{}", file.display().to_string().replace(' ', "%20"));
    let ran = Command::new("curl")
        .args(words)
        .arg(url)
        .stdin(Stdio::null())
        .output();
    match ran {
        Ok(output) => Some(output),
        Err(error) => {
            let required = std::env::var("REQUIRE_REAL").as_deref() == Ok("1");
            assert!(!required, "curl: {error}, but REQUIRE_REAL=1");
            None
        }
    }
}

const PATH: &str = r"C:\LabStation\data\events.jsonl";

fn part(file: &Path, offset: u64, length: u64) -> Option<(i32, Vec<u8>)> {
    let output = run(&read_file_from(PATH, offset, length).unwrap(), file)?;
    Some((output.status.code().unwrap(), output.stdout))
}

#[test]
fn a_part_of_a_file_comes_byte_for_byte_and_its_borders_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file.jsonl");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(&file, &bytes).unwrap();
    let Some(head) = part(&file, 0, 10) else { return };
    assert_eq!(head, (0, bytes[..10].to_vec()));
    assert_eq!(part(&file, 300, 4_000).unwrap(), (0, bytes[300..4_300].to_vec()));
    assert_eq!(
        part(&file, 99_990, 1 << 20).unwrap(),
        (0, bytes[99_990..].to_vec())
    );
    assert_eq!(part(&file, 0, 1 << 20).unwrap(), (0, bytes));
    assert_eq!(part(&file, 100_000, 10).unwrap(), (0, Vec::new()), "at the end");
    assert_eq!(part(&file, 100_001, 10).unwrap(), (CURL_PAST_END, Vec::new()));
    assert_eq!(
        part(&file, u64::from(u32::MAX) * 1_000, 10).unwrap(),
        (CURL_PAST_END, Vec::new())
    );
    assert_eq!(
        part(&folder.path().join("none"), 0, 10).unwrap(),
        (CURL_CANNOT_OPEN, Vec::new())
    );
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(part(&empty, 0, 10).unwrap(), (0, Vec::new()));
}

#[test]
fn the_length_of_a_file_is_told_without_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    let line = read_file_length(PATH).unwrap();
    for length in [0_usize, 1, 70_000] {
        std::fs::write(&file, vec![b'x'; length]).unwrap();
        let Some(output) = run(&line, &file) else { return };
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(content_length(&output.stdout), Some(length as u64));
        assert!(output.stdout.len() < 400, "a head and no body");
    }
    let missing = run(&line, &folder.path().join("none")).unwrap();
    assert_eq!(missing.status.code(), Some(CURL_CANNOT_OPEN));
    for nonsense in [&b""[..], b"Content-Length: x", b"\xff", b"Length: 3"] {
        assert_eq!(content_length(nonsense), None);
    }
}

#[test]
fn nothing_but_files_is_ever_asked_for() {
    let line = read_file_from(PATH, 0, 10).unwrap();
    let (_, words) = line.args.split_last().unwrap();
    let ran = Command::new("curl")
        .args(words)
        .arg("http://127.0.0.1:9/")
        .output();
    let Ok(output) = ran else { return };
    assert_eq!(output.status.code(), Some(1), "protocol not allowed");
    assert_eq!(line.args[0], "-q", "no settings of the account are read");
}

#[test]
fn events_are_followed_through_the_real_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"\xef\xbb\xbf").unwrap();
    let (mut cursor, mut seen) = (EventCursor::START, Vec::new());
    for number in 0..20 {
        // Torn at every other write.
        let line = format!("{{\"n\":{number}}}\r\n");
        let (left, right) = line.split_at(number % line.len());
        for part_of_line in [left, right] {
            file.write_all(part_of_line.as_bytes()).unwrap();
            let at = cursor.read_from();
            let Some((code, bytes)) = part(&path, at, 1 << 20) else {
                return;
            };
            assert_eq!(code, 0);
            let bytes = bytes.as_slice();
            let batch = cursor
                .advance(Piece {
                    at,
                    bytes,
                    is_end: true,
                })
                .unwrap();
            seen.extend(batch.events.iter().map(|event| event.raw["n"].as_u64().unwrap()));
            cursor = batch.to;
        }
    }
    assert_eq!(seen, (0..20).collect::<Vec<u64>>());
}

#[test]
fn a_path_becomes_a_url_or_is_refused() {
    let url = |path| read_file_from(path, 1, 2).map(|line| line.args.last().unwrap().clone());
    assert_eq!(url(r"C:\Lab\e.jsonl").unwrap(), "file:///C:/Lab/e.jsonl");
    assert_eq!(
        url(r"C:\Lab Station\e.jsonl").unwrap(),
        "file:///C:/Lab%20Station/e.jsonl"
    );
    for path in [
        r"C:\a b\c d",
        r"C:\a#b",
        r"C:\Zoë",
        r"\\server\share\e",
        r"C:\a[1]",
        r"C:\a{b}",
    ] {
        assert!(matches!(url(path), Err(PathError::NoUrl { .. })), "{path}");
    }
    assert!(matches!(
        url(r"C:\a%b"),
        Err(PathError::ForbiddenCharacter { .. })
    ));
    let line = read_file_from(PATH, 7, 3).unwrap();
    assert_eq!(line.program, r"C:\Windows\System32\curl.exe");
    assert_eq!(
        line.args,
        [
            "-q",
            "-s",
            "-S",
            "-g",
            "--proto",
            "=file",
            "-r",
            "7-9",
            "file:///C:/LabStation/data/events.jsonl"
        ]
    );
}
