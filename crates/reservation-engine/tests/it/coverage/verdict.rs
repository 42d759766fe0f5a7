//! What has to be true at the end, by how a step may be repeated.

use std::time::Duration;

use reservation_engine::{OperationKind, Repetition, ReservationStatus, State, Step, Store};

use super::case::Case;
use super::hit::Hit;
use crate::support::{Lab, host};

/// Says what is wrong, if anything is.
pub(super) async fn judge(case: &Case, hit: Hit, pause: Duration, lab: &Lab) -> Result<(), String> {
    let seen = Seen::of(case, lab);
    ends(case, hit, lab)?;
    match case.step.repetition() {
        Repetition::Repeatable => repeatable(case, hit, &seen)?,
        Repetition::ReadBack => read_back(case, hit, &seen)?,
        Repetition::Fenced => fenced(hit, &seen)?,
    }
    let attempts = lab.store.attempts().len();
    if attempts > 12 {
        return Err(format!("{attempts} tries in all"));
    }
    let rows = lab.history("a").len();
    if rows > attempts * 2 + 4 {
        return Err(format!(
            "{rows} rows for {attempts} tries: {:?}",
            lab.history("a")
        ));
    }
    if lab.store.find_claim(&host(1)).await.unwrap().is_some() {
        return Err(format!("the host is still claimed, {} s after", pause.as_secs()));
    }
    Ok(())
}

/// What the step left behind on the host and in the journal.
struct Seen {
    effects: usize,
    tries: usize,
    looks: usize,
    done: Vec<String>,
}

impl Seen {
    fn of(case: &Case, lab: &Lab) -> Self {
        let done = lab.hosts.done_to(&host(1));
        let word = case.step.as_str();
        let tries = lab.store.attempts();
        Self {
            effects: done.iter().filter(|what| what.starts_with(word)).count(),
            tries: tries.iter().filter(|attempt| attempt.step == case.step).count(),
            looks: lab.hosts.looks(),
            done,
        }
    }

    fn wrong<T>(&self, told: &str) -> Result<T, String> {
        Err(format!(
            "{told}: {} effects, {} tries, {} looks, {:?}",
            self.effects, self.tries, self.looks, self.done
        ))
    }
}

/// A reservation is carried through whatever happened; an order is settled, and never taken up by another copy.
fn ends(case: &Case, hit: Hit, lab: &Lab) -> Result<(), String> {
    let ending = |kind| lab.ending("a", kind);
    if !case.is_manual() {
        let (status, start, end) = (
            lab.status("a"),
            ending(OperationKind::Start),
            ending(OperationKind::End),
        );
        let carried = status == ReservationStatus::Completed && start == "done" && end.starts_with("done");
        return if carried {
            Ok(())
        } else {
            Err(format!("{status:?}, start {start}, end {end}"))
        };
    }
    let operation = lab.operation("a", case.kind);
    let settled = operation
        .as_ref()
        .is_some_and(|operation| match &operation.state {
            State::Done { .. } => true,
            State::NeedsAttention { reason, .. } => !reason.code.is_empty() && !reason.detail.is_empty(),
            _ => false,
        });
    if !settled {
        return Err(format!("the order is left as {operation:?}"));
    }
    // Its one step took effect and could be seen to: then it is done, else somebody has to look. A release may have
    // been ordered with a power action after it, which nobody knows any more.
    let took = !matches!(hit, Hit::FailsBefore | Hit::BeforeIntent | Hit::AfterIntent);
    let told = matches!(hit, Hit::FailsAfter | Hit::AfterOutcome);
    let last = matches!(case.step, Step::Prepare | Step::Power);
    let visible = last || (told && case.step.repetition() != Repetition::Repeatable);
    let done = ending(case.kind).starts_with("done");
    if took && visible && !done {
        return Err(format!("it took effect and ended as {}", ending(case.kind)));
    }
    if !took && done {
        return Err("it took no effect and ended as done".to_owned());
    }
    Ok(())
}

/// Simply done again, at most once more than it was hit; an order of a caller is never repeated.
fn repeatable(case: &Case, hit: Hit, seen: &Seen) -> Result<(), String> {
    let resumed = !case.is_manual() && hit != Hit::AfterOutcome;
    let never_begun = case.is_manual() && hit == Hit::BeforeIntent;
    let again = resumed && hit.dies() && hit != Hit::BeforeIntent;
    if seen.tries < usize::from(!never_begun) + usize::from(again) {
        return seen.wrong("not repeated");
    }
    if seen.tries > 2 {
        return seen.wrong("repeated too often");
    }
    match case.step {
        Step::Wake if case.is_manual() && seen.effects > 1 => seen.wrong("an order was repeated"),
        Step::Wake if seen.effects > 2 || (seen.effects == 0 && !case.is_manual()) => seen.wrong("woken"),
        _ => Ok(()),
    }
}

/// Took effect once; where that was uncertain, somebody looked.
fn read_back(case: &Case, hit: Hit, seen: &Seen) -> Result<(), String> {
    let sent = !matches!(hit, Hit::FailsBefore | Hit::BeforeIntent | Hit::AfterIntent);
    let expected = usize::from(sent || !case.is_manual());
    if seen.effects != expected {
        return seen.wrong("it took effect more or less often than once");
    }
    let uncertain = !matches!(hit, Hit::BeforeIntent | Hit::AfterOutcome);
    if uncertain && seen.looks == 0 {
        return seen.wrong("nobody looked");
    }
    Ok(())
}

/// At most once, whatever happened.
fn fenced(hit: Hit, seen: &Seen) -> Result<(), String> {
    if seen.effects > 1 {
        return seen.wrong("it was done twice");
    }
    let sent = !matches!(hit, Hit::FailsBefore | Hit::BeforeIntent | Hit::AfterIntent);
    if sent && seen.effects != 1 {
        return seen.wrong("it was not done");
    }
    let uncertain = !matches!(hit, Hit::BeforeIntent | Hit::AfterOutcome);
    if uncertain && seen.looks == 0 {
        return seen.wrong("nobody looked");
    }
    Ok(())
}
