//! Commands of whoever looks after the site.

use serde_json::Value;

use super::looks::stamp;
use super::{Context, Ended};
use crate::cli::{MaintenanceArgs, WorkersOrder};
use crate::exit::{Exit, Failure};
use crate::output::show;
use crate::when::Moment;

pub(super) async fn maintenance(context: &Context, args: MaintenanceArgs) -> Ended {
    let answer = if args.end {
        context.client.end_maintenance(&args.host).await?
    } else {
        let until = args.until.map(|text| Moment::now().parse(&text)).transpose();
        let until = until.map_err(|problem| Failure::Usage(format!("--until: {problem}")))?;
        let reason = args.reason.unwrap_or_default();
        context
            .client
            .begin_maintenance(&args.host, &reason, args.owner, until.map(stamp))
            .await?
    };
    shown(context, &answer.document)
}

pub(super) async fn reload(context: &Context) -> Ended {
    let answer = context.client.reload().await?;
    shown(context, &answer.document)
}

pub(super) async fn workers(context: &Context, order: WorkersOrder) -> Ended {
    let answer = match order {
        WorkersOrder::Cordon { name, reason } => context.client.cordon(&name, &reason).await?,
        WorkersOrder::Uncordon { name } => context.client.uncordon(&name).await?,
    };
    context
        .out
        .answer(&answer.document, |style| show::worker(&answer.value, style))?;
    Ok(Exit::Done)
}

fn shown(context: &Context, document: &Value) -> Ended {
    context
        .out
        .answer(document, |style| show::facts_of(document, style))?;
    Ok(Exit::Done)
}
