//! Commands that only look.

use super::{Context, Ended, interrupted};
use crate::cli::{AuditArgs, ExplainArgs, HostsArgs, OperationsArgs, Page, ReservationsArgs};
use crate::client::ReservationFilter;
use crate::exit::{Exit, Failure};
use crate::output::{complain, show};
use crate::when::Moment;

pub(super) async fn hosts(context: &Context, args: HostsArgs) -> Ended {
    if args.watch {
        return watch_hosts(context, &args).await;
    }
    let list = context.client.hosts(args.lab, args.verdict, args.query).await?;
    context
        .out
        .answer(&list.document, |style| show::hosts(&list.value, style))?;
    Ok(Exit::Done)
}

async fn watch_hosts(context: &Context, args: &HostsArgs) -> Ended {
    let pause = args.interval.max(std::time::Duration::from_millis(200));
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut seen = false;
    while left > 0 {
        left -= 1;
        let asked = tokio::select! {
            asked = context.client.hosts(args.lab.clone(), args.verdict.clone(), args.query.clone()) => asked,
            () = interrupted() => return Ok(Exit::Done),
        };
        match asked {
            Ok(list) => {
                seen = true;
                if context.out.json {
                    context.out.json_line(&list.document)?;
                } else {
                    context.out.wipe()?;
                    context.out.text(&show::hosts(&list.value, &context.out.now()))?;
                }
            }
            // What never worked will not work in five seconds either; what did work may come back.
            Err(error) if !seen || left == 0 => return Err(error.into()),
            Err(error) => complain(&error.to_string()),
        }
        if left > 0 {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = interrupted() => return Ok(Exit::Done),
            }
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn host(context: &Context, name: &str) -> Ended {
    let answer = context.client.host(name).await?;
    context
        .out
        .answer(&answer.document, |style| show::host(&answer.value, style))?;
    Ok(Exit::Done)
}

pub(super) async fn reservations(context: &Context, args: ReservationsArgs) -> Ended {
    let moment = Moment::now();
    let filter = ReservationFilter {
        from: instant(moment, "--from", args.from)?,
        to: instant(moment, "--to", args.to)?,
        host: args.host,
        lab: args.lab,
        status: args.status.map(|status| status.to_uppercase()),
        limit: args.limit,
        after: args.after,
    };
    let answer = context.client.reservations(filter).await?;
    context
        .out
        .answer(&answer.document, |style| show::reservations(&answer.value, style))?;
    Ok(Exit::Done)
}

/// An instant of the command line, as the API takes it.
pub(super) fn instant(moment: Moment, name: &str, text: Option<String>) -> Result<Option<String>, Failure> {
    let read = text.map(|text| moment.parse(&text)).transpose();
    read.map(|at| at.map(stamp))
        .map_err(|problem| Failure::Usage(format!("{name}: {problem}")))
}

/// An instant as the API takes it.
pub(super) fn stamp(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

pub(super) async fn timeline(context: &Context, id: &str, page: &Page) -> Ended {
    let answer = context.client.timeline(id, page.limit, page.offset).await?;
    context
        .out
        .answer(&answer.document, |style| show::timeline(&answer.value, style))?;
    Ok(Exit::Done)
}

pub(super) async fn explain(context: &Context, args: ExplainArgs) -> Ended {
    match (args.id, args.host) {
        (_, Some(host)) => {
            let answer = context.client.explain_host(&host).await?;
            context.out.answer(&answer.document, |style| {
                show::host_explanation(&answer.value, style)
            })?;
        }
        (id, None) => {
            let answer = context
                .client
                .explain_reservation(&id.unwrap_or_default())
                .await?;
            context
                .out
                .answer(&answer.document, |style| show::explanation(&answer.value, style))?;
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn operations(context: &Context, args: OperationsArgs) -> Ended {
    let Page { limit, offset } = args.page;
    let answer = context
        .client
        .recent_operations(args.host, args.reservation, limit, offset)
        .await?;
    context
        .out
        .answer(&answer.document, |style| show::recent(&answer.value, style))?;
    Ok(Exit::Done)
}

pub(super) async fn operation(context: &Context, id: &str) -> Ended {
    let answer = context.client.operation(id).await?;
    context
        .out
        .answer(&answer.document, |style| show::operation(&answer.value, style))?;
    let failed = answer.value.is_over() && !answer.value.succeeded();
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

pub(super) async fn workers(context: &Context) -> Ended {
    let answer = context.client.workers().await?;
    context
        .out
        .answer(&answer.document, |style| show::workers(&answer.value, style))?;
    Ok(Exit::Done)
}

pub(super) async fn health(context: &Context) -> Ended {
    let answer = context.client.health().await?;
    context.out.answer(&answer.document, |style| {
        show::health(&answer.value, &answer.document, style)
    })?;
    Ok(if answer.status == 503 {
        Exit::Unreachable
    } else {
        Exit::Done
    })
}

pub(super) async fn audit(context: &Context, args: AuditArgs) -> Ended {
    let answer = context
        .client
        .audit(args.after, args.limit, args.caller, args.subject)
        .await?;
    context
        .out
        .answer(&answer.document, |style| show::audit(&answer.value, style))?;
    Ok(Exit::Done)
}
