//! How long before its start a reservation's host is woken: the configured lead, or more where the host's own
//! history asks for it. The arithmetic is pure; what is remembered of each host costs a read every now and then.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lab_model::HostName;
use tokio::time::Instant;

use crate::ports::{TimingSample, Timings};
use crate::settings::Settings;

/// Fewer samples of a kind than this say nothing.
const FEWEST_SAMPLES: usize = 3;
/// How old what is remembered of a host may get before it is read again; another copy may have learned more.
const REFRESH_EVERY: Duration = Duration::from_mins(30);

/// How long before a start its host is woken, and what that follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// What counts.
    pub effective: Duration,
    /// The configured lead, below which it never goes.
    pub floor: Duration,
    /// How long 95 of 100 cold wakes took at most; `None` with fewer than three samples.
    pub wake_p95: Option<Duration>,
    /// How long 95 of 100 prepares took at most; `None` with fewer than three samples.
    pub prepare_p95: Option<Duration>,
    /// How many cold wakes are known.
    pub cold_wakes: usize,
    /// How many prepares are known.
    pub prepares: usize,
    /// Whether the history asks for more than the configured maximum.
    pub capped: bool,
}

impl Lead {
    /// Works out a host's lead: the p95 of its cold wakes, the p95 of its prepares and the margin, at most
    /// `lead_max`; but never less than the configured lead.
    #[must_use]
    pub fn of(settings: &Settings, timings: &Timings) -> Self {
        let wake_p95 = p95(&timings.cold_wakes);
        let prepare_p95 = p95(&timings.prepares);
        let asked = match (wake_p95, prepare_p95) {
            (None, None) => Duration::ZERO,
            (wake, prepare) => wake
                .unwrap_or_default()
                .saturating_add(prepare.unwrap_or_default())
                .saturating_add(settings.lead_margin),
        };
        Self {
            effective: asked.min(settings.lead_max).max(settings.lead),
            floor: settings.lead,
            wake_p95,
            prepare_p95,
            cold_wakes: timings.cold_wakes.len(),
            prepares: timings.prepares.len(),
            capped: asked > settings.lead_max.max(settings.lead),
        }
    }
}

/// The smallest sample that at least 95 of 100 do not exceed.
fn p95(samples: &[Duration]) -> Option<Duration> {
    if samples.len() < FEWEST_SAMPLES {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// What is remembered of each host. Losing it costs a read.
#[derive(Debug, Default)]
pub(crate) struct Leads {
    known: Mutex<HashMap<HostName, Known>>,
}

#[derive(Debug)]
struct Known {
    timings: Timings,
    lead: Lead,
    read_at: Instant,
}

impl Known {
    fn new(settings: &Settings, timings: Timings, read_at: Instant) -> Self {
        Self {
            lead: Lead::of(settings, &timings),
            timings,
            read_at,
        }
    }
}

impl Leads {
    /// The host's lead; the configured one while nothing is known.
    pub(crate) fn of(&self, settings: &Settings, host: &HostName) -> Duration {
        self.lock()
            .get(host)
            .map_or(settings.lead, |known| known.lead.effective)
    }

    /// Which of these hosts have to be read (again). What is remembered of others is forgotten.
    pub(crate) fn stale<'a>(&self, hosts: impl Iterator<Item = &'a HostName>) -> Vec<HostName> {
        let hosts: HashSet<&HostName> = hosts.collect();
        let mut known = self.lock();
        known.retain(|host, _| hosts.contains(host));
        let fresh = |host: &HostName| {
            known
                .get(host)
                .is_some_and(|known| known.read_at.elapsed() < REFRESH_EVERY)
        };
        let mut stale: Vec<HostName> = hosts.into_iter().filter(|host| !fresh(host)).cloned().collect();
        stale.sort_unstable();
        stale
    }

    /// Remembers what was read of the hosts that were asked for; of some there is nothing to know yet.
    pub(crate) fn learn(
        &self,
        settings: &Settings,
        asked: Vec<HostName>,
        mut found: HashMap<HostName, Timings>,
    ) {
        let read_at = Instant::now();
        let mut known = self.lock();
        for host in asked {
            let timings = found.remove(&host).unwrap_or_default();
            known.insert(host, Known::new(settings, timings, read_at));
        }
    }

    /// Adds what was just measured, and gives the lead that follows.
    pub(crate) fn add(&self, settings: &Settings, host: &HostName, samples: &[TimingSample]) -> Lead {
        let mut known = self.lock();
        let entry = known
            .entry(host.clone())
            .or_insert_with(|| Known::new(settings, Timings::default(), Instant::now()));
        for sample in samples {
            entry.timings.add(*sample);
        }
        entry.lead = Lead::of(settings, &entry.timings);
        entry.lead
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(all: &[u64]) -> Vec<Duration> {
        all.iter().copied().map(Duration::from_secs).collect()
    }

    fn lead(wakes: &[u64], prepares: &[u64]) -> Lead {
        let timings = Timings {
            cold_wakes: seconds(wakes),
            prepares: seconds(prepares),
            lead: None,
        };
        Lead::of(&Settings::default(), &timings)
    }

    #[test]
    fn a_host_that_boots_slowly_is_woken_earlier() {
        let lead = lead(&[150, 140, 160], &[20, 25, 22]);
        assert_eq!(lead.wake_p95, Some(Duration::from_secs(160)));
        assert_eq!(lead.effective, Duration::from_secs(160 + 25 + 30));
        assert!(!lead.capped);
    }

    #[test]
    fn fewer_than_three_samples_of_a_kind_say_nothing() {
        assert_eq!(lead(&[], &[]).effective, Duration::from_secs(120));
        assert_eq!(lead(&[300, 300], &[90, 90]).effective, Duration::from_secs(120));
        assert_eq!(lead(&[300, 300, 300], &[90]).effective, Duration::from_secs(330));
    }

    #[test]
    fn the_configured_lead_is_the_floor_and_the_maximum_the_cap() {
        assert_eq!(
            lead(&[10, 10, 10], &[5, 5, 5]).effective,
            Duration::from_secs(120)
        );
        let slow = lead(&[5_000; 3], &[5; 3]);
        assert_eq!(slow.effective, Duration::from_mins(15));
        assert!(slow.capped);
        let settings = Settings {
            lead: Duration::from_mins(20),
            ..Settings::default()
        };
        let floor = Lead::of(&settings, &Timings::default());
        assert_eq!((floor.effective, floor.capped), (Duration::from_mins(20), false));
    }

    #[test]
    fn two_outliers_of_fifty_do_not_count() {
        let mut wakes = vec![60; 48];
        wakes.extend([900, 900]);
        assert_eq!(lead(&wakes, &[]).wake_p95, Some(Duration::from_secs(60)));
        wakes[0] = 900;
        assert_eq!(lead(&wakes, &[]).wake_p95, Some(Duration::from_secs(900)));
    }

    #[test]
    fn only_the_newest_samples_are_kept() {
        let mut timings = Timings::default();
        for second in 0..80 {
            timings.add(TimingSample::ColdWake(Duration::from_secs(second)));
        }
        assert_eq!(timings.cold_wakes.len(), crate::ports::MAX_TIMINGS);
        assert_eq!(timings.cold_wakes.first(), Some(&Duration::from_secs(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_read_once_and_again_when_what_is_known_is_old() {
        let (leads, settings) = (Leads::default(), Settings::default());
        let hosts = [HostName::parse("ws-1").unwrap(), HostName::parse("ws-2").unwrap()];
        let stale = leads.stale(hosts.iter());
        assert_eq!(stale, hosts);
        leads.learn(&settings, stale, HashMap::new());
        assert_eq!(leads.stale(hosts.iter()), []);
        tokio::time::advance(REFRESH_EVERY).await;
        assert_eq!(leads.stale(hosts.iter()), hosts);
    }

    /// Or whoever reads them works out another lead than whoever measured them.
    #[test]
    fn samples_count_in_whole_milliseconds_as_they_are_stored() {
        let mut timings = Timings::default();
        for _ in 0..FEWEST_SAMPLES {
            timings.add(TimingSample::ColdWake(Duration::from_micros(152_013_900)));
            timings.add(TimingSample::Prepare(Duration::from_micros(20_057_900)));
        }
        let settings = Settings::default();
        let asked = Duration::from_millis(152_013 + 20_057) + settings.lead_margin;
        assert_eq!(Lead::of(&settings, &timings).effective, asked);
    }
}
