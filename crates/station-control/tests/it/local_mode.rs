//! Local mode: the file on the host, written, removed and looked at.

use host_sim::{EffectKind, Fault, SimHost};
use serde_json::json;
use station_control::{LocalModeError, LocalModeReport};

use crate::bench::{Bench, LIMIT, awake, entry, settings};

const CHANGED: LocalModeReport = LocalModeReport {
    changed: true,
    verified: true,
};
const SAME: LocalModeReport = LocalModeReport {
    changed: false,
    verified: true,
};

/// The words behind `cmd /d /c` of each process so far.
fn words(host: &SimHost) -> Vec<String> {
    let effects = host.effects().into_iter();
    let lines = effects.filter_map(|effect| match effect.what {
        EffectKind::Command { program, argv, .. } if program.ends_with("cmd.exe") => Some(argv[3].clone()),
        _ => None,
    });
    lines.collect()
}

#[tokio::test]
async fn a_host_is_put_into_local_mode_and_taken_out_once() {
    let bench = Bench::start_with(awake(), settings(), entry).await;
    let set = |on| bench.control.set_local_mode(bench.name(), on, LIMIT);
    assert_eq!(set(true).await.unwrap(), CHANGED);
    assert_eq!(words(bench.sim()), ["if", "copy", "if"]);
    bench.sim().write_heartbeat();
    let read = bench
        .control
        .read_heartbeat(bench.name(), station_control::EventsRead::No, LIMIT)
        .await
        .unwrap();
    assert_eq!(read.heartbeat.local_mode, Some(true));
    assert_eq!(set(true).await.unwrap(), SAME);
    assert_eq!(set(false).await.unwrap(), CHANGED);
    assert_eq!(set(false).await.unwrap(), SAME);
    assert_eq!(words(bench.sim())[4..], ["if", "if", "del", "if", "if"]);
    bench.end().await;
}

#[tokio::test]
async fn a_path_with_blanks_is_one_path_and_a_change_not_taken_is_told() {
    let at = |path: &'static str| {
        move |sim: &SimHost| {
            let mut entry = entry(sim);
            entry.insert("local_mode_flag_path".into(), json!(path));
            entry
        }
    };
    let blanks = at(r"C:\Lab Station\labstation\data\local mode.flag");
    let bench = Bench::start_with(awake(), settings(), blanks).await;
    let set = |on| bench.control.set_local_mode(bench.name(), on, LIMIT);
    assert_eq!(
        (set(true).await.unwrap(), set(true).await.unwrap()),
        (CHANGED, SAME)
    );
    assert_eq!(set(false).await.unwrap(), CHANGED);
    bench.end().await;

    let bench = Bench::start_with(awake(), settings(), at(r"Z:\nowhere\local-mode.flag")).await;
    let error = bench
        .control
        .set_local_mode(bench.name(), true, LIMIT)
        .await
        .unwrap_err();
    let LocalModeError::NotTaken { said, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(said.contains("cannot find the path"), "{said}");
    bench.end().await;

    let bench = Bench::start_with(awake(), settings(), at(r"C:\Data")).await;
    let error = bench
        .control
        .set_local_mode(bench.name(), false, LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, LocalModeError::Path { .. }), "{error:?}");
    assert_eq!(bench.sim().counts().requests, 0, "nothing was sent");
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_refuses_is_told_as_such() {
    let bench = Bench::start_with(awake(), settings(), entry).await;
    bench.sim().set_fault(Fault::AccessDenied);
    let error = bench
        .control
        .set_local_mode(bench.name(), true, LIMIT)
        .await
        .unwrap_err();
    let LocalModeError::Station(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.code(), "access_denied");
    bench.end().await;
}
