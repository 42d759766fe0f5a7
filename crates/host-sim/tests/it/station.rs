//! What the station's commands do and leave behind.

use std::time::Duration;

use host_sim::{EffectKind, Fault, paths};
use serde_json::Value;

use crate::client::{Client, PROGRAM, plain, start};

struct Station {
    client: Client,
    shell: String,
}

impl Station {
    async fn of(host: &host_sim::SimHost) -> Self {
        let mut client = Client::connect(host).await.unwrap();
        let shell = client.create().await;
        Self { client, shell }
    }

    async fn run(&mut self, args: &str) -> (i32, String, String) {
        self.client.run(&self.shell, &format!("{PROGRAM} {args}")).await
    }

    async fn read(&mut self, path: &str) -> Option<String> {
        let (code, out, _) = self
            .client
            .run(&self.shell, &format!("cmd /c type \"{path}\""))
            .await;
        (code == 0).then_some(out)
    }

    async fn heartbeat(&mut self) -> Value {
        let text = self.read(paths::HEARTBEAT).await.unwrap();
        serde_json::from_str(text.strip_prefix('\u{FEFF}').unwrap()).unwrap()
    }
}

#[tokio::test]
async fn the_guard_logs_local_users_off_and_writes_it_down() {
    let mut spec = plain("a");
    spec.station.logged_on = vec!["teacher".into(), "LABUSER".into()];
    let (_farm, host) = start(spec).await;
    let mut station = Station::of(&host).await;
    assert_eq!(station.heartbeat().await["status"]["localSessionActive"], true);
    assert_eq!(
        station
            .run("session guard --grace=5 --message=\"Please leave\"")
            .await
            .0,
        0
    );
    assert_eq!(host.users(), ["LABUSER"]);
    let forced = EffectKind::ForcedLogoff {
        user: "teacher".into(),
    };
    assert_eq!(host.effects().iter().filter(|e| e.what == forced).count(), 1);
    let events = station.read(paths::EVENTS).await.unwrap();
    let event: Value = serde_json::from_str(events.trim_start_matches('\u{FEFF}').trim_end()).unwrap();
    assert_eq!((&event["user"], &event["grace"]), (&"teacher".into(), &30.into()));
    assert_eq!(event["sessionId"], true);
    assert_eq!(event["message"], "Please leave");
    let heartbeat = station.heartbeat().await;
    assert_eq!(heartbeat["operations"]["lastForcedLogoff"], event);
    assert_eq!(
        heartbeat["status"]["sessions"]["otherUsers"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn release_says_whether_somebody_was_there() {
    let mut spec = plain("a");
    spec.station.student_follows_prepare = true;
    let (_farm, host) = start(spec).await;
    let mut station = Station::of(&host).await;
    assert_eq!(
        station.heartbeat().await["operations"]["lastReleaseSession"],
        serde_json::json!([])
    );
    assert_eq!(station.run("release-session").await.0, 1);
    assert_eq!(station.run("prepare-session --guard-grace=90").await.0, 0);
    assert_eq!(host.users(), ["LABUSER"]);
    assert_eq!(station.run("release-session").await.0, 0);
    let released = &station.heartbeat().await["operations"]["lastReleaseSession"];
    assert_eq!(
        (&released["success"], &released["rebootRequested"]),
        (&true.into(), &false.into())
    );
    assert!(host.users().is_empty());
}

#[tokio::test]
async fn exit_codes_follow_the_stations_contract() {
    let (_farm, host) = start(plain("a")).await;
    let mut station = Station::of(&host).await;
    let table = [
        ("status", 0),
        ("energy audit", 0),
        ("service status", 0),
        ("recovery reboot-if-needed", 0),
        ("status-json C:\\Temp\\out.json", 0),
        ("", 2),
        ("nonsense", 2),
        ("power", 2),
        ("service explode", 2),
        ("prepare-session --guard-grace=soon", 2),
    ];
    for (args, code) in table {
        assert_eq!(station.run(args).await.0, code, "{args}");
    }
    assert!(
        station
            .read("c:/temp/OUT.json")
            .await
            .unwrap()
            .starts_with("\u{FEFF}{")
    );
    assert_eq!(station.read("C:\\no\\such").await, None);
    host.set_ready(false, &["disk nearly full"]);
    assert_eq!(station.run("prepare-session").await.0, 1);
    assert_eq!(station.heartbeat().await["summary"]["state"], "needs-action");
    host.set_fault(Fault::ExitCode {
        command: "prepare-session".into(),
        code: 7,
    });
    assert_eq!(station.run("prepare-session").await.0, 7);
}

#[tokio::test]
async fn the_heartbeat_shows_what_its_faults_say() {
    let (_farm, host) = start(plain("a")).await;
    let mut station = Station::of(&host).await;
    let whole = station.read(paths::HEARTBEAT).await.unwrap();
    host.set_fault(Fault::GarbledHeartbeat);
    assert_eq!(
        station.read(paths::HEARTBEAT).await.unwrap(),
        whole[..whole.len() / 2]
    );
    host.clear_faults();
    host.set_fault(Fault::NoHeartbeat);
    assert_eq!(station.read(paths::HEARTBEAT).await, None);
    host.clear_faults();
    host.set_fault(Fault::ClockSkew(chrono::Duration::hours(2)));
    host.write_heartbeat();
    let stamp = station.heartbeat().await["timestamp"]
        .as_str()
        .unwrap()
        .to_owned();
    let ahead =
        chrono::DateTime::parse_from_rfc3339(&stamp).unwrap().to_utc() - host.effects().last().unwrap().at;
    assert!((ahead.num_minutes() - 120).abs() <= 1, "{ahead}");
}

#[tokio::test]
async fn a_frozen_heartbeat_stays_as_it_is() {
    let options = host_sim::FarmOptions {
        heartbeat_every: Duration::from_millis(1),
        ..Default::default()
    };
    let farm = host_sim::Farm::start(vec![plain("a")], options).await.unwrap();
    let host = &farm.hosts()[0];
    let mut station = Station::of(host).await;
    host.set_fault(Fault::StaleHeartbeat);
    let before = station.heartbeat().await;
    host.log_on("teacher");
    station.run("prepare-session --no-guard").await;
    assert_eq!(station.heartbeat().await, before);
    host.clear_faults();
    let after = station.heartbeat().await;
    assert_eq!(after["operations"]["lastPrepareSession"]["success"], true);
}

#[tokio::test]
async fn local_mode_is_a_file_and_a_word_in_the_heartbeat() {
    let (_farm, host) = start(plain("a")).await;
    let mut station = Station::of(&host).await;
    assert_eq!(station.read(paths::LOCAL_MODE).await, None);
    host.local_mode(true);
    assert_eq!(station.heartbeat().await["status"]["localModeEnabled"], false);
    host.write_heartbeat();
    assert_eq!(station.heartbeat().await["status"]["localModeEnabled"], true);
    assert_eq!(station.read(paths::LOCAL_MODE).await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_stopped_service_writes_no_heartbeat() {
    let (_farm, host) = start(plain("a")).await;
    let mut station = Station::of(&host).await;
    assert_eq!(station.run("service stop").await.0, 0);
    let before = station.heartbeat().await;
    station.run("prepare-session").await;
    assert_eq!(station.heartbeat().await, before);
    station.run("service start").await;
    assert_eq!(
        station.heartbeat().await["operations"]["lastPrepareSession"]["success"],
        true
    );
}

#[tokio::test]
async fn the_heartbeat_is_rewritten_at_its_interval() {
    let mut spec = plain("a");
    spec.station.version = "9.9".into();
    let options = host_sim::FarmOptions {
        heartbeat_every: Duration::from_millis(20),
        ..Default::default()
    };
    let farm = host_sim::Farm::start(vec![spec], options).await.unwrap();
    let host = &farm.hosts()[0];
    let mut station = Station::of(host).await;
    host.local_mode(true);
    let shown = tokio::time::timeout(Duration::from_secs(60), async {
        while station.heartbeat().await["status"]["localModeEnabled"] != true {}
    });
    shown.await.unwrap();
    assert_eq!(station.heartbeat().await["version"], "9.9");
}
