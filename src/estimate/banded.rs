//! Bands in place of values, of cells that are hidden for their merchants.

use super::model::parts;
use super::{Numbers, View};
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
        let told = |place: usize| {
            let (group, cell) = (rows[place] / cells.max(1), rows[place] % cells.max(1));
            let carriers = bands.of(group)?;
            let all = |groups: &[usize]| -> f64 {
                groups.iter().map(|group| estimate(group * cells + cell).max(0.0)).sum()
            };
            told(&numbers, place, edges, carriers.map(all))
        };
        Some((0..rows.len()).map(told).collect())
    }
}

/// The bands of a row, if cells of which nothing is told have so much that it could have any value
/// of them; `spare` is what these have, if a sum is known that holds both.
fn told(numbers: &Numbers, place: usize, edges: &[i64], spare: Option<f64>) -> Option<Run> {
    let interval = numbers.interval(place);
    let run = Bands::run_of(edges, interval.low, interval.high)?;
    let own = interval.value.max(0.0);
    let most = match edges.get(run.1) {
        Some(&end) => end as f64,
        // What has no end is told of what could be twice as much.
        None => 2.0 * own.max(*edges.last()? as f64),
    };
    spare.is_none_or(|spare| own + spare >= most).then_some(run)
}
