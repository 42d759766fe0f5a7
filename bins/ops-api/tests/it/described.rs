//! The description of the API: held against the standard, against `docs/api.md`, and against the service by a tool that
//! makes up requests from it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use crate::harness::{Lab, awake, in_secs, migrate, reservations};
use crate::http::{Answer, call};
use crate::service::Service;

const SECRET: &str = "described-5b1c9e0a77d24f6e";
const KEY: &str = "a:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
/// How long the tool makes up requests at random, with all that comes before; a slow machine gets at least the second.
const SECONDS: [u64; 2] = [30, 10];
/// Longest for what has to be asked of every operation.
const THOROUGH: u64 = 100;
/// Streams do not end by themselves and have tests of their own; the description is what the tool reads first.
const NOT_MADE_UP: [&str; 3] = ["stream_heartbeats", "follow_operation", "show_description"];
const API: &str = include_str!("../../../../docs/api.md");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");

store_support::each_backend! {
    async fn made_up_requests_never_find_an_answer_that_is_not_described(test) {
        let lab = Lab::start(vec![awake(1), awake(2)]).await;
        let lab = lab.on(&test).with("OPS_SECRET", SECRET).with("OPS_SECRETS_KEY", KEY);
        let lab = lab.with("OPS_RATE_PER_MINUTE", "0");
        migrate(test.database()).await;
        for id in ["0x5f3a", "0x5f3c"] {
            reservations::book(test.database(), id, "1", in_secs(3600), in_secs(7200)).await;
        }
        let service = Service::start_in(lab).await;
        let Some(tool) = Tool::find(&service).await else {
            return service.stop().await;
        };
        // Long calls would be waited for, some for minutes as the request wants it: all are asked for their number.
        let began = Instant::now();
        let phases = |phases| ["--header", "Prefer: respond-async", "--phases", phases];
        let ran = tool.run(THOROUGH, &phases("examples,coverage")).await;
        tool.left_nothing_out(&ran, "");
        let left = SECONDS[0].saturating_sub(began.elapsed().as_secs()).max(SECONDS[1]);
        tool.run(left, &phases("fuzzing,stateful")).await;
        // And once as the older callers do, with the examples that the description itself gives.
        let ran = tool.run(THOROUGH, &["--include-path-regex", WAITED_FOR, "--phases", "examples"]).await;
        tool.left_nothing_out(&ran, WAITED_FOR);
        service.stop().await;
    }
}

/// What a caller may wait for.
const WAITED_FOR: &str = "/(wol|winrm|start|end)$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_is_valid_and_each_of_its_examples_fits() {
    let service = a_service().await;
    let Some(python) = interpreter() else {
        return service.stop().await;
    };
    let file = service.lab.folder.path().join("openapi.json");
    std::fs::write(&file, document(&service).await.to_string()).unwrap();
    let script = Path::new(PYTHON).join("description.py");
    let output = finish(Command::new(python).arg(script).arg(file)).await;
    assert!(output.status.success(), "{}", said(&output));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_stands_in_the_list_with_its_name_and_its_role() {
    let service = a_service().await;
    let document = document(&service).await;
    let mut lines = Vec::new();
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let text = |key: &str| operation[key].as_str().unwrap_or("-").to_owned();
            let method = method.to_uppercase();
            let summary = text("summary");
            let summary = summary.trim_end_matches('.');
            lines.push(format!(
                "| `{method} {path}` | {} | `{}` | {summary} |",
                text("x-role"),
                text("operationId")
            ));
            ids.push(text("operationId"));
        }
    }
    let listed: Vec<&str> = API.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(listed, lines, "docs/api.md has to hold\n{}\n", lines.join("\n"));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), lines.len(), "a name is there once");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_finds_all_that_it_names_under_both_prefixes() {
    let service = a_service().await;
    for prefix in ["", "/ops"] {
        let folder = format!("{prefix}/api/docs/");
        let page = get(&service, &folder).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html")),
            "{prefix}"
        );
        // The page's own script names the description, relative to the page.
        let mut names: Vec<&str> = ["src=\"", "href=\""]
            .iter()
            .flat_map(|attribute| page.text.split(attribute).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        names.push("../openapi.json");
        assert!(names.len() >= 5, "{names:?}");
        for name in names {
            let kind = match name.rsplit('.').next() {
                Some("css") => "text/css",
                Some("js") => "text/javascript",
                Some("png") => "image/png",
                Some("json") => "application/json",
                _ => panic!("{name} is of no kind that is known"),
            };
            let path = match name.strip_prefix("../") {
                Some(name) => format!("{prefix}/api/{name}"),
                None => format!("{folder}{}", name.trim_start_matches("./")),
            };
            let file = get(&service, &path).await;
            assert_eq!(
                (file.status, file.header("content-type")),
                (200, Some(kind)),
                "{path}"
            );
            assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        }
        let script = get(&service, &format!("{folder}swagger-initializer.js")).await;
        assert!(script.text.contains("../openapi.json"), "{}", script.text);
    }
    service.stop().await;
}

async fn a_service() -> Service {
    let lab = Lab::start(vec![]).await;
    Service::start_in(lab.with("OPS_SECRET", SECRET)).await
}

async fn get(service: &Service, path: &str) -> Answer {
    call(service.address(), "GET", path, &[("x-ops-token", SECRET)], "").await
}

async fn document(service: &Service) -> Value {
    get(service, "/api/openapi.json").await.expect(200)
}

/// The tool, told where the service is.
struct Tool {
    program: PathBuf,
    url: String,
    folder: PathBuf,
    document: Value,
}

impl Tool {
    async fn find(service: &Service) -> Option<Self> {
        Some(Self {
            program: interpreter()?.with_file_name("st"),
            url: format!("http://{}/api/openapi.json", service.address()),
            folder: service.lab.folder.path().to_owned(),
            document: document(service).await,
        })
    }

    /// Runs it, for so many seconds at most; what it says of itself is told when it found something. Gives its report, and
    /// what it said.
    async fn run(&self, seconds: u64, more: &[&str]) -> (Value, String) {
        let config = Path::new(PYTHON).join("schemathesis.toml");
        let mut command = Command::new(&self.program);
        command
            .arg("--config-file")
            .arg(config)
            .args(["--no-color", "run", &self.url])
            .args(["--header", &format!("X-Ops-Token: {SECRET}")])
            .args(["--max-time", &seconds.to_string(), "--seed", "7"])
            .args(["--request-timeout", "60", "--max-failures", "20"])
            .args([
                "--exclude-path-regex",
                "/heartbeat/stream$|/operations/.+/events$",
            ])
            .args(["--report", "json", "--report-json-path", "report.json"])
            .args(more)
            .current_dir(&self.folder);
        let output = finish(&mut command).await;
        assert!(output.status.success(), "{}", said(&output));
        let report = std::fs::read(self.folder.join("report.json")).unwrap();
        (serde_json::from_slice(&report).unwrap(), said(&output))
    }

    /// Checks that a run left out nothing on the paths that end like one of these.
    fn left_nothing_out(&self, (report, said): &(Value, String), ends: &str) {
        let missing = self.left_out(report, ends);
        assert!(missing.is_empty(), "left out: {missing:?}\n{said}");
    }

    /// The operations for which no request of the right form was ever made.
    fn left_out(&self, report: &Value, ends: &str) -> Vec<String> {
        let ends: Vec<&str> = ends.trim_matches(['/', '(', ')', '$']).split('|').collect();
        let mut left_out = Vec::new();
        let mut wanted = 0;
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                if NOT_MADE_UP.contains(&id) || !ends.iter().any(|end| path.ends_with(end)) {
                    continue;
                }
                wanted += 1;
                let name = format!("{} {path}", method.to_uppercase());
                let phases = report["valid_rates"][&name].as_object();
                let counts = phases.into_iter().flat_map(|phases| phases.values());
                let cases = counts
                    .filter_map(Value::as_object)
                    .flat_map(|counts| counts.values());
                if cases.filter_map(Value::as_u64).sum::<u64>() == 0 {
                    left_out.push(name);
                }
            }
        }
        assert!(wanted >= 4, "{wanted}");
        assert_eq!(report["operations"]["tested"], wanted, "{report:#}");
        assert!(
            report["test_cases"]["generated"].as_u64() >= Some(wanted),
            "{report:#}"
        );
        left_out
    }
}

/// Runs a program that ends by itself.
async fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(150), command.output()).await;
    ended.expect("it did not end in time").unwrap()
}

fn said(output: &Output) -> String {
    let [said, wrong] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{said}{wrong}")
}

/// Python with the pinned packages.
#[expect(
    clippy::disallowed_methods,
    reason = "the interpreter with the pinned packages is the test run's choice"
)]
fn interpreter() -> Option<PathBuf> {
    if let Ok(python) = std::env::var("INTEROP_PYTHON") {
        return Some(PathBuf::from(python));
    }
    assert!(
        std::env::var("REQUIRE_REAL").as_deref() != Ok("1"),
        "INTEROP_PYTHON not set, but REQUIRE_REAL=1"
    );
    None
}
