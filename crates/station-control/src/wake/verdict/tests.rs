use labstation_commands::parse_heartbeat;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

const MAX_AGE: Duration = Duration::from_secs(180);

#[test]
fn computer_names_are_compared_as_windows_does() {
    assert!(same_computer("lab-ws-01", "LAB-WS-01"));
    assert!(same_computer("LAB-WORKSTATION-0001", "lab-workstation"));
    assert!(!same_computer("LAB-WORKSTATION-0001", "lab-work"));
    assert!(!same_computer("LAB-WS-01", "LAB-WS-01-OTHER"));
}

#[test]
fn a_boot_after_the_host_was_down_is_told_from_a_resumption() {
    let facts = |booted_at| Facts {
        computer_name: None,
        booted_at,
        clock_ahead: TimeDelta::zero(),
    };
    let down_at = at("09:00:00");
    let fresh = facts(at("08:59:59"));
    assert_eq!(
        Boot::judge(Some(&fresh), down_at),
        Boot::Fresh { at: at("08:59:59") },
        "within the slack"
    );
    let resumed = Boot::judge(Some(&facts(at("08:59:57"))), down_at);
    assert_eq!(
        resumed,
        Boot::Resumed {
            booted_at: at("08:59:57")
        }
    );
    assert_eq!(resumed.heartbeat_not_before(down_at), down_at);
    assert_eq!(Boot::judge(None, down_at), Boot::Unknown);
}

#[test]
fn a_heartbeat_is_as_old_as_the_stations_own_clock_says() {
    let now = at("12:00:00");
    let hour = TimeDelta::hours(1);
    let judged = |stamp, ahead, earliest| freshness(Some(stamp), ahead, now, MAX_AGE, earliest);
    assert_eq!(judged(at("12:59:00"), hour, None), Freshness::Fresh);
    assert_eq!(judged(at("10:59:30"), -hour, None), Freshness::Fresh);
    assert!(matches!(judged(at("12:56:59"), hour, None), Freshness::Stale(why) if why.contains("181 s old")));
    assert!(
        matches!(judged(at("12:59:00"), TimeDelta::zero(), None), Freshness::Stale(why) if why.contains("future"))
    );
    assert_eq!(
        freshness(None, hour, now, MAX_AGE, None),
        Freshness::Stale("the heartbeat has no readable stamp".into())
    );
}

#[test]
fn a_heartbeat_from_before_the_start_is_stale_however_young() {
    let judged = |stamp| {
        freshness(
            Some(stamp),
            TimeDelta::zero(),
            at("12:00:00"),
            MAX_AGE,
            Some(at("11:59:50")),
        )
    };
    assert!(matches!(judged(at("11:59:40")), Freshness::Stale(_)));
    assert_eq!(judged(at("11:59:49")), Freshness::Fresh, "within the slack");
}

#[test]
fn a_recent_order_to_go_down_is_noticed_until_it_is_carried_out_or_forgotten() {
    let heartbeat =
        |operations: &str| parse_heartbeat(format!("{{\"operations\": {operations}}}").as_bytes()).unwrap();
    let window = Duration::from_secs(120);
    let judged = |heartbeat: &Heartbeat, booted, now| {
        going_down(heartbeat, Some(booted), TimeDelta::zero(), now, window)
    };
    let power =
        heartbeat(r#"{"lastPowerAction": {"timestamp": "2026-03-01T09:00:00Z", "mode": "shutdown"}}"#);
    let why = judged(&power, at("08:00:00"), at("09:00:30")).unwrap();
    assert_eq!(why, "a shutdown was ordered at 09:00:00 UTC");
    assert_eq!(
        judged(&power, at("09:00:20"), at("09:00:30")),
        None,
        "it booted since"
    );
    assert_eq!(
        judged(&power, at("08:00:00"), at("09:03:00")),
        None,
        "it never went down"
    );
    let reboot = r#"{"lastPowerAction": [], "lastReleaseSession": {"timestamp": "2026-03-01T09:00:00Z", "rebootRequested": true}}"#;
    assert!(
        judged(&heartbeat(reboot), at("08:00:00"), at("09:00:30"))
            .unwrap()
            .contains("reboot")
    );
    let release = reboot.replace("true", "false");
    assert_eq!(judged(&heartbeat(&release), at("08:00:00"), at("09:00:30")), None);
}
