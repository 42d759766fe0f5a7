//! Reading the scheduler's `/metrics`.

use std::collections::BTreeMap;

/// One look at all numbers: name with labels, and value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exposition(BTreeMap<String, f64>);

impl Exposition {
    pub(crate) fn parse(text: &str) -> Self {
        let numbers = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            });
        Self(numbers.collect())
    }

    /// The sum over all labels of a counter since an earlier look.
    #[cfg(test)]
    pub(crate) fn grown(&self, earlier: &Self, name: &str) -> f64 {
        self.sum(name) - earlier.sum(name)
    }

    /// The sum of one counter where this label has this value, since an earlier look.
    pub(crate) fn grown_where(&self, earlier: &Self, name: &str, label: &str) -> f64 {
        let sum = |look: &Self| -> f64 {
            let fits = |key: &&String| key.starts_with(&format!("{name}{{")) && key.contains(label);
            look.0.keys().filter(fits).map(|key| look.0[key]).sum()
        };
        sum(self) - sum(earlier)
    }

    /// The sum over all labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let fits = |key: &&String| *key == name || key.starts_with(&format!("{name}{{"));
        self.0.keys().filter(fits).map(|key| self.0[key]).sum()
    }

    /// The upper bound of the bucket in which this share of what a histogram has seen since an earlier look lies.
    pub(crate) fn quantile(&self, earlier: &Self, name: &str, share: f64) -> Option<f64> {
        let prefix = format!("{name}_bucket{{le=\"");
        let mut buckets: Vec<(f64, f64)> = self
            .0
            .iter()
            .filter_map(|(key, count)| {
                let bound = key.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                let bound = if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse().ok()?
                };
                Some((bound, count - earlier.0.get(key).copied().unwrap_or_default()))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last()?.1;
        let bound = buckets
            .iter()
            .find(|(_, count)| all > 0.0 && *count >= all * share);
        bound.map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP x y\npolls_total{outcome=\"ok\"} 5\nlate_bucket{le=\"0.1\"} 1\nlate_bucket{le=\"1\"} 1\nlate_bucket{le=\"+Inf\"} 1\n";
    const AFTER: &str = "polls_total{outcome=\"ok\"} 9\npolls_total{outcome=\"gone\"} 2\n\
                         late_bucket{le=\"0.1\"} 9\nlate_bucket{le=\"1\"} 10\nlate_bucket{le=\"+Inf\"} 11\n";

    #[test]
    fn counters_are_compared_with_an_earlier_look() {
        let (before, after) = (Exposition::parse(BEFORE), Exposition::parse(AFTER));
        assert_eq!(after.grown(&before, "polls_total"), 6.0);
        assert_eq!(after.grown_where(&before, "polls_total", "\"ok\""), 4.0);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket_since_then() {
        let (before, after) = (Exposition::parse(BEFORE), Exposition::parse(AFTER));
        assert_eq!(after.quantile(&before, "late", 0.5), Some(0.1));
        assert_eq!(after.quantile(&before, "late", 0.9), Some(1.0));
        assert_eq!(after.quantile(&before, "late", 1.0), Some(f64::INFINITY));
        assert_eq!(after.quantile(&after, "late", 0.5), None);
    }
}
