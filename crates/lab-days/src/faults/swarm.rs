//! Each day has its own mixture: with every fault switched on at once, most of them would hide behind others.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use super::FaultKind;

/// One day in so many is calm: on it, everybody has to be on time.
const CALM_ONE_IN: u32 = 12;

/// Which kinds of trouble a day has, and how much of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swarm {
    /// From 1, now and then, to 3, all the time. A kind that is missing does not occur.
    intensity: BTreeMap<FaultKind, u32>,
}

impl Swarm {
    /// Draws a mixture: nothing at all on calm days, else each kind with four chances in ten.
    pub fn draw(rng: &mut impl Rng) -> Self {
        if rng.random_range(0..CALM_ONE_IN) == 0 {
            return Self::default();
        }
        let mut intensity = BTreeMap::new();
        // Engineers are drawn apart, so that days without them are as they were before there were any.
        for kind in FaultKind::ALL
            .into_iter()
            .filter(|kind| *kind != FaultKind::Maintenance)
        {
            if rng.random_bool(0.4) {
                intensity.insert(kind, rng.random_range(1..=3));
            }
        }
        Self { intensity }
    }

    /// Adds engineers to a day that is not calm, with four chances in ten.
    pub(crate) fn with_engineers(mut self, rng: &mut impl Rng) -> Self {
        if !self.is_calm() && rng.random_bool(0.4) {
            self.intensity
                .insert(FaultKind::Maintenance, rng.random_range(1..=3));
        }
        self
    }

    /// Makes a mixture of one's own.
    #[must_use]
    pub fn of(kinds: &[(FaultKind, u32)]) -> Self {
        Self {
            intensity: kinds.iter().copied().collect(),
        }
    }

    /// How much there is of a kind: 0 for none, 3 for most.
    #[must_use]
    pub fn intensity(&self, kind: FaultKind) -> u32 {
        self.intensity.get(&kind).copied().unwrap_or(0)
    }

    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.intensity.is_empty()
    }

    /// How likely a single occasion is hit: `each` for every degree of intensity.
    #[must_use]
    pub fn chance(&self, kind: FaultKind, each: f64) -> f64 {
        (f64::from(self.intensity(kind)) * each).min(1.0)
    }

    /// The kinds that occur.
    pub fn kinds(&self) -> impl Iterator<Item = FaultKind> + '_ {
        self.intensity.keys().copied()
    }
}
