//! The program against the real service and simulated hosts.

use ops_api::Api;
use ops_runtime::SiteHandle;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::{Lab, asleep, awake, in_secs, reservations, until};
use crate::program::{Ran, command};

struct Site {
    lab: Lab,
    handle: SiteHandle,
    api: Api,
}

impl Site {
    async fn start() -> Self {
        let lab = Lab::start(vec![awake(1), asleep(2)])
            .await
            .with("OPS_SECRET", "the-secret-of-the-test");
        let handle = lab.plan().open(CancellationToken::new());
        let api = ops_api::start(handle.clone()).await.unwrap();
        handle.opened().await.unwrap();
        Self { lab, handle, api }
    }

    /// Runs the program, with the token.
    async fn opsctl(&self, arguments: &[&str]) -> Ran {
        self.opsctl_as("the-secret-of-the-test", arguments).await
    }

    async fn opsctl_as(&self, token: &str, arguments: &[&str]) -> Ran {
        let url = format!("http://{}", self.api.address());
        let mut command = command(&[("OPSCTL_URL", &url), ("OPSCTL_TOKEN", token)], arguments);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap();
        Ran::of(output.unwrap())
    }

    async fn stop(self) {
        self.api.stop().await;
        let site = self.handle.current().unwrap();
        site.engine.stop(std::time::Duration::from_secs(10)).await;
        site.close(std::time::Duration::from_secs(2)).await;
        drop(self.lab);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_at_the_terminal() {
    let site = Site::start().await;

    // A poll does not wait for a database that takes its time.
    until("a poll is kept", async || {
        let polled = site
            .opsctl(&["--json", "poll", "lab-ws-01"])
            .await
            .expect(0)
            .json();
        assert_eq!(polled["host"], "lab-ws-01");
        (polled["persisted"] == true).then_some(())
    })
    .await;

    let ran = site.opsctl(&["run", "lab-ws-01", "status-json"]).await;
    assert!(
        serde_json::from_str::<serde_json::Value>(&ran.expect(0).out).is_ok(),
        "{ran:?}"
    );

    let wake = ["--json", "wake", "lab-ws-02", "--wait", "1s", "--attempts", "20"];
    let woken = site.opsctl(&wake).await;
    assert_eq!(woken.expect(0).json()["success"], true);

    let db = site.handle.current().unwrap();
    reservations::book(&db.database, "r-1", "1", in_secs(-60), in_secs(3600)).await;
    let started = site
        .opsctl(&[
            "--json",
            "start",
            "r-1",
            "--host",
            "lab-ws-01",
            "--no-wake",
            "--guard-grace",
            "0s",
        ])
        .await;
    assert_eq!(started.expect(0).json()["success"], true);
    let told = site.opsctl(&["--json", "timeline", "r-1"]).await.expect(0).json();
    assert_eq!(told["operations"][0]["action"], "prepare");
    let text = site.opsctl(&["timeline", "r-1"]).await;
    assert!(text.expect(0).out.contains("prepare"), "{text:?}");

    for arguments in [
        &["explain", "r-1"][..],
        &["explain", "--host", "lab-ws-01"],
        &["workers"],
        &["health"],
    ] {
        assert!(
            !site.opsctl(arguments).await.expect(0).out.is_empty(),
            "{arguments:?}"
        );
    }
    let hosts = site
        .opsctl(&["--json", "hosts", "--lab", "1"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (
            hosts["hosts"].as_array().unwrap().len(),
            &hosts["hosts"][0]["name"]
        ),
        (1, &json!("lab-ws-01"))
    );
    site.opsctl(&[
        "maintenance",
        "lab-ws-02",
        "--reason",
        "new disk",
        "--until",
        "2h",
    ])
    .await
    .expect(0);
    // The service makes its list anew once in a while.
    until("the maintenance is shown", async || {
        let shown = site.opsctl(&["host", "lab-ws-02"]).await;
        shown.expect(0).out.contains("new disk").then_some(())
    })
    .await;
    site.opsctl(&["maintenance", "lab-ws-02", "--end"])
        .await
        .expect(0);
    let listed = site
        .opsctl(&["--json", "reservations", "--host", "lab-ws-01", "--from", "-1d"])
        .await;
    assert_eq!(listed.expect(0).json()["reservations"][0]["reservationId"], "r-1");
    let recent = site
        .opsctl(&["--json", "operations", "--reservation", "r-1"])
        .await
        .expect(0)
        .json();
    assert_eq!(recent["operations"][0]["action"], "prepare");
    let left = site.opsctl(&["run", "--detach", "lab-ws-01", "status"]).await;
    let id = left.expect(0).out.trim().to_owned();
    let followed = site
        .opsctl(&["--json", "operation", &id, "--follow"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&followed["state"], &followed["answer"]["status"]),
        (&json!("succeeded"), &json!(200))
    );
    site.opsctl(&["reload"]).await.expect(0);
    let beats = site
        .opsctl(&["--json", "watch", "lab-ws-01", "--count", "1", "--timeout", "60s"])
        .await;
    let beat: serde_json::Value = serde_json::from_str(beats.expect(0).out.trim()).unwrap();
    assert_eq!(beat["data"]["host"], "lab-ws-01");
    let hours = site
        .opsctl(&["--json", "hours", "lab-ws-01", "--from", "-2h"])
        .await
        .expect(0)
        .json();
    assert!(hours["hours"][0]["polls"].as_u64() >= Some(1), "{hours}");
    let arguments = [
        "--json",
        "history",
        "lab-ws-01",
        "ready",
        "--from",
        "-1h",
        "--step",
        "10m",
    ];
    let history = site.opsctl(&arguments).await.expect(0).json();
    assert_eq!(history["points"].as_array().map(Vec::len), Some(6), "{history}");
    let events = site
        .opsctl(&["--json", "events", "--host", "lab-ws-01"])
        .await
        .expect(0)
        .json();
    assert!(events["events"].is_array() && events["next"].is_i64(), "{events}");
    let following = ["events", "--follow", "--timeout", "1s", "--interval", "200ms"];
    site.opsctl(&following).await.expect(7);
    let audit = site
        .opsctl(&["--json", "audit", "--subject", "lab-ws-01"])
        .await
        .expect(0)
        .json();
    assert!(!audit["entries"].as_array().unwrap().is_empty());
    for arguments in [
        &["hosts"][..],
        &["reservations"],
        &["operations"],
        &["audit"],
        &["operation", &id],
    ] {
        assert!(
            !site.opsctl(arguments).await.expect(0).out.is_empty(),
            "{arguments:?}"
        );
    }
    site.opsctl(&["explain", "nothing-of-ours"]).await.expect(3);
    site.opsctl(&["poll", "nobody"]).await.expect(3);
    site.opsctl(&["run", "lab-ws-01", "format-disk"]).await.expect(2);
    site.opsctl_as("another-secret", &["explain", "r-1"])
        .await
        .expect(4);
    site.stop().await;
}
