//! All hosts at one instant, written out once for everybody who asks.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use heartbeat_store::{HostState, Liveness, Need, Verdict, judge};
use lab_model::{Catalog, Host, LabId};
use ops_runtime::{Needs, Settings};
use reservation_store::FleetReservation;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::gather::Facts;
use super::view::{
    ClaimView, FailureView, HostView, LeadView, LivenessView, MaintenanceView, ReservationView,
    ReservationsView, StateView, WinrmView, instant, millis,
};

/// The verdict while the database does not answer.
pub(crate) const UNKNOWN: &str = "unknown";

/// All hosts at one instant.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// What it was made from.
    pub(crate) catalog: Arc<Catalog>,
    /// When, by the clock that waits.
    pub(super) made: Instant,
    /// Whether the database answered.
    pub(crate) database: bool,
    /// In the order of the file.
    pub(crate) hosts: Vec<HostEntry>,
    by_key: HashMap<String, usize>,
    generated_at: String,
    /// The whole answer.
    all: Bytes,
    /// Changes with everything but ages and wordings.
    pub(crate) etag: String,
}

/// One host of a snapshot.
#[derive(Debug)]
pub(crate) struct HostEntry {
    pub(crate) view: HostView,
    /// Its row, where there is one and the database answered.
    pub(crate) state: Option<HostState>,
    /// `view` as JSON.
    json: String,
    labs: Vec<LabId>,
    /// What a search looks in, in lower case.
    words: String,
}

/// Which hosts are wanted; nothing means all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) lab: Option<LabId>,
    pub(crate) verdict: Option<&'static str>,
    /// Part of a name, an address or a lab; in lower case.
    pub(crate) words: Option<String>,
}

impl Snapshot {
    /// Puts everything together. `facts` are of before when the database did not answer; then no verdict is given.
    pub(super) fn assemble(
        catalog: Arc<Catalog>,
        settings: &Settings,
        facts: Option<&Facts>,
        database: bool,
        now: DateTime<Utc>,
    ) -> Self {
        let maker = Maker {
            settings,
            facts,
            database,
            now,
            needs: facts.map(|facts| Needs::new(settings, &facts.demand, &catalog, now)),
        };
        let hosts: Vec<HostEntry> = catalog.hosts().iter().map(|host| maker.entry(host)).collect();
        let by_key = hosts
            .iter()
            .enumerate()
            .map(|(at, host)| (host.view.name.to_lowercase(), at))
            .collect();
        let mut snapshot = Self {
            made: Instant::now(),
            database,
            etag: etag(&hosts, database),
            by_key,
            generated_at: instant(now),
            all: Bytes::new(),
            catalog,
            hosts,
        };
        snapshot.all = snapshot.written(snapshot.hosts.iter());
        snapshot
    }

    /// One host, whatever the case of its name.
    pub(crate) fn find(&self, name: &str) -> Option<&HostEntry> {
        self.by_key
            .get(&name.trim().to_lowercase())
            .map(|&at| &self.hosts[at])
    }

    /// The answer to whoever wants these hosts.
    pub(crate) fn answer(&self, filter: &Filter) -> Bytes {
        if *filter == Filter::default() {
            return self.all.clone();
        }
        self.written(self.hosts.iter().filter(|host| host.passes(filter)))
    }

    /// The same as `HostsAnswer` serialized, put together from what is written already.
    fn written<'a>(&self, hosts: impl Iterator<Item = &'a HostEntry>) -> Bytes {
        let mut text = String::from("{\"hosts\":[");
        let mut total = 0;
        for host in hosts {
            if total > 0 {
                text.push(',');
            }
            text.push_str(&host.json);
            total += 1;
        }
        let (at, database) = (&self.generated_at, self.database);
        text.push_str(&format!(
            "],\"total\":{total},\"generatedAt\":\"{at}\",\"database\":{database}}}"
        ));
        Bytes::from(text)
    }
}

impl HostEntry {
    fn passes(&self, filter: &Filter) -> bool {
        filter.lab.as_ref().is_none_or(|lab| self.labs.contains(lab))
            && filter
                .verdict
                .is_none_or(|verdict| verdict == self.view.liveness.verdict)
            && filter
                .words
                .as_ref()
                .is_none_or(|words| self.words.contains(words))
    }
}

/// Of what is the same for all hosts.
struct Maker<'a> {
    settings: &'a Settings,
    facts: Option<&'a Facts>,
    database: bool,
    now: DateTime<Utc>,
    needs: Option<Needs<'a>>,
}

impl Maker<'_> {
    fn entry(&self, host: &Host) -> HostEntry {
        let key = host.name.key();
        let state = self.facts.and_then(|facts| facts.states.get(key));
        let claim = self.facts.and_then(|facts| facts.demand.claims.get(key));
        let maintenance = self
            .facts
            .and_then(|facts| facts.demand.maintenance.get(&host.name));
        let needs = self.needs.as_ref();
        let lead = needs.map_or(self.settings.reservations.engine.lead, |needs| {
            needs.lead(&host.name)
        });
        let [current, next] = needs
            .map(|needs| needs.reservations(&host.name))
            .unwrap_or_default();
        let need = needs.map_or(Need::On, |needs| needs.of(&host.name));
        let view = HostView {
            name: host.name.to_string(),
            address: host.address.clone(),
            mac: host.wake.mac.map(|mac| mac.to_string()),
            labs: host.labs.iter().map(|lab| lab.as_str().to_owned()).collect(),
            winrm: WinrmView::of(host),
            liveness: self.liveness(state, need),
            state: state.map(state_view).unwrap_or_default(),
            failures_in_row: state.map_or(0, |state| state.failures_in_row),
            last_failure: state.and_then(failure),
            maintenance: maintenance.map(MaintenanceView::of),
            reservations: ReservationsView {
                current: current.map(reservation),
                next: next.map(reservation),
            },
            // A claim of before says nothing of now.
            claim: claim.filter(|_| self.database).map(|claim| ClaimView {
                holder: claim.holder.clone(),
                left_ms: millis(claim.left),
            }),
            lead: LeadView { ms: millis(lead) },
        };
        let labs = host.labs.iter().map(LabId::as_str);
        let words = [host.name.key(), host.address.as_str()].into_iter().chain(labs);
        HostEntry {
            // Texts, numbers and booleans only.
            json: serde_json::to_string(&view).unwrap_or_default(),
            state: state.filter(|_| self.database).cloned(),
            labs: host.labs.clone(),
            words: words.collect::<Vec<_>>().join("\n").to_lowercase(),
            view,
        }
    }

    fn liveness(&self, state: Option<&HostState>, need: Need) -> LivenessView {
        let interval = self.settings.poll.interval;
        let at = self
            .facts
            .filter(|_| !self.database)
            .map_or(self.now, |facts| facts.at);
        let Liveness { verdict, reason, age } = judge(state, interval, at, need);
        let seen = state.and_then(|state| state.last_success_at);
        let age = seen.map_or(age, |seen| (self.now - seen).to_std().ok().or(age));
        if self.database {
            return LivenessView {
                verdict: verdict.as_str(),
                reason,
                heartbeat_age_ms: age.map(millis),
            };
        }
        let before = match (self.facts, verdict) {
            (None, _) => String::new(),
            (Some(facts), Verdict::NeverSeen) => format!("; at {}: {reason}", instant(facts.at)),
            (Some(facts), verdict) => format!("; at {} it was {verdict}: {reason}", instant(facts.at)),
        };
        LivenessView {
            verdict: UNKNOWN,
            reason: format!("the database does not answer{before}"),
            heartbeat_age_ms: age.map(millis),
        }
    }
}

fn state_view(state: &HostState) -> StateView {
    StateView {
        ready: state.ready,
        local_mode: state.local_mode,
        local_session: state.local_session,
        reported_at: state.reported_at.map(instant),
        observed_at: state.last_success_at.map(instant),
        clock_offset_ms: state.clock_offset.map(|offset| offset.num_milliseconds()),
    }
}

fn failure(state: &HostState) -> Option<FailureView> {
    let failure = state.last_failure.as_ref()?;
    Some(FailureView {
        code: failure.code.clone(),
        text: failure.text.clone(),
        at: state.last_attempt_at.map(instant),
    })
}

fn reservation(row: &FleetReservation) -> ReservationView {
    ReservationView {
        reservation_id: row.reservation_id.clone(),
        lab_id: row.lab.as_str().to_owned(),
        status: row.status.clone(),
        start: instant(row.start),
        end: instant(row.end),
    }
}

/// Over everything that means something to a reader who knows what time it is.
fn etag(hosts: &[HostEntry], database: bool) -> String {
    let mut digest = Sha256::new();
    digest.update([u8::from(database)]);
    for host in hosts {
        let mut view = host.view.clone();
        view.liveness.reason.clear();
        view.liveness.heartbeat_age_ms = None;
        if let Some(claim) = &mut view.claim {
            claim.left_ms = 0;
        }
        digest.update(serde_json::to_vec(&view).unwrap_or_default());
    }
    let hex: String = digest.finalize()[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("W/\"{hex}\"")
}
