//! `LabStation.exe`: the station's commands, their effects and exit codes.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::documents::stamp;
use super::json as station_json;
use super::programs::{Call, pause};
use crate::effects::{Cause, EffectKind};
use crate::faults::Fault;
use crate::host::{Order, Then};

/// Done.
const OK: i32 = 0;
/// Done, with warnings.
const WARNINGS: i32 = 1;
/// Failed, or not understood.
const FAILED: i32 = 2;

/// Shortest grace the session guard gives a local user, in seconds.
const LEAST_GRACE: u64 = 30;

/// The words and options of one call.
struct Options<'a> {
    words: Vec<&'a str>,
    options: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Options<'a> {
    fn parse(args: &'a [String]) -> Self {
        let (options, words): (Vec<&str>, Vec<&str>) = args
            .iter()
            .map(String::as_str)
            .partition(|arg| arg.starts_with("--"));
        let options = options
            .into_iter()
            .map(|option| match option[2..].split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (&option[2..], None),
            })
            .collect();
        Self { words, options }
    }

    fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.options
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| *value)
    }

    /// Seconds given for an option.
    fn seconds(&self, name: &str, default: u64) -> Result<u64, Usage> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Usage(format!("--{name} must be a number of seconds, not {text:?}"))),
        }
    }
}

/// The call was not understood.
struct Usage(String);

/// Runs one command of the station.
pub(super) async fn run(call: &Call<'_>, args: &[String]) -> i32 {
    let options = Options::parse(args);
    let asked = options.words.join(" ");
    let hangs = call.host.faults.take(|f| match f {
        Fault::CommandHangs { command } if asked.starts_with(command.as_str()) => Some(()),
        _ => None,
    });
    if hangs.is_some() {
        return std::future::pending().await;
    }
    let forced = call.host.faults.take(|f| match f {
        Fault::ExitCode { command, code } if asked.starts_with(command.as_str()) => Some(*code),
        _ => None,
    });
    if let Some(code) = forced {
        call.err("the operation could not be completed\n");
        return code;
    }
    match dispatch(call, &options).await {
        Ok(code) => code,
        Err(Usage(problem)) => {
            call.err(&format!("{problem}\nUsage: LabStation.exe <command> [options]\n"));
            FAILED
        }
    }
}

async fn dispatch(call: &Call<'_>, options: &Options<'_>) -> Result<i32, Usage> {
    let pauses = &call.host.spec.station.durations;
    let first = options
        .words
        .first()
        .copied()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let second = options
        .words
        .get(1)
        .copied()
        .unwrap_or_default()
        .to_ascii_lowercase();
    match (first.as_str(), second.as_str()) {
        ("prepare-session", _) => prepare(call, options).await,
        ("release-session", _) => release(call, options).await,
        ("session", "guard") => {
            pause(pauses.guard).await;
            let grace = options.seconds("grace", 120)?;
            let message = options
                .text("message")
                .unwrap_or("This computer is needed for a reserved laboratory");
            guard(call, grace, message).await;
            call.out("Session guard completed\n");
            Ok(OK)
        }
        ("power", "shutdown") => power(call, options, Then::Off).await,
        ("power", "hibernate") => power(call, options, Then::Hibernate).await,
        ("recovery", "reboot-if-needed") => recover(call, options).await,
        ("status-json", _) => {
            pause(pauses.other).await;
            Ok(status_json(call, options.words.get(1).copied()))
        }
        ("service", verb @ ("start" | "stop" | "status" | "install" | "uninstall")) => {
            pause(pauses.other).await;
            Ok(service(call, verb))
        }
        ("status", _) => report(call, "Lab Station is installed\n").await,
        ("energy", "audit") => report(call, "Energy audit: no findings\n").await,
        ("account", _) => report(call, "Account is in order\n").await,
        ("wol", _) => report(call, "Wake-on-LAN is armed\n").await,
        ("", _) => Err(Usage("no command given".into())),
        _ => Err(Usage(format!("unknown command: {}", options.words.join(" ")))),
    }
}

async fn report(call: &Call<'_>, text: &str) -> Result<i32, Usage> {
    pause(call.host.spec.station.durations.other).await;
    call.out(text);
    Ok(OK)
}

/// Station time to farm time.
fn scaled(call: &Call<'_>, seconds: u64) -> Duration {
    // Factors and seconds come from the test; the cap keeps nonsense from overflowing the clock.
    let scale = call.host.spec.station.grace_scale.max(0.0);
    Duration::try_from_secs_f64(seconds as f64 * scale)
        .unwrap_or(Duration::MAX)
        .min(Duration::from_secs(86_400))
}

/// Warns local users, waits, and logs them off.
async fn guard(call: &Call<'_>, grace: u64, message: &str) {
    if call.host.lock().station.other_users().is_empty() {
        return;
    }
    let grace = grace.max(LEAST_GRACE);
    pause(scaled(call, grace)).await;
    let moment = call.host.moment();
    let left = call.host.lock().station.other_users();
    for session in left {
        call.host
            .lock()
            .station
            .force_logoff(&session, grace, message, moment);
        call.host.log(EffectKind::ForcedLogoff {
            user: session.user.clone(),
        });
    }
}

async fn prepare(call: &Call<'_>, options: &Options<'_>) -> Result<i32, Usage> {
    let grace = options.seconds("guard-grace", 90)?;
    let began = Instant::now();
    if !options.has("no-guard") {
        let message = options
            .text("guard-message")
            .unwrap_or("A reserved session begins on this computer");
        guard(call, grace, message).await;
    }
    let spec = &call.host.spec.station;
    pause(spec.durations.prepare).await;
    let user = options.text("user").unwrap_or(&spec.lab_user);
    let moment = call.host.moment();
    let arrives = spec.student_follows_prepare && call.host.lock().station.log_on(&spec.lab_user, moment);
    if arrives {
        call.host.log(EffectKind::LoggedOn {
            user: spec.lab_user.clone(),
        });
    }
    let mut state = call.host.lock();
    state.station.record(
        "lastPrepareSession",
        json!({
            "timestamp": stamp(moment.station),
            "success": true,
            "durationMs": elapsed_millis(began),
            "user": user,
        }),
        moment,
    );
    let code = if state.station.issues.is_empty() {
        OK
    } else {
        WARNINGS
    };
    drop(state);
    call.out("Session prepared\n");
    Ok(code)
}

async fn release(call: &Call<'_>, options: &Options<'_>) -> Result<i32, Usage> {
    let reboot = options.has("reboot");
    let timeout = options.seconds("reboot-timeout", 20)?;
    let began = Instant::now();
    let spec = &call.host.spec.station;
    pause(spec.durations.release).await;
    let user = options.text("user").unwrap_or(&spec.lab_user);
    let moment = call.host.moment();
    let was_on = call.host.lock().station.log_off(user, moment);
    if was_on {
        call.host.log(EffectKind::LoggedOff {
            user: user.to_owned(),
        });
    }
    call.host.lock().station.record(
        "lastReleaseSession",
        json!({
            "timestamp": stamp(moment.station),
            "success": was_on,
            "durationMs": elapsed_millis(began),
            "user": user,
            "rebootRequested": reboot,
            "rebootTimeout": timeout,
        }),
        moment,
    );
    if reboot {
        let after = scaled(call, timeout);
        call.host.order(Order::GoDown {
            after,
            then: Then::Boot,
            cause: Cause::Command,
        });
    }
    call.out(if was_on {
        "Session released\n"
    } else {
        "Nobody was logged on\n"
    });
    Ok(if was_on { OK } else { WARNINGS })
}

async fn power(call: &Call<'_>, options: &Options<'_>, then: Then) -> Result<i32, Usage> {
    let delay = options.seconds("delay", 0)?;
    pause(call.host.spec.station.durations.power).await;
    let moment = call.host.moment();
    let mode = if then == Then::Hibernate {
        "hibernate"
    } else {
        "shutdown"
    };
    call.host.lock().station.record(
        "lastPowerAction",
        json!({
            "timestamp": stamp(moment.station),
            "mode": mode,
            "forced": !options.has("no-force"),
            "wakeReady": true,
            "delay": delay,
            "reason": options.text("reason").unwrap_or("Remote order"),
        }),
        moment,
    );
    let mut after = scaled(call, delay);
    if then == Then::Hibernate {
        // The station itself waits before it hibernates; a shutdown is handed to Windows with its delay.
        pause(after).await;
        after = Duration::ZERO;
    }
    call.host.order(Order::GoDown {
        after,
        then,
        cause: Cause::Command,
    });
    call.out(&format!("Power action {mode} ordered\n"));
    Ok(OK)
}

async fn recover(call: &Call<'_>, options: &Options<'_>) -> Result<i32, Usage> {
    let timeout = options.seconds("timeout", 20)?;
    pause(call.host.spec.station.durations.power).await;
    let needed = options.has("force") || !call.host.lock().station.issues.is_empty();
    if !needed {
        call.out("No reboot needed\n");
        return Ok(OK);
    }
    let moment = call.host.moment();
    call.host.lock().station.record(
        "lastSafeguardReboot",
        json!({
            "timestamp": stamp(moment.station),
            "forced": options.has("force"),
            "timeout": timeout,
            "reason": options.text("reason").unwrap_or("Safeguard"),
        }),
        moment,
    );
    call.host.order(Order::GoDown {
        after: scaled(call, timeout),
        then: Then::Boot,
        cause: Cause::Command,
    });
    call.out("Reboot ordered\n");
    Ok(OK)
}

fn status_json(call: &Call<'_>, path: Option<&str>) -> i32 {
    let moment = call.host.moment();
    let mut state = call.host.lock();
    let Some(path) = path else {
        let text = station_json::write(&state.station.status_document(moment));
        drop(state);
        call.out(&text);
        return OK;
    };
    let written = state.station.export_status(path, moment);
    drop(state);
    if written {
        call.out(&format!("Status exported to {path}\n"));
        OK
    } else {
        call.err("the disk is full\n");
        FAILED
    }
}

fn service(call: &Call<'_>, verb: &str) -> i32 {
    let moment = call.host.moment();
    let mut state = call.host.lock();
    match verb {
        "start" => state.station.start_service(moment),
        "stop" => state.station.stop_service(moment),
        _ => {}
    }
    let running = state.station.service_running();
    drop(state);
    call.out(if running {
        "Service is running\n"
    } else {
        "Service is stopped\n"
    });
    OK
}

fn elapsed_millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
