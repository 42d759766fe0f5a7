//! `ops-api`: the HTTP service, on request with the scheduler in the same process.

use std::process::ExitCode;

use clap::Parser;
use ops_api::commands::Command;
use ops_runtime::{CommandLine, Startup};

/// Answers HTTP for a lab gateway: wake, command, heartbeat, reservations, timeline.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    common: CommandLine,
    /// Also polls heartbeats and runs reservations in this process, for small sites
    #[arg(long)]
    with_scheduler: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(command) = arguments.command {
        return command.run(&arguments.common).await;
    }
    let plan = match ops_runtime::start_up(&arguments.common, ops_api::check_settings) {
        Startup::Go(plan) => plan,
        Startup::Leave(code) => return code,
    };
    match run(*plan, arguments.with_scheduler).await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("stopped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: ops_runtime::Plan, with_scheduler: bool) -> anyhow::Result<ExitCode> {
    let stop = ops_runtime::stop_requested()?;
    let grace = plan.settings().shutdown_grace;
    let handle = plan.open(stop.clone());
    ops_runtime::reload_on_hangup(handle.clone(), stop.clone())?;
    let api = ops_api::start(handle.clone()).await?;
    let scheduler = with_scheduler.then(|| ops_scheduler::start(handle.clone()));
    let loops =
        std::iter::once(api.progress()).chain(scheduler.as_ref().map(ops_scheduler::Scheduler::progress));
    ops_runtime::tell_service_manager(&handle, loops.collect(), &stop);
    let scheduler_departed = async {
        match &scheduler {
            Some(scheduler) => scheduler.departed().await,
            None => std::future::pending().await,
        }
    };
    let departed = tokio::select! {
        () = stop.cancelled() => None,
        departure = api.departed() => Some(departure),
        departure = scheduler_departed => Some(departure),
    };
    ops_runtime::tell_stopping();
    let code = departed.map_or(ExitCode::SUCCESS, |departure| {
        tracing::error!("stopping: {departure}");
        stop.cancel();
        ops_runtime::exit_code(&departure)
    });
    // At the same time, so that both share one grace period: a service manager does not wait for two. Calls under
    // way go on, since the engine waits for their steps as well.
    let working = async {
        match (scheduler, handle.current()) {
            (Some(scheduler), _) => scheduler.stop().await,
            (None, Some(site)) => drop(site.engine.stop(grace).await),
            (None, None) => {}
        }
    };
    tokio::join!(api.stop(), working);
    if let Some(site) = handle.current() {
        site.close(std::time::Duration::from_secs(2)).await;
    }
    tracing::info!("stopped");
    Ok(code)
}
