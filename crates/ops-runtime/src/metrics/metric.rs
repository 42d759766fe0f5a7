//! One metric: an entry of the table, by which it is counted.

use metrics::{Key, Label as KeyLabel, Level, Metadata};

/// What kind of figure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, from the start of the process on.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values were below each of these bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word that Prometheus has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A label, whose values are bounded by what `values` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All values it can have; empty when they are only bounded by `bound`.
    pub values: &'static [&'static str],
    /// What bounds its values, for people.
    pub bound: &'static str,
}

impl Label {
    pub(super) const fn of(name: &'static str, values: &'static [&'static str]) -> Self {
        Self {
            name,
            values,
            bound: "",
        }
    }

    pub(super) const fn bounded(name: &'static str, bound: &'static str) -> Self {
        Self {
            name,
            values: &[],
            bound,
        }
    }
}

/// One entry of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name, which begins with `labops_`.
    pub name: &'static str,
    /// What kind of figure it is.
    pub kind: Kind,
    /// What one of it is; in the name too, where it is seconds.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [Label],
    /// One sentence.
    pub meaning: &'static str,
}

/// Where the figures come from makes no difference to us; the facade wants to know.
static METADATA: Metadata<'static> = Metadata::new("labops", Level::INFO, None);

impl Metric {
    fn key(&self, values: &[&str]) -> Key {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let labels = self.labels.iter().zip(values);
        let labels: Vec<KeyLabel> = labels
            .map(|(label, value)| KeyLabel::new(label.name, (*value).to_owned()))
            .collect();
        Key::from_parts(self.name, labels)
    }

    /// Counts `more`. `values` are those of the labels, in their order.
    pub fn add(&self, values: &[&str], more: u64) {
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(more));
    }

    /// Takes over a count that somebody else keeps.
    pub fn total(&self, values: &[&str], total: u64) {
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA).absolute(total));
    }

    /// How much it is now.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure of 2^53 is as good as its neighbour"
    )]
    pub fn set(&self, values: &[&str], now: u64) {
        self.set_to(values, now as f64);
    }

    /// How much it is now.
    pub fn set_to(&self, values: &[&str], now: f64) {
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).set(now));
    }

    /// One more, or one less.
    pub fn shift(&self, values: &[&str], by: i8) {
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).increment(f64::from(by)));
    }

    /// One value.
    pub fn observe(&self, values: &[&str], value: f64) {
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(value));
    }

    /// Whether all values of all labels are known beforehand.
    pub(super) fn is_enumerable(&self) -> bool {
        self.labels.iter().all(|label| !label.values.is_empty())
    }

    /// Shows it as zero before anything was counted, so that the first count is seen as a growth; only what can be
    /// enumerated.
    pub(super) fn show(&self) {
        let mut rows: Vec<Vec<&str>> = vec![Vec::new()];
        for label in self.labels {
            rows = rows
                .iter()
                .flat_map(|row| {
                    label
                        .values
                        .iter()
                        .map(|value| [row.as_slice(), &[*value]].concat())
                })
                .collect();
        }
        for values in rows {
            let key = self.key(&values);
            metrics::with_recorder(|recorder| match self.kind {
                Kind::Counter => recorder.register_counter(&key, &METADATA).increment(0),
                Kind::Gauge => recorder.register_gauge(&key, &METADATA).increment(0.0),
                Kind::Histogram(_) => drop(recorder.register_histogram(&key, &METADATA)),
            });
        }
    }

    pub(super) fn describe(&self) {
        metrics::with_recorder(|recorder| {
            let (name, meaning) = (self.name.into(), self.meaning.into());
            match self.kind {
                Kind::Counter => recorder.describe_counter(name, None, meaning),
                Kind::Gauge => recorder.describe_gauge(name, None, meaning),
                Kind::Histogram(_) => recorder.describe_histogram(name, None, meaning),
            }
        });
    }
}
