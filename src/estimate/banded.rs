//! Bands in place of values, of cells that are hidden for their merchants.

use super::View;
use super::model::parts;
use crate::job::{Bands, Insight, Run};

impl View<'_> {
    /// Of each row the bands in which it is told in place of its value; `None`: the table has none
    /// for this insight.
    pub(super) fn bands(&self, insight: Insight, rows: &[usize]) -> Option<Vec<Option<Run>>> {
        let kind = insight.banded().filter(|_| self.shown.bands.contains(&insight))?;
        let registry = self.plan.job.registry.as_ref()?;
        let edges = registry.bands.as_ref()?.edges.get(&kind)?;
        let Some(bands) = &self.level.bands else { return Some(vec![None; rows.len()]) };
        let numbers = self.numbers(kind, 0, rows);
        let sellers = self.level.cells.sellers().map_or(1, <[_]>::len);
        // Cells stand group by group, each with as many times and values of other keys.
        let cells = self.noisy.keys.len() / sellers.max(1);
        let estimate = |cell: usize| numbers.model.estimates[cell] as f64 / parts(kind);
        let band_of = |place: usize| {
            let (group, cell) = (rows[place] / cells.max(1), rows[place] % cells.max(1));
            let own = estimate(rows[place]);
            let known_sum = bands.beside(group)?.map(|beside| {
                let others = beside.iter().map(|group| estimate(group * cells + cell));
                own + others.sum::<f64>()
            });
            run_within(edges, own, known_sum)
        };
        Some((0..rows.len()).map(band_of).collect())
    }
}

/// The band of an estimate, where a sum is known that holds it and what is beside it: of these the
/// edges that are at most half of it, so that the last band, which the sum ends, is wide, too.
///
/// Which edges these are follows from the sum alone, so it is the estimate's band that is told and
/// no more, be it told or not. Not the bands that its interval reaches: where noise is small, two
/// of them would tell that the value is at the edge between.
fn run_within(edges: &[i64], estimate: f64, known_sum: Option<f64>) -> Option<Run> {
    let fits = |edge: &&i64| known_sum.is_none_or(|sum| 2.0 * **edge as f64 <= sum);
    Bands::run_of(edges, edges.iter().take_while(fits).count(), estimate)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::run_within;
    use crate::job::Run;

    /// Whatever the sum: all values with the same band are all that the band and the sum allow, and
    /// the smallest of them is at most half of the largest. Nothing is told of all values or of
    /// none.
    #[test]
    fn the_band_and_the_sum_leave_a_value_any_value_of_the_band() {
        let edges = [1_000i64, 2_000, 5_000];
        for sum in (0..14_000).step_by(50) {
            let mut told: BTreeMap<Option<Run>, Vec<i64>> = BTreeMap::new();
            for value in 0..=sum {
                let run = run_within(&edges, value as f64, Some(sum as f64));
                told.entry(run).or_default().push(value);
            }
            assert!(!told.contains_key(&None) || told.len() == 1, "{sum}: silence tells");
            assert_eq!(told.contains_key(&None), sum < 2 * edges[0], "{sum}");
            for (run, values) in told {
                let Some((first, last)) = run else { continue };
                let from = first.checked_sub(1).map_or(0, |at| edges[at]);
                let to = edges.get(last).map_or(sum, |end| end - 1);
                assert_eq!((values[0], values[values.len() - 1]), (from, to), "{sum}: {run:?}");
                assert_eq!(values.len() as i64, to - from + 1);
                assert!(2 * from <= to + 1, "{sum}: {from} to {to}");
            }
        }
    }

    #[test]
    fn without_a_known_sum_all_edges_count() {
        assert_eq!(run_within(&[1_000, 5_000], 7e3, None), Some((2, 2)));
        assert_eq!(run_within(&[1_000, 5_000], 7e3, Some(9_999.0)), Some((1, 2)));
        assert_eq!(run_within(&[1_000, 5_000], -7.0, None), Some((0, 0)));
    }
}
