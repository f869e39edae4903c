//! What earlier releases said of a level's cells, for estimates to go by.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;

use super::{CellKey, LevelPlan};
use crate::job::{Period, StatisticKind};

/// Values of an earlier release.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The job, and the digest of its release's manifest.
    pub from: (String, String),
    /// Its values, of which a plan's clones need no copies.
    pub cells: Arc<EarlierCells>,
}

/// What an earlier release says of the cells of a level with the same keys.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierCells {
    /// First and last day of the release.
    pub days: (NaiveDate, NaiveDate),
    /// The keys, in the order of this plan's level.
    pub keys: Vec<CellKey>,
    /// By statistic, in natural units.
    pub statistics: BTreeMap<StatisticKind, EarlierValues>,
}

/// Values of one statistic, cell after cell.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierValues {
    /// Noised values, corrected for what the fit has taken.
    pub values: Vec<f64>,
    /// Standard deviation of the noise of each.
    pub sds: Vec<f64>,
    /// Estimates as they were shown; `None` where they were not.
    pub shown: Vec<Option<EarlierEstimate>>,
}

/// An estimate that an earlier release has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlierEstimate {
    /// The estimate.
    pub value: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl EarlierValues {
    /// What is kept of one cell, in bytes.
    pub const BYTES: usize = size_of::<[f64; 2]>() + size_of::<Option<EarlierEstimate>>();
}

impl LevelPlan {
    /// How many cells of earlier releases it knows, of all together.
    pub fn earlier_cells(&self) -> usize {
        self.earlier.iter().map(|earlier| earlier.cells.keys.len()).sum()
    }

    /// Of each earlier release how many periods it is before the job's own, at least one more than
    /// the one after it: their first days tell, in periods as long as its own, as months are 28
    /// days or 31.
    pub fn periods_before(&self, own: Period) -> Vec<i32> {
        let periods = |(later, earlier): (NaiveDate, &Earlier)| {
            let (first, last) = earlier.cells.days;
            let days = (last - first).num_days() + 1;
            // Rounded to the nearest; a job's days are few.
            let gap = ((later - first).num_days() * 2 + days) / (2 * days.max(1));
            i32::try_from(gap.max(1)).unwrap_or(i32::MAX)
        };
        let firsts = self.earlier.iter().map(|earlier| earlier.cells.days.0);
        let laters = std::iter::once(own.first()).chain(firsts);
        let mut before = 0i32;
        let gaps = laters.zip(&self.earlier).map(periods);
        gaps.map(|gap| {
            before = before.saturating_add(gap);
            before
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    fn release((year, month): (i32, u32)) -> Earlier {
        let first = NaiveDate::from_ymd_opt(year, month, 1).expect("a day");
        let last = first + chrono::Months::new(1) - chrono::Days::new(1);
        let cells =
            EarlierCells { days: (first, last), keys: Vec::new(), statistics: BTreeMap::new() };
        Earlier { from: (first.to_string(), String::new()), cells: Arc::new(cells) }
    }

    #[test]
    fn months_are_a_period_each_whatever_their_days() {
        let mut plan = Market::new(&[])
            .plan(&["levels = [[]]\nkeys = \"public\"\ninsights = [\"payments\"]".to_owned()]);
        let level = &mut plan.levels[0];
        let day = |month: u32, day: u32| NaiveDate::from_ymd_opt(2026, month, day).expect("a day");
        let march = Period::new(day(3, 1), day(3, 31)).expect("days");
        assert!(level.periods_before(march).is_empty());
        // The months from February 2026 back to February 2024.
        let months = (0..25).map(|back| (2026 - (back + 10) / 12, 12 - (back as u32 + 10) % 12));
        level.earlier = months.map(release).collect();
        assert_eq!(level.earlier[0].from.0, "2026-02-01");
        assert_eq!(level.earlier[24].from.0, "2024-02-01");
        assert_eq!(level.periods_before(march), (1..=25).collect::<Vec<i32>>());
        // A gap stays one.
        level.earlier = vec![release((2026, 1)), release((2025, 3)), release((2025, 2))];
        assert_eq!(level.periods_before(march), [2, 12, 13]);
        // Of one whose days are among the job's own, too.
        level.earlier = vec![release((2026, 2)), release((2025, 12))];
        let late = Period::new(day(2, 4), day(3, 3)).expect("days");
        assert_eq!(level.periods_before(late), [1, 3]);
    }
}
