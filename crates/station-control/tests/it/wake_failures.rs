//! Wakes that fail, each at the right rung and for the right reason.

use std::time::Duration;

use host_sim::{At, Fault, PowerState};
use lab_model::HostName;
use reservation_engine::{StepAction, StepOutcome, WakeOrder};
use serde_json::json;
use station_control::{Rung, RungState, WakeReport};

use crate::bench::{Bench, LIMIT, asleep, awake, entry, settings};

/// Long enough for the rungs below the failing one; the test waits for all of it.
const SHORT: Duration = Duration::from_secs(8);

fn failed_at(report: &WakeReport) -> (&str, &str) {
    let reason = report.failure.as_ref().expect("it fails");
    let last = report.rungs.last().expect("a rung");
    assert_eq!(last.state, RungState::Failed);
    assert_eq!(Some(last.rung.as_str()), reason.rung.as_deref());
    (last.rung.as_str(), reason.code.as_str())
}

#[tokio::test]
async fn a_host_that_never_boots_fails_at_the_port_with_no_more_packets_than_allowed() {
    let bench = Bench::start(asleep()).await;
    bench.sim().set_fault(Fault::NeverBoots);
    let order = WakeOrder {
        attempts: Some(2),
        ping_timeout: Some(Duration::from_millis(100)),
        ..WakeOrder::default()
    };
    let report = bench.control.wake(bench.name(), &order, SHORT).await;
    assert_eq!(failed_at(&report), ("tcp_port", "port_closed"));
    assert_eq!((report.attempts_requested, report.attempts_used), (2, 2));
    assert_eq!(bench.sim().counts().packets_valid, 2);
    let step = report.into_step_report();
    assert_eq!(step.response_code, Some(504));
    assert!(
        step.message.starts_with("Host did not respond: "),
        "{}",
        step.message
    );
    assert!(matches!(step.outcome, StepOutcome::Failed(_)));
    bench.end().await;
}

#[tokio::test]
async fn a_port_that_is_open_but_serves_nothing_fails_at_the_answer() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault(Fault::Http503 { retry_after: None });
    let report = bench.wake_within(SHORT).await;
    assert_eq!(failed_at(&report), ("winrm_answer", "service_unavailable"));
    bench.sim().clear_faults();
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_hangs_ends_the_wake_at_its_deadline() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault(Fault::Hang(At::Get));
    let report = bench.wake_within(SHORT).await;
    assert_eq!(failed_at(&report).0, "winrm_answer");
    assert!(report.duration < LIMIT, "{:?}", report.duration);
    bench.sim().clear_faults();
    bench.end().await;
}

#[tokio::test]
async fn a_station_that_is_not_ready_fails_with_its_issues() {
    let bench = Bench::start(awake()).await;
    bench
        .sim()
        .set_ready(false, &["autologon is off", "disk is full"]);
    bench.sim().write_heartbeat();
    let report = bench.wake_within(SHORT).await;
    assert_eq!(failed_at(&report), ("heartbeat_ready", "not_ready"));
    let detail = &report.failure.as_ref().unwrap().detail;
    assert!(
        detail.contains("autologon is off") && detail.contains("disk is full"),
        "{detail}"
    );
    assert_eq!(report.observed.unwrap().ready, Some(false));
    bench.end().await;
}

#[tokio::test]
async fn an_old_heartbeat_fails_at_the_last_rung() {
    let mut settings = settings();
    settings.wake.max_heartbeat_age = Duration::ZERO;
    let bench = Bench::start_with(awake(), settings, entry).await;
    let report = bench.wake_within(SHORT).await;
    assert_eq!(failed_at(&report), ("heartbeat_ready", "heartbeat_stale"));
    bench.end().await;
}

#[tokio::test]
async fn a_heartbeat_that_is_missing_or_garbled_fails_at_the_last_rung() {
    for (fault, code) in [
        (Fault::NoHeartbeat, "heartbeat_missing"),
        (Fault::GarbledHeartbeat, "heartbeat_unreadable"),
    ] {
        let bench = Bench::start(awake()).await;
        bench.sim().set_fault(fault);
        let report = bench.wake_within(SHORT).await;
        assert_eq!(failed_at(&report), ("heartbeat_ready", code));
        assert!(report.observed.unwrap().booted_at.is_some());
        bench.end().await;
    }
}

#[tokio::test]
async fn another_machine_at_the_address_is_noticed() {
    let bench = Bench::start(awake()).await;
    assert_eq!(bench.wake().await.failure, None);
    bench.pull_the_plug().await;
    bench.sim().set_fault(Fault::WakesAsAnotherMachine);
    let report = bench.wake().await;
    assert_eq!(failed_at(&report), ("winrm_answer", "another_machine"));
    let detail = &report.failure.as_ref().unwrap().detail;
    assert!(detail.contains("LAB-WS-01-OTHER"), "{detail}");
    bench.end().await;
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_in_a_wake() {
    let bench = Bench::start_with(asleep(), settings(), |sim| {
        let mut entry = entry(sim);
        entry.insert("winrm_pass".into(), json!("not the password"));
        entry
    })
    .await;
    let report = bench.wake().await;
    assert_eq!(failed_at(&report), ("winrm_answer", "unauthorized"));
    assert_eq!(bench.sim().counts().refused_credentials, 1);
    let shown = format!("{report:?}");
    assert!(!shown.contains("not the password"), "{shown}");
    bench.end().await;
}

#[tokio::test]
async fn a_sleeping_host_without_a_card_cannot_be_woken() {
    let bench = Bench::start_with(asleep(), settings(), |sim| {
        let mut entry = entry(sim);
        entry.remove("mac");
        entry
    })
    .await;
    let report = bench.perform(StepAction::Wake(WakeOrder::default())).await;
    assert_eq!(
        (report.message.as_str(), report.response_code),
        ("MAC address not configured", None)
    );
    assert_eq!(report.details, json!({}));
    let StepOutcome::Failed(reason) = report.outcome else {
        panic!("{:?}", report.outcome)
    };
    assert_eq!(
        (reason.code.as_str(), reason.rung.as_deref()),
        ("no_mac", Some(Rung::PacketSent.as_str()))
    );
    assert_eq!(bench.sim().power(), PowerState::Off);
    bench.end().await;
}

#[tokio::test]
async fn an_address_outside_the_allowed_networks_gets_no_packet() {
    for address in [None, Some("localhost")] {
        let mut settings = settings();
        settings.allowed_networks = vec!["10.0.0.0/8".parse().unwrap()];
        let bench = Bench::start_with(asleep(), settings, |sim| {
            let mut entry = entry(sim);
            entry.insert("broadcast".into(), json!("255.255.255.255"));
            if let Some(name) = address {
                entry.insert("address".into(), json!(name));
            }
            entry
        })
        .await;
        let report = bench.wake().await;
        assert_eq!(failed_at(&report), ("packet_sent", "address_not_allowed"));
        assert_eq!(report.attempts_used, 0);
        let counts = bench.sim().counts();
        assert_eq!(
            (counts.packets_valid, counts.packets_invalid, counts.connections),
            (0, 0, 0)
        );
        let refused = bench
            .control
            .run(bench.name(), "status-json", &[], None)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "address_not_allowed");
        assert_eq!(bench.sim().counts().connections, 0);
        bench.end().await;
    }
}

#[tokio::test]
async fn a_packet_that_cannot_be_sent_is_named_as_the_reason() {
    let bench = Bench::start_with(asleep(), settings(), |sim| {
        let mut entry = entry(sim);
        entry.insert("wol_interface".into(), json!("nosuch0"));
        entry
    })
    .await;
    let report = bench.wake().await;
    assert_eq!(failed_at(&report), ("packet_sent", "send_failed"));
    assert!(
        report.failure.as_ref().unwrap().detail.contains("nosuch0"),
        "{report:?}"
    );
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_is_not_in_the_catalog_is_refused_by_name() {
    let bench = Bench::start(asleep()).await;
    let name = HostName::parse("nobody").unwrap();
    let report = bench.control.wake(&name, &WakeOrder::default(), SHORT).await;
    assert_eq!(failed_at(&report), ("packet_sent", "unknown_host"));
    assert!(report.message().contains("nobody"), "{}", report.message());
    bench.end().await;
}

#[tokio::test]
async fn an_account_without_the_right_to_a_shell_fails_at_once() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault(Fault::FaultCode(5, At::Get));
    bench.sim().set_fault(Fault::AccessDenied);
    let report = bench.wake().await;
    assert_eq!(failed_at(&report), ("winrm_answer", "access_denied"));
    assert!(
        report.duration < LIMIT,
        "not at its deadline: {:?}",
        report.duration
    );
    bench.end().await;
}
