//! How long the steps of a flow took, remembered for how early its host is woken next time.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use crate::flow::Flow;
use crate::instant::between;
use crate::operation::{Operation, Step};
use crate::ports::{Station, StepReport, Store, TimingSample};
use crate::state::State;

/// How long storing how long a host took may hold up giving the host back.
const LEARN_LIMIT: Duration = Duration::from_secs(2);

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// How long before a start this host is woken.
    pub(crate) fn lead(&self) -> Duration {
        self.inner.leads.of(&self.inner.settings, self.host)
    }

    /// Notes how long a step took that succeeded. A wake counts when the host really booted for it: since this try
    /// began, or since the first one of this operation did, whose deadline it may have missed.
    pub(crate) fn note_timing(&mut self, operation: &Operation, report: &StepReport) {
        let State::Running { step, since, .. } = operation.state else {
            return;
        };
        let booted_at = report.observed.as_ref().and_then(|seen| seen.booted_at);
        match (step, booted_at) {
            (Step::Wake, Some(booted_at)) if booted_at >= since => {
                self.samples.push(TimingSample::ColdWake(report.duration));
            }
            (Step::Wake, Some(booted_at)) if booted_at >= operation.created_at => {
                let before = between(operation.created_at, since);
                if before <= self.inner.settings.lead_max {
                    self.samples
                        .push(TimingSample::ColdWake(before + report.duration));
                }
            }
            (Step::Prepare, _) => self.samples.push(TimingSample::Prepare(report.duration)),
            _ => {}
        }
    }

    /// Remembers how long the steps took. Nothing depends on it but how early the next reservation is prepared.
    pub(crate) async fn learn(&mut self) {
        let samples = std::mem::take(&mut self.samples);
        if samples.is_empty() {
            return;
        }
        let inner = self.inner;
        let lead = inner.leads.add(&inner.settings, self.host, &samples).effective;
        let store = inner
            .store
            .record_timing(self.held.claim(), &samples, lead, inner.now());
        match timeout(LEARN_LIMIT, store).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "how long the host took was not stored"),
            Err(_) => debug!("how long the host took was not stored in time"),
        }
    }
}
