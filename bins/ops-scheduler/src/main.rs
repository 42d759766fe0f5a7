//! `ops-scheduler`: polls heartbeats and runs reservations.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use ops_runtime::{CommandLine, Startup};

/// Ten thousand connections are opened and fed by all threads in turn; the C library's arenas keep half as much memory
/// again for that, and the one of musl is slow.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Polls the heartbeats of all hosts and runs their reservations.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    common: CommandLine,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = match ops_runtime::start_up(&arguments.common, ops_scheduler::check_settings) {
        Startup::Go(plan) => plan,
        Startup::Leave(code) => return code,
    };
    match run(*plan).await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("stopped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: ops_runtime::Plan) -> anyhow::Result<ExitCode> {
    let stop = ops_runtime::stop_requested()?;
    let handle = plan.open(stop.clone());
    ops_runtime::reload_on_hangup(handle.clone(), stop.clone())?;
    let scheduler = ops_scheduler::start(handle.clone());
    ops_scheduler::show_metrics(&handle, &stop).await?;
    ops_runtime::tell_service_manager(&handle, vec![scheduler.progress()], &stop);
    let code = tokio::select! {
        () = stop.cancelled() => ExitCode::SUCCESS,
        departure = scheduler.departed() => {
            tracing::error!("stopping: {departure}");
            stop.cancel();
            ops_runtime::exit_code(&departure)
        }
    };
    ops_runtime::tell_stopping();
    scheduler.stop().await;
    if let Some(site) = handle.current() {
        site.close(std::time::Duration::from_secs(2)).await;
    }
    tracing::info!("stopped");
    Ok(code)
}
