//! Commands as steps and as callers give them.

use std::time::Duration;

use chrono::TimeDelta;
use host_sim::{At, Fault, PowerState};
use lab_model::{Clock as _, SystemClock};
use labstation_commands::ExitMeaning;
use reservation_engine::{Station, StepAction, StepOutcome};
use serde_json::json;
use station_control::EventsRead;
use winrm_transport::Effect;

use crate::bench::{Bench, LIMIT, asleep, awake, until, words};

#[tokio::test]
async fn a_prepared_session_is_reported_in_the_words_of_the_contract() {
    let bench = Bench::start(awake()).await;
    let args = vec![
        "--guard-grace=90".to_owned(),
        "--guard-message=Lab 7 begins".to_owned(),
    ];
    let report = bench.perform(StepAction::Prepare { args: args.clone() }).await;
    assert_eq!(report.outcome, StepOutcome::Done);
    assert_eq!(
        (report.message.as_str(), report.response_code),
        ("Exit code 0", Some(0))
    );
    let details = &report.details;
    assert_eq!(details["exitCode"], 0);
    assert_eq!(details["args"], json!(args));
    assert_eq!(
        (&details["stdout"], &details["stderr"]),
        (&json!("Session prepared"), &json!(""))
    );
    assert!(details["durationMs"].is_u64());
    let mut argv = vec![
        r"C:\LabStation\LabStation.exe".to_owned(),
        "prepare-session".to_owned(),
    ];
    argv.extend(args);
    assert_eq!(bench.commands(), [argv], "the words arrive as they are");
    bench.end().await;
}

#[tokio::test]
async fn exit_codes_mean_what_the_station_means() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault_times(
        Fault::ExitCode {
            command: "prepare-session".into(),
            code: 1,
        },
        1,
    );
    let report = bench.perform(StepAction::Prepare { args: Vec::new() }).await;
    assert_eq!(
        (report.outcome, report.response_code),
        (StepOutcome::DoneWithWarnings, Some(1))
    );

    bench.sim().set_fault_times(
        Fault::ExitCode {
            command: "release-session".into(),
            code: 2,
        },
        1,
    );
    let report = bench.perform(StepAction::Release { args: Vec::new() }).await;
    let StepOutcome::Failed(reason) = report.outcome else {
        panic!("{:?}", report.outcome)
    };
    assert_eq!(
        (reason.code.as_str(), report.response_code),
        ("exit_code", Some(2))
    );
    assert!(reason.detail.contains("could not be completed"), "{reason}");

    bench.sim().set_fault_times(
        Fault::ExitCode {
            command: "power".into(),
            code: 1,
        },
        1,
    );
    let report = bench
        .perform(StepAction::Power {
            mode: "shutdown".into(),
            args: Vec::new(),
        })
        .await;
    assert!(
        matches!(report.outcome, StepOutcome::Failed(_)),
        "{:?}",
        report.outcome
    );
    assert_eq!(bench.sim().power(), PowerState::Ready);
    bench.end().await;
}

#[tokio::test]
async fn a_command_on_a_sleeping_host_has_certainly_not_run() {
    let bench = Bench::start(asleep()).await;
    let report = bench.perform(StepAction::Prepare { args: Vec::new() }).await;
    let StepOutcome::Failed(reason) = report.outcome else {
        panic!("{:?}", report.outcome)
    };
    assert_eq!(reason.code, "connect");
    assert_eq!(
        (report.response_code, &report.details["exitCode"]),
        (None, &json!(null))
    );
    assert_eq!(report.details["error"]["code"], "connect");
    assert!(report.message.contains("lab-ws-01"), "{}", report.message);
    bench.end().await;
}

#[tokio::test]
async fn a_command_that_hangs_ends_at_its_deadline_with_an_unknown_effect() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault(Fault::CommandHangs {
        command: "prepare-session".into(),
    });
    let report = bench
        .perform_within(StepAction::Prepare { args: Vec::new() }, Duration::from_secs(8))
        .await;
    let StepOutcome::Unknown(reason) = report.outcome else {
        panic!("{:?}", report.outcome)
    };
    assert_eq!(reason.code, "deadline_expired");
    assert!(report.duration < LIMIT, "{:?}", report.duration);
    bench.sim().clear_faults();
    bench.end().await;
}

#[tokio::test]
async fn an_answer_lost_after_the_start_does_not_run_the_command_twice() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault_times(Fault::Reset(At::CommandAnswer), 1);
    let report = bench.perform(StepAction::Prepare { args: Vec::new() }).await;
    assert!(
        !matches!(report.outcome, StepOutcome::Failed(_)),
        "{:?}",
        report.outcome
    );
    assert_eq!(bench.commands().len(), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_release_that_reboots_is_confirmed_by_looking() {
    let bench = Bench::start(awake()).await;
    let before = bench.control.observe(bench.name(), LIMIT).await;
    // Boot times are told by a clock that is read over the network: a few seconds lie between these two.
    let booted = bench.sim().booted_at().unwrap();
    until("the boot is a while ago", || async {
        SystemClock.now() - booted > TimeDelta::seconds(5)
    })
    .await;
    let report = bench
        .perform(StepAction::Release {
            args: words("--reboot"),
        })
        .await;
    assert_eq!(
        report.outcome,
        StepOutcome::DoneWithWarnings,
        "nobody was logged on"
    );
    let sim = bench.sim();
    until("it has rebooted", || async {
        sim.boots() == 2 && sim.power() == PowerState::Ready
    })
    .await;
    let after = bench.control.observe(bench.name(), LIMIT).await;
    assert!(after.reachable);
    assert!(after.booted_at > before.booted_at, "{before:?} {after:?}");
    assert!(after.released_at.is_some());
    assert_eq!(after.ready, Some(true));
    bench.end().await;
}

#[tokio::test]
async fn looking_at_a_sleeping_host_shows_nothing() {
    let bench = Bench::start(asleep()).await;
    let seen = bench.control.observe(bench.name(), LIMIT).await;
    assert!(!seen.reachable);
    assert_eq!((seen.booted_at, seen.reported_at, seen.ready), (None, None, None));
    bench.end().await;
}

#[tokio::test]
async fn looking_shows_what_was_done() {
    let bench = Bench::start(awake()).await;
    let before = bench.control.observe(bench.name(), LIMIT).await;
    assert_eq!(
        (before.prepared_at, before.released_at, before.power_action_at),
        (None, None, None)
    );
    bench.perform(StepAction::Prepare { args: Vec::new() }).await;
    let after = bench.control.observe(bench.name(), LIMIT).await;
    assert!(after.prepared_at.is_some(), "{after:?}");
    assert_eq!(after.booted_at.is_some(), before.booted_at.is_some());
    bench.end().await;
}

#[tokio::test]
async fn callers_commands_give_code_and_output_as_received() {
    let bench = Bench::start(awake()).await;
    let report = bench
        .control
        .run(bench.name(), "status-json", &[], None)
        .await
        .unwrap();
    assert_eq!((report.exit_code, report.meaning), (0, ExitMeaning::Done));
    assert!(report.stdout.contains("schemaVersion"), "{}", report.stdout);
    let report = bench
        .control
        .run(bench.name(), "no-such-command", &[], None)
        .await
        .unwrap();
    assert_eq!(
        (report.exit_code, report.meaning),
        (2, ExitMeaning::Failed { code: 2 })
    );
    bench.end().await;
}

#[tokio::test]
async fn words_that_could_start_another_program_are_refused_before_anything_is_sent() {
    let bench = Bench::start(awake()).await;
    let connections = bench.sim().counts().connections;
    for args in [
        vec!["& whoami".to_owned()],
        vec!["%PATH%".to_owned()],
        vec!["a\nb".to_owned()],
    ] {
        let error = bench
            .control
            .run(bench.name(), "power", &args, None)
            .await
            .unwrap_err();
        assert_eq!((error.code(), error.effect()), ("command_refused", Effect::None));
        assert!(!error.is_host_problem());
        assert!(error.sentence().contains("argument 1"), "{}", error.sentence());
    }
    assert_eq!(bench.sim().counts().connections, connections);
    bench.end().await;
}

#[tokio::test]
async fn a_host_has_at_most_two_commands_at_once() {
    let mut spec = awake();
    spec.station.durations.prepare = Duration::from_millis(100);
    spec.station.durations.other = Duration::from_millis(100);
    let bench = Bench::start(spec).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (control, name) = (bench.control.clone(), bench.name().clone());
        tasks.spawn(async move {
            if number % 2 == 0 {
                control
                    .run(&name, "prepare-session", &[], Some(LIMIT))
                    .await
                    .map(drop)
            } else {
                control
                    .read_heartbeat(&name, EventsRead::No, LIMIT)
                    .await
                    .map(drop)
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap().unwrap();
    }
    let counts = bench.sim().counts();
    assert_eq!(counts.max_commands_at_once, 2, "one that acts and one that looks");
    assert_eq!(counts.commands, 12);
    assert_eq!((counts.shells_created, counts.handshakes), (2, 2));
    bench.end().await;
}
