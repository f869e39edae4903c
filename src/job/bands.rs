//! Public bands, in which cells are told whose values merchants must not know.

use std::collections::BTreeMap;
use std::ops::Range;

use super::StatisticKind;

/// By statistic, the edges of bands.
#[derive(Clone, Debug)]
pub struct Bands {
    /// Ascending, in counts or minor units, each at least twice the one before.
    pub edges: BTreeMap<StatisticKind, Vec<i64>>,
    /// Their place in the job file.
    pub span: Range<usize>,
}

/// Bands next to each other: from the first to the last.
pub type Run = (usize, usize);

impl Bands {
    /// What can be told in bands: what adds up over cells, as those of customers would say more
    /// beside a region's.
    pub const KINDS: [StatisticKind; 3] =
        [StatisticKind::Payments, StatisticKind::Sales, StatisticKind::Gross];

    /// All runs of bands between edges that say something, in an order of their own.
    pub fn runs(edges: &[i64]) -> impl Iterator<Item = Run> {
        let last = edges.len();
        let from = move |first| (first..=last).map(move |end| (first, end));
        (0..=last).flat_map(from).filter(move |run| *run != (0, last))
    }

    /// The bands that hold all from `low` to `high`; `None` if that is all of them.
    pub fn run_of(edges: &[i64], low: f64, high: f64) -> Option<Run> {
        let band = |end: f64| edges.iter().filter(|edge| **edge as f64 <= end).count();
        let run = (band(low), band(high));
        (run != (0, edges.len()) && run.0 <= run.1).then_some(run)
    }

    /// What a run is called; `places` are those after the point, of money.
    pub fn name(edges: &[i64], (first, last): Run, places: u32) -> String {
        let text = |edge: usize| Bands::edge(edges[edge], places);
        match (first.checked_sub(1), edges.get(last)) {
            (None, _) => format!("below {}", text(last)),
            (Some(from), Some(_)) => format!("{} to {}", text(from), text(last)),
            (Some(from), None) => format!("{} and more", text(from)),
        }
    }

    /// An edge as job files write it.
    pub fn edge(edge: i64, places: u32) -> String {
        let unit = 10i64.pow(places);
        match edge % unit {
            0 => (edge / unit).to_string(),
            rest => format!("{}.{rest:0width$}", edge / unit, width = places as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bands;

    #[test]
    fn values_are_told_in_as_many_bands_as_their_interval_reaches() {
        let edges = [1_000, 10_050, 100_000];
        let told = |low, high| {
            let run = Bands::run_of(&edges, low, high)?;
            assert_eq!(Bands::runs(&edges).filter(|own| *own == run).count(), 1);
            Some(Bands::name(&edges, run, 2))
        };
        assert_eq!(told(0.0, 999.0).as_deref(), Some("below 10"));
        assert_eq!(told(-50.0, 5_000.0).as_deref(), Some("below 100.50"));
        assert_eq!(told(1_000.0, 10_049.0).as_deref(), Some("10 to 100.50"));
        assert_eq!(told(9_000.0, 20_000.0).as_deref(), Some("10 to 1000"));
        assert_eq!(told(9_000.0, 2e9).as_deref(), Some("10 and more"));
        assert_eq!(told(0.0, 2e9), None);
        assert_eq!(Bands::runs(&edges).count(), 4 + 3 + 2 + 1 - 1);
    }
}
