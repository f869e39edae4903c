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

/// Bands next to each other, from the first to the last: one, or all from one on.
pub type Run = (usize, usize);

impl Bands {
    /// What can be told in bands: what adds up over cells, as those of customers would say more
    /// beside a region's.
    pub const KINDS: [StatisticKind; 3] =
        [StatisticKind::Payments, StatisticKind::Sales, StatisticKind::Gross];

    /// All runs of bands between edges that say something, in an order of their own.
    pub fn runs(edges: &[i64]) -> impl Iterator<Item = Run> {
        let last = edges.len();
        (0..last).map(|band| (band, band)).chain((1..=last).map(move |band| (band, last)))
    }

    /// The band of a value, if of the edges only the first few count; `None` if none do.
    pub fn run_of(edges: &[i64], counting: usize, value: f64) -> Option<Run> {
        let band = edges[..counting].iter().filter(|edge| **edge as f64 <= value).count();
        (counting > 0).then_some((band, if band == counting { edges.len() } else { band }))
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
    fn values_are_told_in_the_bands_of_the_edges_that_count() {
        let edges = [1_000, 10_050, 100_000];
        let told = |counting, value| {
            let run = Bands::run_of(&edges, counting, value)?;
            assert_eq!(Bands::runs(&edges).filter(|own| *own == run).count(), 1);
            Some(Bands::name(&edges, run, 2))
        };
        assert_eq!(told(3, 999.0).as_deref(), Some("below 10"));
        assert_eq!(told(3, -50.0).as_deref(), Some("below 10"));
        assert_eq!(told(3, 1_000.0).as_deref(), Some("10 to 100.50"));
        assert_eq!(told(3, 20_000.0).as_deref(), Some("100.50 to 1000"));
        assert_eq!(told(3, 2e9).as_deref(), Some("1000 and more"));
        assert_eq!(told(2, 2e9).as_deref(), Some("100.50 and more"));
        assert_eq!(told(1, 999.0).as_deref(), Some("below 10"));
        assert_eq!(told(0, 2e9), None);
        assert_eq!(Bands::runs(&edges).count(), 3 + 3);
    }
}
