//! Commands that make hosts do something, which may take a while.

use serde_json::{Map, Value, json};

use super::{Context, Ended, interrupted, typed};
use crate::cli::{EndArgs, LongArgs, RunArgs, StartArgs, WakeArgs};
use crate::client::model::{HostConfig, Ran, StepsAnswer, Told, Woken};
use crate::client::{ClientError, Order, Outcome, Tracker};
use crate::exit::{Exit, Failure};
use crate::output::{Progress, clean_lines, complain, show};
use crate::when::span_ms;

/// What came of handing work over.
enum Handed {
    /// The answer of whoever waits.
    Done { success: bool, body: Value },
    /// It is over for this command.
    Left(Exit),
}

pub(super) async fn wake(context: &Context, args: WakeArgs) -> Ended {
    let mut body = Map::from_iter([("host".to_owned(), json!(args.host))]);
    if let Some(attempts) = args.attempts {
        body.insert("attempts".into(), attempts.into());
    }
    if let Some(wait) = args.wait {
        body.insert("ping_timeout".into(), wait.as_secs_f64().into());
    }
    let (broadcast, port) = match (args.broadcast, args.port) {
        (Some(broadcast), Some(port)) => (Some(broadcast.to_string()), Some(u32::from(port))),
        (broadcast, port) => {
            let entry = tokio::select! {
                entry = entry(context, &args.host) => entry?,
                () = interrupted() => return Ok(Exit::Interrupted),
            };
            let broadcast = broadcast.map(|given| given.to_string()).or(entry.broadcast);
            (broadcast, port.map(u32::from).or(entry.wol_port))
        }
    };
    if let Some(broadcast) = broadcast {
        body.insert("broadcast".into(), broadcast.into());
    }
    if let Some(port) = port {
        body.insert("port".into(), port.into());
    }
    let what = format!("waking {}", args.host);
    let (_, body) = match hand_over(context, &["api", "wol"], body, args.long, &what).await? {
        Handed::Left(exit) => return Ok(exit),
        Handed::Done { success, body } => (success, body),
    };
    let woken: Woken = typed(&body)?;
    context.out.answer(&body, |_| {
        let target = woken.ping_target.as_deref().unwrap_or("no address");
        let packets = show::count(woken.attempts_used.unwrap_or(0), "packet");
        let took = span_ms(woken.duration_ms.unwrap_or(0));
        let host = crate::output::clean(&args.host);
        let target = crate::output::clean(target);
        match woken.success {
            Some(true) => format!("{host} can be reached at {target}, after {packets} and {took}\n"),
            _ => format!("{host} cannot be reached at {target}, after {packets} and {took}\n"),
        }
    })?;
    Ok(if woken.success == Some(true) {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// What the host's entry says; the route itself goes by what it is sent alone. Nothing where a service does not tell.
async fn entry(context: &Context, host: &str) -> Result<HostConfig, ClientError> {
    match context.client.host(host).await {
        Ok(answer) => Ok(answer.value.config.unwrap_or_default()),
        Err(ClientError::Refused(refusal))
            if refusal.status == 404 && refusal.code.as_deref() != Some("unknown_host") =>
        {
            Ok(HostConfig::default())
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn run(context: &Context, args: RunArgs) -> Ended {
    let (command, arguments) = match args.line.split_first() {
        Some((command, arguments)) => (command.clone(), arguments),
        None => return Err(Failure::Usage("a command is needed".into())),
    };
    let body = Map::from_iter([
        ("host".to_owned(), json!(args.host)),
        ("command".to_owned(), json!(command)),
        ("args".to_owned(), json!(arguments)),
    ]);
    let what = format!("{}: {command}", args.host);
    let body = match hand_over(context, &["api", "winrm"], body, args.long, &what).await? {
        Handed::Left(exit) => return Ok(exit),
        Handed::Done { body, .. } => body,
    };
    let ran: Ran = typed(&body)?;
    context
        .out
        .answer(&body, |_| clean_lines(ran.stdout.as_deref().unwrap_or_default()))?;
    if let Some(said) = ran
        .stderr
        .as_deref()
        .filter(|said| !said.trim().is_empty() && !context.out.json)
    {
        for line in clean_lines(said.trim_end()).lines() {
            complain(line);
        }
    }
    // The station's contract: 1 means "done, with warnings" for these two.
    let warns = matches!(command.as_str(), "prepare-session" | "release-session");
    match ran.exit_code {
        Some(0) => Ok(Exit::Done),
        Some(1) if warns => {
            complain("done, with warnings (exit code 1)");
            Ok(Exit::Done)
        }
        code => {
            let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
            complain(&format!(
                "{command} ended with {code} after {}",
                span_ms(ran.duration_ms.unwrap_or(0))
            ));
            Ok(Exit::Failed)
        }
    }
}

pub(super) async fn start(context: &Context, args: StartArgs) -> Ended {
    let mut body = named(&args.id, &args.host, args.lab.as_deref());
    if args.no_wake {
        body.insert("wake".into(), false.into());
    }
    if args.no_prepare {
        body.insert("prepare".into(), false.into());
    }
    if let Some(grace) = args.guard_grace {
        body.insert("guardGrace".into(), grace.as_secs().into());
    }
    if !args.prepare_arg.is_empty() {
        body.insert("prepareArgs".into(), json!(args.prepare_arg));
    }
    let what = format!("{}: starting {}", args.host, args.id);
    steps(context, &["api", "reservations", "start"], body, args.long, &what).await
}

pub(super) async fn end(context: &Context, args: EndArgs) -> Ended {
    let mut body = named(&args.id, &args.host, args.lab.as_deref());
    if args.no_release {
        body.insert("release".into(), false.into());
    }
    if !args.release_arg.is_empty() {
        body.insert("releaseArgs".into(), json!(args.release_arg));
    }
    if let Some(mode) = &args.power {
        body.insert("powerAction".into(), json!({"mode": mode}));
    }
    let what = format!("{}: ending {}", args.host, args.id);
    steps(context, &["api", "reservations", "end"], body, args.long, &what).await
}

fn named(id: &str, host: &str, lab: Option<&str>) -> Map<String, Value> {
    let mut body = Map::from_iter([
        ("reservationId".to_owned(), json!(id)),
        ("host".to_owned(), json!(host)),
    ]);
    if let Some(lab) = lab {
        body.insert("labId".into(), lab.into());
    }
    body
}

async fn steps(
    context: &Context,
    path: &'static [&'static str],
    body: Map<String, Value>,
    long: LongArgs,
    what: &str,
) -> Ended {
    let (success, body) = match hand_over(context, path, body, long, what).await? {
        Handed::Left(exit) => return Ok(exit),
        Handed::Done { success, body } => (success, body),
    };
    let answer: StepsAnswer = typed(&body)?;
    context.out.answer(&body, |style| show::steps(&answer, style))?;
    let done = success && answer.success != Some(false);
    if !done {
        complain("a step failed; `opsctl explain` says what happens next");
    }
    Ok(if done { Exit::Done } else { Exit::Failed })
}

/// Hands the work over and follows it. Ctrl-C leaves it to the service, and says how to follow it.
async fn hand_over(
    context: &Context,
    path: &'static [&'static str],
    body: Map<String, Value>,
    long: LongArgs,
    what: &str,
) -> Result<Handed, Failure> {
    let key = long.key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let order = Order {
        path,
        body: Value::Object(body),
        key,
    };
    let tracker = Tracker::default();
    let progress = Progress::new(what);
    let ordered = tokio::select! {
        ordered = context.client.order(&order, long.detach, &tracker, |operation| progress.show(operation)) => ordered,
        () = interrupted() => {
            drop(progress);
            complain(&goes_on(&tracker, &order));
            return Ok(Handed::Left(Exit::Interrupted));
        }
    };
    drop(progress);
    match ordered {
        Ok(Outcome::Answered { status, body }) => {
            let told: Told = typed(&body)?;
            if let Some(maintenance) = &told.maintenance {
                complain(&format!(
                    "the host is in maintenance: {}",
                    show::in_maintenance(maintenance, &context.out.now())
                ));
            }
            Ok(Handed::Done {
                success: (200..300).contains(&status),
                body,
            })
        }
        Ok(Outcome::Accepted { document, id }) => {
            context
                .out
                .answer(&document, |_| format!("{}\n", crate::output::clean(&id)))?;
            Ok(Handed::Left(Exit::Done))
        }
        Err(error) => {
            let failure = Failure::from(error);
            if matches!(failure.exit(), Exit::TimedOut | Exit::Unreachable) {
                if tracker.id().is_some() || failure.exit() == Exit::TimedOut {
                    complain(&goes_on(&tracker, &order));
                } else {
                    complain(&format!(
                        "the same call again under the same key is carried out once: --key {}",
                        order.key
                    ));
                }
            }
            Err(failure)
        }
    }
}

/// What becomes of the work that nobody waits for any more.
fn goes_on(tracker: &Tracker, order: &Order) -> String {
    match tracker.id() {
        Some(id) => format!("the work goes on; follow it with: opsctl operation {id} --follow"),
        None => format!(
            "the work may go on; the same call with --key {} finds it and does not begin it again",
            order.key
        ),
    }
}

pub(super) async fn poll(context: &Context, host: &str, events: bool) -> Ended {
    let progress = Progress::new(&format!("{host}: reading the heartbeat"));
    let polled = tokio::select! {
        polled = context.client.poll(host, events) => polled,
        () = interrupted() => return Ok(Exit::Interrupted),
    };
    drop(progress);
    let polled = polled?;
    context
        .out
        .answer(&polled.document, |style| show::polled(&polled.value, style))?;
    Ok(Exit::Done)
}
