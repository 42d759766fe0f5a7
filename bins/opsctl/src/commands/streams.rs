//! Commands that go on: following an operation, watching heartbeats.

use serde_json::{Value, json};

use super::{Context, Ended, interrupted};
use crate::cli::WatchArgs;
use crate::client::Event;
use crate::client::model::Operation;
use crate::exit::{Exit, Failure};
use crate::output::{Progress, complain, show};

/// Follows an operation to its end. With `--json` one document is printed when it is over.
pub(super) async fn follow(context: &Context, id: &str) -> Ended {
    // What cannot be found is said at once.
    let first = context.client.operation(id).await?;
    let ended = if first.value.is_over() {
        first
    } else {
        let progress = Progress::new(&format!("operation {id}"));
        progress.show(&first.value);
        let following = context
            .client
            .follow(id, context.client.stream_deadline(), |now: &Operation| {
                progress.show(now)
            });
        let followed = tokio::select! {
            followed = following => followed,
            () = interrupted() => {
                drop(progress);
                complain(&format!("the work goes on; follow it with: opsctl operation {id} --follow"));
                return Ok(Exit::Interrupted);
            }
        };
        drop(progress);
        followed?
    };
    context
        .out
        .answer(&ended.document, |style| show::operation(&ended.value, style))?;
    Ok(if ended.value.succeeded() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Shows heartbeats as they come.
pub(super) async fn watch(context: &Context, args: WatchArgs) -> Ended {
    let watching = watch_all(context, &args);
    tokio::select! {
        ended = watching => ended,
        () = interrupted() => Ok(Exit::Done),
    }
}

async fn watch_all(context: &Context, args: &WatchArgs) -> Ended {
    let mut stream = context.client.heartbeats(&args.hosts, !args.no_events);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        if show_event(context, &stream.next().await?)? {
            left -= 1;
        }
    }
    Ok(Exit::Done)
}

/// Whether it was something to show.
fn show_event(context: &Context, event: &Event) -> Result<bool, Failure> {
    if !matches!(event.name.as_str(), "heartbeat" | "liveness" | "error") {
        return Ok(false);
    }
    let data: Value = serde_json::from_str(&event.data).unwrap_or_else(|_| json!({"text": event.data}));
    if context.out.json {
        context
            .out
            .json_line(&json!({"event": event.name, "id": event.id, "data": data}))?;
    } else {
        context
            .out
            .text(&show::heartbeat(&event.name, &data, &context.out.now()))?;
    }
    Ok(true)
}
