//! Quoting against the parsers of Windows: `CommandLineToArgvW` and the C runtime, which are two programs.
//!
//! What they make of our lines is recorded in `tests/data/quoting.json`, so that the ordinary test needs neither.
//! `WINE_ORACLE=1` asks the real ones, in a Wine prefix of its own, about many more lines; `WINE_ORACLE=record` also
//! writes the table anew. Needs `wine` and `x86_64-w64-mingw32-gcc`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::process;
use tokio::time::timeout;
use winrm_transport::Command;

/// What the two parsers made of one command line, without the program.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    /// What stood behind the program.
    line: String,
    argv: Vec<String>,
    crt: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Table {
    origin: String,
    /// Lines of ours: both columns are the arguments that were quoted.
    quoted: Vec<Row>,
    /// Lines of nobody, for the model of the parser that other tests rely on.
    raw: Vec<Row>,
}

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/quoting.json")
}

/// The line for these arguments, behind the program.
fn quoted(program: &str, args: &[String]) -> String {
    let command = Command::new(program).args(args).allow_cmd_metacharacters(true);
    let line = command.line().unwrap();
    line[program.len()..].to_owned()
}

#[test]
fn the_recorded_parsers_of_windows_read_what_was_quoted() {
    let table: Table = serde_json::from_slice(&std::fs::read(table()).unwrap()).unwrap();
    assert!(table.quoted.len() >= 300, "{} rows", table.quoted.len());
    for row in &table.quoted {
        assert_eq!(row.argv, row.crt, "the parsers differ on {:?}", row.line);
        assert_eq!(quoted("x.exe", &row.argv), row.line);
    }
}

#[tokio::test]
async fn wine_reads_what_was_quoted() {
    let Some(record) = wanted() else { return };
    let oracle = Oracle::start().await;
    let vectors = vectors();
    assert!(vectors.len() >= 1_000);
    let lines: Vec<_> = vectors.iter().map(|args| quoted(&oracle.program, args)).collect();
    let rows = oracle.ask(&lines).await;
    for (row, args) in rows.iter().zip(&vectors) {
        assert_eq!(&row.argv, args, "CommandLineToArgvW reads {:?}", row.line);
        assert_eq!(&row.crt, args, "the C runtime reads {:?}", row.line);
    }
    let raw = oracle.ask(&raw_lines()).await;
    if record {
        let table = Table {
            origin: "Wine 8.0 (shell32, msvcrt) with programs built by MinGW-w64 12; see tests/it/quoting.rs"
                .into(),
            quoted: rows
                .into_iter()
                .filter(|row| row.line.len() < 2_000)
                .take(359)
                .collect(),
            raw: raw.into_iter().take(200).collect(),
        };
        std::fs::write(super::quoting::table(), one_row_per_line(&table)).unwrap();
    }
}

/// Whether to run at all, and if so, whether to record.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the test run's choice; a skipped test must not look like a passed one"
)]
fn wanted() -> Option<bool> {
    match std::env::var("WINE_ORACLE").as_deref() {
        Ok("1") => Some(false),
        Ok("record") => Some(true),
        _ => {
            eprintln!("skipped: WINE_ORACLE not set");
            None
        }
    }
}

fn one_row_per_line(table: &Table) -> String {
    let rows = |rows: &[Row]| {
        let lines: Vec<_> = rows
            .iter()
            .map(|row| serde_json::to_string(row).unwrap())
            .collect();
        lines.join(",\n")
    };
    let origin = serde_json::to_string(&table.origin).unwrap();
    let (quoted, raw) = (rows(&table.quoted), rows(&table.raw));
    format!("{{\"origin\":{origin},\n\"quoted\":[\n{quoted}\n],\n\"raw\":[\n{raw}\n]}}\n")
}

/// Chosen by hand, then by lot from a fixed seed.
fn vectors() -> Vec<Vec<String>> {
    let mut vectors: Vec<Vec<String>> = [
        &[][..],
        &["a"],
        &[""],
        &["", "", ""],
        &["", "a", ""],
        &[" "],
        &["\t"],
        &["a b"],
        &["a\tb", "c"],
        &["\""],
        &["\"\""],
        &["\"\"\""],
        &["a\"b"],
        &["\"a b\""],
        &["\\"],
        &["\\\\"],
        &["\\\""],
        &["\\\\\""],
        &["\\\\\\\" \\\\"],
        &["a\\", "b"],
        &["a b\\", "c"],
        &["a b\\\\", "c"],
        &["\\\\server\\share\\", "\\\\?\\C:\\x y\\"],
        &["C:\\Program Files\\x.exe", "/s", "/v\"/qn\""],
        &["100%", "%OS%", "^%OS^%", "!x!"],
        &["&", "|", "<", ">", "^", "(", ")", "&&", "||"],
        &["a&b", "a|b", "a<b", "a>b", "a^b", "(a)"],
        &["*", "?", "*.c", "C:\\*"],
        &["@file", "-", "--", "/?"],
        &["a\nb", "\r\n", "\n"],
        &["'", "'a b'", "`x`", "$(x)"],
        &["a=b;c,d"],
        &["Prüfung ß", "日本語", "\u{1f600}", "a\u{a0}b", "\u{3000}"],
        &["\u{2019}", "\u{201c}a b\u{201d}", "\u{feff}x", "\u{7f}"],
        &["--message=say \"hi\" & bye\\"],
        &["x\"", "\"x", "x\" y", "y \"x"],
    ]
    .iter()
    .map(|args| args.iter().map(|arg| (*arg).to_owned()).collect())
    .collect();
    vectors.push(vec![
        "\\".repeat(40),
        "\\".repeat(41) + "\"",
        " ".to_owned() + &"\\".repeat(40),
    ]);
    vectors.push((0..200).map(|n| n.to_string()).collect());
    vectors.push(vec!["a b\\\" ".repeat(2_000)]);
    let mut lot = StdRng::seed_from_u64(20_261_121);
    let alphabet: Vec<char> = " \\\"\\\"\ta%&|<>^()!*?'=,;/-ü\u{1f600}\n\r".chars().collect();
    while vectors.len() < 1_200 {
        // The first half of the characters, blanks, quotes and backslashes, in half of the vectors.
        let known = if lot.random() { 7 } else { alphabet.len() };
        let count = lot.random_range(0..6);
        let one = |lot: &mut StdRng| -> String {
            let length = lot.random_range(0..12);
            (0..length)
                .map(|_| alphabet[lot.random_range(0..known)])
                .collect()
        };
        vectors.push((0..count).map(|_| one(&mut lot)).collect());
    }
    vectors
}

/// Lines that nobody would quote so. Without two quotes in a row, on which parsers are known to differ.
fn raw_lines() -> Vec<String> {
    let mut lot = StdRng::seed_from_u64(20_261_122);
    let alphabet = ['"', '\\', ' ', '\t', 'a', '"', '\\'];
    let mut lines = vec![String::new(), " ".into(), " a \"b".into(), " \\\\\"a b\\".into()];
    while lines.len() < 300 {
        let length = lot.random_range(0..14);
        let line: String = (0..length)
            .map(|_| alphabet[lot.random_range(0..alphabet.len())])
            .collect();
        if !line.contains("\"\"") {
            lines.push(format!(" {line}"));
        }
    }
    lines
}

/// Two small programs in a Wine prefix.
struct Oracle {
    folder: TempDir,
    /// As Windows names it.
    program: String,
}

impl Oracle {
    async fn start() -> Self {
        let folder = TempDir::with_prefix("wine-oracle.").unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wine");
        for name in ["args", "launch"] {
            let mut compiler = process::Command::new("x86_64-w64-mingw32-gcc");
            compiler.args(["-Wall", "-Wextra", "-Werror", "-municode", "-O1", "-o"]);
            compiler.arg(folder.path().join(format!("{name}.exe")));
            compiler.arg(sources.join(format!("{name}.c"))).arg("-lshell32");
            finish(compiler).await;
        }
        let program = windows_path(&folder.path().join("args.exe"));
        let oracle = Self { folder, program };
        let mut boot = oracle.wine("wine");
        boot.args(["wineboot", "-i"]);
        finish(boot).await;
        oracle
    }

    fn wine(&self, program: &str) -> process::Command {
        let prefix = self.folder.path().join("prefix");
        std::fs::create_dir_all(&prefix).unwrap();
        let mut command = process::Command::new(program);
        command.env("WINEPREFIX", &prefix).env("HOME", &prefix);
        command
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=");
        // Where the Wine server keeps its socket, and would leave its folder behind.
        command.env("TMPDIR", self.folder.path());
        command.env("ARGS_OUT", windows_path(&self.folder.path().join("out")));
        command
    }

    /// What both parsers make of each line, behind the program.
    async fn ask(&self, lines: &[String]) -> Vec<Row> {
        let mut bytes = Vec::new();
        for line in lines {
            let units: Vec<u16> = self.program.encode_utf16().chain(line.encode_utf16()).collect();
            bytes.extend((units.len() as u32).to_le_bytes());
            bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
        }
        let (input, out) = (self.folder.path().join("lines"), self.folder.path().join("out"));
        std::fs::write(&input, bytes).unwrap();
        std::fs::write(&out, "").unwrap();
        let mut launch = self.wine("wine");
        launch
            .arg(self.folder.path().join("launch.exe"))
            .arg(windows_path(&input));
        finish(launch).await;
        let answers = std::fs::read_to_string(out).unwrap();
        let answers: Vec<Answer> = answers
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(answers.len(), lines.len());
        let row = |(line, Answer { mut argv, mut crt }): (&String, Answer)| {
            assert_eq!((&argv[0], &crt[0]), (&self.program, &self.program));
            argv.remove(0);
            crt.remove(0);
            Row {
                line: line.clone(),
                argv,
                crt,
            }
        };
        lines.iter().zip(answers).map(row).collect()
    }
}

/// Ends the Wine server of this prefix, and with it every program there; the folder goes with the value.
impl Drop for Oracle {
    fn drop(&mut self) {
        for order in ["-k", "-w"] {
            let _ = self.wine("wineserver").as_std_mut().arg(order).status();
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    argv: Vec<String>,
    crt: Vec<String>,
}

/// Wine shows the root folder as drive Z.
fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}

async fn finish(mut command: process::Command) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let status = timeout(Duration::from_secs(300), command.status()).await;
    let status = status.unwrap_or_else(|_| panic!("{command:?} does not end"));
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
