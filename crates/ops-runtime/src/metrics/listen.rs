//! Counts what the engine does, and says what a person should hear of.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use lab_model::SharedClock;
use notifications::{Notice, NoticeKind, Teller, Told};
use reservation_engine::{AttemptOutcome, EngineEvent, Listener, OperationKind, Step};

use super::catalog as m;

/// Hears the engine of one site.
pub(crate) struct Counting {
    teller: Teller,
    clock: SharedClock,
}

impl Counting {
    pub(crate) fn new(teller: Teller, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { teller, clock })
    }

    fn tell(&self, notice: Notice) {
        m::NOTICES.add(&[notice.kind.as_str()], 1);
        self.teller.tell(Told::Notice(notice));
    }

    fn notice(&self, kind: NoticeKind, sentence: String) -> Notice {
        Notice::new(kind, self.clock.now(), sentence)
    }

    fn step_ended(&self, event: &EngineEvent) {
        let EngineEvent::StepEnded {
            operation,
            host,
            reservation,
            kind,
            step,
            attempt,
            outcome,
            duration,
            reason,
        } = event
        else {
            return;
        };
        m::STEP_DURATION.observe(&[step.as_str(), outcome.as_str()], duration.as_secs_f64());
        match outcome {
            AttemptOutcome::Done | AttemptOutcome::DoneWithWarnings if *step == Step::Wake => {
                let at = self.clock.now();
                self.teller.tell(Told::HostAnswers {
                    host: host.clone(),
                    at,
                });
            }
            AttemptOutcome::Done | AttemptOutcome::DoneWithWarnings => {}
            AttemptOutcome::Failed | AttemptOutcome::Unknown => {
                let rung = reason
                    .as_ref()
                    .and_then(|reason| reason.rung.as_deref())
                    .unwrap_or("none");
                let code = reason.as_ref().map_or("unknown", |reason| reason.code.as_str());
                m::STEP_FAILURES.add(&[step.as_str(), rung, code], 1);
                let on_host = matches!(step, Step::Wake | Step::Prepare | Step::Release | Step::Power);
                if on_host {
                    let why = reason
                        .as_ref()
                        .map_or_else(|| "nobody knows why".to_owned(), ToString::to_string);
                    let sentence = format!("{} on host {host} failed: {why}", step.as_str());
                    let notice = self
                        .notice(NoticeKind::StepFailed, sentence)
                        .on(host)
                        .of(reservation)
                        .because(reason.as_ref())
                        .with("step", step.as_str())
                        .with("attempt", *attempt)
                        .with("outcome", outcome.as_str())
                        .with("operation", kind.as_str())
                        .with("operationId", operation.0);
                    self.tell(notice);
                }
            }
        }
    }
}

impl Listener for Counting {
    fn heard(&self, event: &EngineEvent) {
        match event {
            EngineEvent::Dispatched { kind, late, .. } => {
                m::DISPATCH_LATENESS.observe(&[kind.as_str()], late.as_secs_f64());
            }
            EngineEvent::ClaimTaken {
                host,
                token,
                takeover,
            } => {
                m::CLAIMS_TAKEN.add(&[], 1);
                if *takeover {
                    m::CLAIM_TAKEOVERS.add(&[], 1);
                    let sentence = format!("host {host} was taken over in the middle of an operation");
                    let notice = self.notice(NoticeKind::ClaimTakenOver, sentence).on(host);
                    self.tell(notice.with("token", token.0));
                }
            }
            EngineEvent::ClaimLost { .. } => m::CLAIMS_LOST.add(&[], 1),
            EngineEvent::StepBegan { .. } => {}
            EngineEvent::StepEnded { .. } => self.step_ended(event),
            EngineEvent::OperationEnded {
                operation,
                host,
                reservation,
                kind,
                state,
                reason,
            } => {
                m::OPERATIONS_ENDED.add(&[kind.as_str(), state], 1);
                // Whoever ordered a manual one has the answer; a start that ended so is missed.
                if *state == "needs_attention" && *kind == OperationKind::End {
                    let why = reason
                        .as_ref()
                        .map_or_else(String::new, |reason| format!(": {reason}"));
                    let sentence = format!("the release of host {host} was given up{why}");
                    let notice = self
                        .notice(NoticeKind::NeedsAttention, sentence)
                        .on(host)
                        .of(reservation);
                    self.tell(notice.because(reason.as_ref()).with("operationId", operation.0));
                }
            }
            EngineEvent::Ready { starts_at, at, .. } => {
                let margin = *starts_at - *at;
                m::READY_MARGIN.observe(&[], seconds(margin));
                let started = if margin < TimeDelta::zero() {
                    m::STARTED_LATE
                } else {
                    m::STARTED_ON_TIME
                };
                started.add(&[], 1);
            }
            EngineEvent::Missed {
                host,
                reservation,
                starts_at,
                reason,
                ..
            } => {
                m::MISSED.add(&[&reason.code], 1);
                let sentence =
                    format!("the host of reservation {reservation} was never handed over: {reason}");
                let notice = self.notice(NoticeKind::Missed, sentence).on(host).of(reservation);
                let starts_at = starts_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
                self.tell(notice.because(Some(reason)).with("startsAt", starts_at));
            }
        }
    }
}

fn seconds(delta: TimeDelta) -> f64 {
    match delta.to_std() {
        Ok(positive) => positive.as_secs_f64(),
        Err(_) => -(-delta).to_std().unwrap_or(Duration::ZERO).as_secs_f64(),
    }
}
