//! Commands that tell what was, and what happens meanwhile.

use std::time::Duration;

use super::looks::{instant, stamp};
use super::{Context, Ended, interrupted, typed};
use crate::cli::{EventsArgs, FIELDS, HistoryArgs, Window};
use crate::client::model::Event;
use crate::client::{ClientError, Refusal};
use crate::exit::{Exit, Failure};
use crate::output::{complain, show};
use crate::when::Moment;

/// The service is not asked for events more often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn history(context: &Context, args: HistoryArgs) -> Ended {
    let word = FIELDS.iter().find(|(ours, _)| *ours == args.field);
    let field = word.map_or(args.field.as_str(), |(_, theirs)| theirs);
    let step = match args.step {
        Some(step) if step.as_secs() == 0 || step.subsec_nanos() > 0 => {
            return Err(Failure::Usage(
                "--step: must be whole seconds, 1s at least".into(),
            ));
        }
        step => step.map(|step| step.as_secs()),
    };
    let moment = Moment::now();
    let (from, mut to) = window(moment, args.window)?;
    // An end of the service's own would leave a rest of some milliseconds behind the last whole step.
    if to.is_none() && from.is_some() && step.is_some() {
        to = Some(stamp(moment.now));
    }
    let answer = context.client.history(&args.host, field, from, to, step).await?;
    context
        .out
        .answer(&answer.document, |style| show::host_history(&answer.value, style))?;
    Ok(Exit::Done)
}

pub(super) async fn hours(context: &Context, host: &str, window: Window) -> Ended {
    let (from, to) = self::window(Moment::now(), window)?;
    let answer = context.client.hours(host, from, to).await?;
    context
        .out
        .answer(&answer.document, |style| show::hours(&answer.value, style))?;
    Ok(Exit::Done)
}

/// The two ends, as the API takes them.
fn window(moment: Moment, window: Window) -> Result<(Option<String>, Option<String>), Failure> {
    Ok((
        instant(moment, "--from", window.from)?,
        instant(moment, "--to", window.to)?,
    ))
}

pub(super) async fn events(context: &Context, args: EventsArgs) -> Ended {
    if args.follow {
        return tokio::select! {
            ended = follow(context, &args) => ended,
            () = interrupted() => Ok(Exit::Done),
        };
    }
    let after = args.after.map(|after| after.to_string());
    let answer = context.client.events(args.host, after, args.limit).await?;
    let list = &answer.value;
    let read: Vec<Event> = list.events.iter().map(typed).collect::<Result<_, _>>()?;
    let next = list.next.filter(|_| list.more == Some(true));
    context
        .out
        .answer(&answer.document, |style| show::events(&read, next, style))?;
    Ok(Exit::Done)
}

/// Each event once, from one page to the next; ends with the count or the time that was set.
async fn follow(context: &Context, args: &EventsArgs) -> Ended {
    let pause = args.interval.max(SHORTEST_PAUSE);
    let deadline = context.client.stream_deadline();
    let mut after = args
        .after
        .map_or_else(|| "newest".to_owned(), |after| after.to_string());
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut was_asked = false;
    loop {
        let asked = context
            .client
            .events(args.host.clone(), Some(after.clone()), args.limit);
        let more = match asked.await {
            Ok(page) => {
                was_asked = true;
                for event in &page.value.events {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                    if context.out.json {
                        context.out.json_line(event)?;
                    } else {
                        let event: Event = typed(event)?;
                        context.out.text(&show::event(&event, &context.out.now()))?;
                    }
                }
                if let Some(next) = page.value.next {
                    after = next.to_string();
                }
                page.value.more == Some(true) && !page.value.events.is_empty()
            }
            // What never worked will not work later either; what did work may come back.
            Err(error) if !was_asked => return Err(error.into()),
            Err(ClientError::Refused(refusal)) if is_final(&refusal) => {
                return Err(ClientError::Refused(refusal).into());
            }
            Err(error) => {
                complain(&error.to_string());
                false
            }
        };
        if left == 0 {
            return Ok(Exit::Done);
        }
        let rest = if more { Duration::ZERO } else { pause };
        let sleep = tokio::time::sleep(rest);
        match deadline {
            None => sleep.await,
            Some(deadline) => {
                if tokio::time::timeout_at(deadline, sleep).await.is_err() {
                    let what = "the time to follow is over".to_owned();
                    return Err(ClientError::TimedOut { what }.into());
                }
            }
        }
    }
}

/// Whether asking again would be answered in the same way.
fn is_final(refusal: &Refusal) -> bool {
    matches!(
        Exit::of_refusal(refusal),
        Exit::Usage | Exit::NotFound | Exit::Refused
    )
}
