//! Wakes that succeed.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use host_sim::{At, Farm, FarmOptions, Fault, HostSpec, PowerState};
use lab_model::{Clock, HostName, SystemClock};
use reservation_engine::{StepAction, StepOutcome, WakeOrder};
use station_control::{HeartbeatPolicy, Rung, RungState, SharedCatalog, StationControl, WakeReport};

use crate::bench::{Bench, LIMIT, asleep, awake, catalog, entry, settings, until, words};

fn states(report: &WakeReport) -> Vec<(Rung, RungState)> {
    report.rungs.iter().map(|rung| (rung.rung, rung.state)).collect()
}

#[tokio::test]
async fn a_sleeping_host_is_woken_and_every_rung_is_named() {
    let bench = Bench::start(asleep()).await;
    let report = bench.wake().await;
    assert_eq!(report.failure, None);
    let climbed: Vec<_> = Rung::ALL
        .into_iter()
        .map(|rung| (rung, RungState::Climbed))
        .collect();
    assert_eq!(states(&report), climbed, "{:#?}", report.rungs);
    let times: Vec<_> = report.rungs.iter().map(|rung| rung.after).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(!report.already_awake);
    assert_eq!(report.attempts_used, 1);
    let counts = bench.sim().counts();
    assert_eq!((counts.packets_valid, counts.packets_invalid), (1, 0));
    assert_eq!((bench.sim().boots(), bench.sim().power()), (1, PowerState::Ready));
    let seen = report.observed.unwrap();
    assert!(seen.reachable);
    assert_eq!((seen.ready, seen.local_mode), (Some(true), Some(false)));
    let difference = seen.booted_at.unwrap() - bench.sim().booted_at().unwrap();
    assert!(difference.abs() < TimeDelta::seconds(60), "{difference}");
    bench.end().await;
}

#[tokio::test]
async fn the_step_of_a_wake_has_the_details_of_the_contract() {
    let bench = Bench::start(asleep()).await;
    let report = bench.perform(StepAction::Wake(WakeOrder::default())).await;
    assert_eq!(
        (report.message.as_str(), report.response_code),
        ("Host reachable", Some(200))
    );
    assert_eq!(report.outcome, StepOutcome::Done);
    let details = &report.details;
    for key in [
        "mac",
        "pingTarget",
        "attemptsRequested",
        "attemptsUsed",
        "waitSeconds",
        "port",
        "broadcast",
    ] {
        assert!(!details[key].is_null(), "{key}: {details}");
    }
    assert_eq!(details["alreadyAwake"], false);
    assert_eq!(details["rungs"].as_array().unwrap().len(), 5);
    assert_eq!(details["rungs"][4]["rung"], "heartbeat_ready");
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_is_awake_gets_no_packet() {
    let bench = Bench::start(awake()).await;
    let report = bench.wake().await;
    assert_eq!(report.failure, None);
    assert!(report.already_awake);
    assert_eq!(report.attempts_used, 0);
    assert_eq!(states(&report)[0], (Rung::PacketSent, RungState::Skipped));
    assert_eq!(states(&report)[3], (Rung::BootedAfterPacket, RungState::Skipped));
    let counts = bench.sim().counts();
    assert_eq!(counts.packets_valid + counts.packets_invalid, 0);
    assert_eq!(bench.sim().boots(), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_boots_twice_is_waited_for() {
    let bench = Bench::start(asleep()).await;
    bench.sim().set_fault(Fault::BootsTwice);
    let report = bench.wake().await;
    assert_eq!(report.failure, None);
    // Whether the first of the two boots became ready before the second began is the host's affair; what counts
    // is that the next wake finds it up for good.
    let sim = bench.sim();
    until("it has booted twice", || async {
        sim.boots() == 2 && sim.power() == PowerState::Ready
    })
    .await;
    assert_eq!(bench.wake().await.failure, None);
    assert_eq!(bench.sim().counts().packets_valid, 1);
    bench.end().await;
}

#[tokio::test]
async fn a_clock_that_is_an_hour_wrong_does_not_matter() {
    for skew in [TimeDelta::hours(1), TimeDelta::hours(-1)] {
        let bench = Bench::start(asleep()).await;
        bench.sim().set_fault(Fault::ClockSkew(skew));
        let report = bench.wake().await;
        assert_eq!(report.failure, None);
        let seen = report.observed.unwrap();
        let now = SystemClock.now();
        for stamp in [seen.booted_at.unwrap(), seen.reported_at.unwrap()] {
            assert!(
                (now - stamp).abs() < TimeDelta::seconds(60),
                "{stamp} is not by our clock, it is {now}"
            );
        }
        assert_eq!(bench.wake().await.failure, None, "awake");
        bench.end().await;
    }
}

#[tokio::test]
async fn local_mode_is_seen_and_not_judged() {
    let mut spec = asleep();
    spec.station.local_mode = true;
    let bench = Bench::start_with(spec, with_warnings(), entry).await;
    let report = bench.wake().await;
    assert_eq!(report.failure, None);
    assert_eq!(report.observed.unwrap().local_mode, Some(true));
    bench.end().await;
}

#[tokio::test]
async fn a_station_that_is_not_ready_passes_with_a_warning_where_that_is_wanted() {
    let bench = Bench::start_with(awake(), with_warnings(), entry).await;
    bench.sim().set_ready(false, &["autologon is off"]);
    bench.sim().write_heartbeat();
    let report = bench.perform(StepAction::Wake(WakeOrder::default())).await;
    assert_eq!(report.outcome, StepOutcome::DoneWithWarnings);
    assert!(
        report.details["warnings"][0]
            .as_str()
            .unwrap()
            .contains("autologon is off"),
        "{}",
        report.details
    );
    assert_eq!(report.observed.unwrap().ready, Some(false));
    bench.end().await;
}

fn with_warnings() -> station_control::Settings {
    let mut settings = settings();
    settings.wake.heartbeat = HeartbeatPolicy::WarnAfter(Duration::from_millis(200));
    settings
}

#[tokio::test]
async fn a_hibernated_host_is_woken_although_it_does_not_boot() {
    let bench = Bench::start(awake()).await;
    // The boot must be clearly older than the packet, or it could pass for one that the packet caused.
    let booted = bench.sim().booted_at().unwrap();
    until("the boot is a while ago", || async {
        SystemClock.now() - booted > TimeDelta::seconds(10)
    })
    .await;
    let report = bench
        .perform(StepAction::Power {
            mode: "hibernate".into(),
            args: Vec::new(),
        })
        .await;
    assert_eq!(report.outcome, StepOutcome::Done);
    assert!(bench.sim().wait_for(PowerState::Off, LIMIT).await);
    let report = bench.wake().await;
    assert_eq!(report.failure, None);
    let boot = &report.rungs[3];
    assert_eq!(boot.state, RungState::Climbed);
    assert!(boot.detail.contains("resumed"), "{}", boot.detail);
    assert_eq!((bench.sim().boots(), bench.sim().counts().packets_valid), (1, 1));
    // Its shell may have survived with it: the host takes no more orders once it is going down.
    bench.end_with_shells(1).await;
}

#[tokio::test]
async fn a_host_that_is_going_down_is_not_taken_for_one_that_is_awake() {
    let mut spec = awake();
    spec.shutdown = Duration::from_millis(1500)..Duration::from_millis(1600);
    let bench = Bench::start(spec).await;
    let ordered = bench
        .control
        .run(bench.name(), "power", &words("shutdown"), Some(LIMIT))
        .await
        .unwrap();
    assert_eq!(ordered.exit_code, 0);
    let report = bench.wake().await;
    assert_eq!(report.failure, None);
    assert!(!report.already_awake);
    assert_eq!((bench.sim().boots(), bench.sim().counts().packets_valid), (2, 1));
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_does_not_tell_its_boot_time_is_known_by_its_heartbeat() {
    let bench = Bench::start(asleep()).await;
    bench.sim().set_fault(Fault::FaultCode(5, At::Get));
    let report = bench.wake().await;
    assert_eq!(report.failure, None);
    let rungs = &report.rungs;
    assert_eq!(rungs[2].state, RungState::Climbed);
    assert!(rungs[2].detail.contains("does not tell"), "{}", rungs[2].detail);
    assert_eq!(rungs[3].state, RungState::Skipped);
    assert!(rungs[3].detail.contains("unknown"), "{}", rungs[3].detail);
    assert_eq!(report.observed.unwrap().booted_at, None);
    bench.end().await;
}

#[tokio::test]
async fn a_whole_class_is_woken_at_once() {
    let specs = host_sim::addresses::block(24)
        .into_iter()
        .enumerate()
        .map(|(number, address)| {
            let number = u8::try_from(number).unwrap();
            HostSpec::new(format!("lab-ws-{number:02}"), address, [2, 0, 0, 1, 0, number])
        });
    let farm = Farm::start(specs.collect(), FarmOptions::default())
        .await
        .unwrap();
    let catalog = SharedCatalog::new(catalog(farm.hosts().iter().map(entry).collect()));
    let control = StationControl::new(catalog, settings(), Arc::new(SystemClock));
    let mut wakes = tokio::task::JoinSet::new();
    for host in farm.hosts() {
        let (control, name) = (control.clone(), HostName::parse(host.name()).unwrap());
        wakes.spawn(async move { control.wake(&name, &WakeOrder::default(), LIMIT).await });
    }
    while let Some(report) = wakes.join_next().await {
        assert_eq!(report.unwrap().failure, None);
    }
    for host in farm.hosts() {
        assert_eq!(
            (host.boots(), host.counts().packets_valid, host.power()),
            (1, 1, PowerState::Ready)
        );
    }
    control.close(LIMIT).await;
    farm.stop().await;
}
