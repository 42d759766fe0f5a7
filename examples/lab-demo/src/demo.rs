//! The order of things: start the lab, watch the day, sum it up, stop the lab.

use std::io::Write;
use std::process::ExitCode;

use chrono::{SubsecRound, TimeDelta};
use tokio_util::sync::CancellationToken;

use crate::Arguments;
use crate::day::Day;
use crate::gateway;
use crate::lab::Lab;
use crate::summary::{Summary, invitation};
use crate::view::View;
use crate::watch::Watch;

/// Runs the day between starting and stopping everything.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let stop = ops_runtime::stop_requested()?;
    let lab = tokio::select! {
        lab = Lab::start(arguments.seed) => lab?,
        () = stop.cancelled() => return Ok(INTERRUPTED.into()),
    };
    // The gateway's table keeps whole seconds.
    let day = Day::beginning((lab.site.clock.now() + TimeDelta::seconds(1)).trunc_subsecs(0));
    let day = day.allowing(TimeDelta::seconds(arguments.slack.into()));
    let ended = match watch_the_day(&arguments, &lab, &day, &stop).await {
        Err(error) if nobody_reads(&error) => Ok(Ended::Early),
        ended => ended,
    };
    if matches!(ended, Ok(Ended::Early)) {
        say("Leaving before the day is over; steps under way get a few seconds to end.")?;
    }
    let remains = lab.stop().await;
    let shells = remains.open_shells().await;
    let as_it_should_be = matches!(ended, Ok(Ended::Well)) && shells == 0;
    // Whoever leaves early has seen enough.
    let kept = remains
        .clear(!as_it_should_be && !matches!(ended, Ok(Ended::Early)))
        .await;
    say(&format!(
        "The services have stopped; shells left open on the hosts: {shells}"
    ))?;
    if let Some(folder) = kept {
        say(&format!(
            "hosts.json, database and log are kept in {}",
            folder.display()
        ))?;
    }
    Ok(match ended? {
        Ended::Early => INTERRUPTED.into(),
        _ if as_it_should_be => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Exit code of a program that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// How the day ended.
enum Ended {
    /// Everything was as it should be.
    Well,
    /// Something was not.
    Badly,
    /// Somebody left before.
    Early,
}

/// Watches the day and sums it up.
async fn watch_the_day(
    arguments: &Arguments,
    lab: &Lab,
    day: &Day,
    stop: &CancellationToken,
) -> anyhow::Result<Ended> {
    gateway::reserve(&lab.site, day).await?;
    let mut view = View::open(arguments.plain, invitation(lab))?;
    let mut watch = Watch::new(lab, day);
    let followed = watch.follow(&mut view, stop).await;
    // The terminal comes back before anything else is printed.
    drop(view);
    followed?;
    if stop.is_cancelled() {
        return Ok(Ended::Early);
    }
    let summary = Summary::of(lab, day, &watch.courses, watch.tally.sum()).await;
    let took = day.second(lab.site.clock.now());
    say(&format!(
        "\nA small lab's day, in {took:.0} s\n\n{}\n{}",
        summary.text,
        summary.verdict()
    ))?;
    if arguments.stay {
        let folder = lab.folder().display();
        say(&format!(
            "\nStill running, until Ctrl-C. Files: {folder}\n{}",
            invitation(lab).join("\n")
        ))?;
        stop.cancelled().await;
    }
    Ok(if summary.problems.is_empty() {
        Ended::Well
    } else {
        Ended::Badly
    })
}

/// Whether the reader of our output has gone, as `head` does.
fn nobody_reads(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref::<std::io::Error>().is_some_and(broken)
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
