//! How long ago customers were last seen, when their cell ends.

use super::cell_times::CellTimes;
use super::shared::asking;
use super::{CellSpace, KeyValue};
use crate::findings::{self, Finding};
use crate::job::{Insight, Level, RECENCY_CLASSES, Report, StatisticKind, recency_names};

/// The classes of a level, and the day up to which days are counted in each cell.
#[derive(Clone, Debug)]
pub struct Recency {
    times: CellTimes,
    classes: usize,
}

/// A class is there if the longest cell of the level has so many days in it or behind it: weeks
/// have one class, months three.
const DAYS_LEAST: u32 = 7;

impl Recency {
    /// Of a level with the statistic.
    pub(super) fn new(level: &Level, cells: &CellSpace) -> Option<Recency> {
        level.bounds.get(&StatisticKind::Recency)?;
        let times = CellTimes::new(&level.keys, cells);
        let fits = |least: &&u32| **least + DAYS_LEAST <= times.longest();
        let classes = RECENCY_CLASSES.iter().filter(fits).count().max(1);
        Some(Recency { times, classes })
    }

    /// How many classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// What the names of their columns end in.
    pub fn names(&self) -> impl Iterator<Item = String> {
        recency_names(self.classes)
    }

    /// The last day of a time of the level, from the period's first on.
    pub fn last_day(&self, time: usize) -> u32 {
        self.times.last_day(time)
    }

    /// The last day of a cell.
    pub fn last_day_of(&self, cell: &[KeyValue]) -> u32 {
        self.times.last_day(self.times.of(cell))
    }

    /// Why the level has too few classes.
    pub(super) fn unfit(
        tables: &[(&Report, &Level)],
        recency: Option<&Recency>,
    ) -> Option<Finding> {
        let recency = recency.filter(|recency| recency.classes < 2)?;
        let (_, level) = asking(tables, StatisticKind::Recency);
        let (name, days) = (Insight::RecencyHistogram.name(), recency.times.longest());
        let days = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
        let why = format!("its longest cells have {days}, and classes are of a week or more");
        let hint = "use the key month or quarter, or no key of time";
        Some(findings::insight_unfit(name, &level.name(), &why, hint).at(level.span.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;

    fn names(levels: &str) -> Result<Vec<String>, String> {
        let text =
            format!("levels = [{levels}]\nkeys = \"public\"\ninsights = [\"recency_histogram\"]");
        let plan = Market::new(&[]).try_plan(&[text]);
        let plan = plan.map_err(|error| error.findings()[0].code().to_owned())?;
        let level = &plan.levels[0];
        let recency = level.recency.as_ref().expect("asked");
        assert_eq!(recency.classes(), level.statistics.last().expect("has it").width);
        Ok(recency.names().collect())
    }

    #[test]
    fn a_level_has_the_classes_that_its_cells_are_long_enough_for() {
        let texts = |all: &[&str]| Ok(all.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(names("[\"region\", \"month\"]"), texts(&["0_6", "7_13", "14_up"]));
        let long = ["0_6", "7_13", "14_29", "30_59", "60_up"];
        assert_eq!(names("[\"quarter\"]"), texts(&long));
        let longer = ["0_6", "7_13", "14_29", "30_59", "60_89", "90_up"];
        assert_eq!(names("[\"merchant\"]"), texts(&longer));
        assert_eq!(names("[\"weekday\", \"hour\"]"), texts(&longer));
        for short in ["[\"week\"]", "[\"day\", \"region\"]", "[\"week\", \"month\"]"] {
            assert_eq!(names(short), Err("insight-unfit".to_owned()), "{short}");
        }
    }
}
