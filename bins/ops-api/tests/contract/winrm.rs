//! 1.3: `POST /api/winrm`.

use host_sim::Fault;
use serde_json::{Value, json};

use crate::harness::{commands, count};
use crate::site::{Site, has_keys};

fn run(host: &str, command: &str, args: Value) -> Value {
    json!({"host": host, "command": command, "args": args})
}

walk! {
    Site::start;

    async fn s1_3_winrm_answers_with_exit_code_outputs_and_duration(site) {
        let body = site.post("/api/winrm", run("lab-ws-01", "status-json", json!([]))).await.expect(200);
        has_keys(&body, &["exit_code", "stdout", "stderr", "duration_ms"]);
        assert_eq!((&body["exit_code"], &body["stderr"]), (&json!(0), &json!("")));
        assert!(body["stdout"].as_str().unwrap().contains("schemaVersion"), "text as received: {body}");
    }

    async fn s1_3_winrm_answers_200_whatever_the_exit_code(site) {
        let host = site.lab.sim(1);
        host.set_fault(Fault::ExitCode { command: "energy".into(), code: 7 });
        let body = site.post("/api/winrm", run("lab-ws-01", "energy", json!(["audit"]))).await.expect(200);
        assert_eq!(body["exit_code"], 7);
        host.clear_faults();
    }

    async fn s1_3_winrm_checks_fields_then_command_then_host(site) {
        for (body, status, words) in [
            (json!({"host": "nobody"}), 400, "host and command are required"),
            (run("nobody", "format", json!([])), 400, "command 'format' not allowed"),
            (run("nobody", "Status", json!([])), 400, "command 'Status' not allowed"),
            (run("NoBody", "status", json!([])), 404, "host 'NoBody' not found in config"),
        ] {
            assert_eq!(site.post("/api/winrm", body).await.expect(status)["error"], words);
        }
    }

    async fn s1_3_winrm_allows_every_word_of_the_default_list(site) {
        for word in ["prepare-session", "release-session", "power", "session", "energy", "status-json", "recovery",
            "account", "service", "wol", "status"] {
            let answer = site.post("/api/winrm", run("nobody", word, json!([]))).await;
            assert_eq!(answer.expect(404)["error"], "host 'nobody' not found in config", "{word}");
        }
    }

    async fn s1_3_winrm_sends_separate_arguments_and_leaves_no_row_in_the_history(site) {
        let args = json!(["--reason=Remote order", 5]);
        site.post("/api/winrm", run("lab-ws-01", "session", args)).await.expect(200);
        assert_eq!(commands(site.lab.sim(1), "session").last().unwrap().1, ["--reason=Remote order", "5"]);
        assert_eq!(count(site.database(), "SELECT COUNT(*) FROM reservation_operations").await, 0);
    }
}
