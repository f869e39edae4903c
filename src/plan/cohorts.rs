//! Cohorts: customers who are new in one period, and come again in those that follow.

use std::ops::Range;

use super::cell_times::CellTimes;
use super::compared::period_key;
use super::shared::asking;
use super::{CellSpace, KeyValue, LevelPlan, LookBack};
use crate::findings::{self, Finding};
use crate::job::{Insight, Job, Key, Level, Report, StatisticKind, TimeKey};

/// The periods that follow each cell of a level.
#[derive(Clone, Debug)]
pub struct Cohorts {
    times: CellTimes,
    /// Of each time, how many of those that follow are wholly within the job's days.
    following: Vec<usize>,
    /// The most of them in which a cohort is looked at.
    most: usize,
}

/// No cohort is looked at for longer than so many periods.
const PERIODS_MAX: usize = 6;

impl Cohorts {
    /// Of a level with the statistic.
    pub(super) fn new(
        job: &Job,
        level: &Level,
        cells: &CellSpace,
        back: Option<&LookBack>,
    ) -> Option<Cohorts> {
        level.bounds.get(&StatisticKind::Cohorts)?;
        let times = CellTimes::new(&level.keys, cells);
        let period = job.payments.period;
        let is_whole = |time: usize| {
            period_key(&level.keys).is_some_and(|(_, key)| {
                let start = key.start(period.day(times.first_day(time)));
                start.is_some_and(|start| period.holds(key, start))
            })
        };
        let whole: Vec<bool> = (0..times.count()).map(is_whole).collect();
        let after = |time: usize| whole[time + 1..].iter().take_while(|whole| **whole).count();
        let following: Vec<usize> = (0..times.count()).map(after).collect();
        let is_known = |time: &usize| back.is_some_and(|back| back.window(*time).is_some());
        let known = (0..times.count()).filter(is_known).map(|time| following[time]);
        let most = known.max().unwrap_or(0).min(PERIODS_MAX);
        Some(Cohorts { times, following, most })
    }

    /// In how many periods after their first one customers are looked for, at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The most days that a time has before it, of those with a whole one after it.
    fn look_back_most(&self) -> u32 {
        let followed = (0..self.times.count()).filter(|&time| self.following[time] > 0);
        followed.map(|time| self.times.first_day(time)).max().unwrap_or(0)
    }

    /// The number of numbers of a cell: those who are new, and those of them that come again,
    /// period by period.
    pub fn width(&self) -> usize {
        self.most.max(1) + 1
    }

    /// The days of the period which is so many after a time; `None` if it is not wholly within the
    /// job's days.
    pub fn days_after(&self, time: usize, periods: usize) -> Option<Range<u32>> {
        let later = time + periods;
        (periods <= self.following[time])
            .then(|| self.times.first_day(later)..self.times.last_day(later) + 1)
    }

    /// The time of a cell.
    pub fn time_of(&self, cell: &[KeyValue]) -> usize {
        self.times.of(cell)
    }
}

impl LevelPlan {
    /// Is a number of a statistic of this cell known, as far as it rests on days before or after
    /// it?
    pub fn tells(&self, kind: StatisticKind, cell: &[KeyValue], number: usize) -> Told {
        if self.changes.get(&kind).is_some_and(|changes| !changes.is_known(cell)) {
            return Told::NoPeriod;
        }
        let back = self.look_back.as_ref().filter(|_| kind.looks_back());
        let cohorts = self.cohorts.as_ref().filter(|_| kind == StatisticKind::Cohorts);
        let after = |c: &Cohorts| c.days_after(c.time_of(cell), number).is_some();
        if back.is_some_and(|back| !back.is_known(cell)) {
            Told::NotBefore
        } else if cohorts.is_some_and(|cohorts| !after(cohorts)) {
            Told::NotAfter
        } else {
            Told::Whole
        }
    }

    /// About how many numbers of a statistic a cell has, but for those that the job's days do not
    /// tell.
    pub(super) fn told_width(&self, kind: StatisticKind, width: usize) -> f64 {
        if let Some(changes) = self.changes.get(&kind) {
            return width as f64 * changes.known_share();
        }
        let Some(back) = self.look_back.as_ref().filter(|_| kind.looks_back()) else {
            return width as f64;
        };
        let cohorts = self.cohorts.as_ref().filter(|_| kind == StatisticKind::Cohorts);
        let told = |time: usize, number: usize| {
            back.window(time).is_some()
                && cohorts.is_none_or(|cohorts| cohorts.days_after(time, number).is_some())
        };
        let times = back.times().max(1);
        let all: usize = (0..times).map(|t| (0..width).filter(|&n| told(t, n)).count()).sum();
        all.max(1) as f64 / times as f64
    }

    /// Of each time whose new customers are told: the days before that tell who is new, the days
    /// of the time, and those of each of the periods after it.
    pub(super) fn cohort_days(&self) -> Vec<(f64, f64, Vec<f64>)> {
        let (Some(back), Some(cohorts)) = (&self.look_back, &self.cohorts) else {
            return Vec::new();
        };
        let days = |range: Range<u32>| f64::from(range.end - range.start);
        let of_time = |time: usize| {
            let before = days(back.window(time)?);
            let own = days(cohorts.days_after(time, 0)?);
            let after = (1..cohorts.width()).filter_map(|k| cohorts.days_after(time, k));
            Some((before, own, after.map(days).collect()))
        };
        (0..back.times()).filter_map(of_time).collect()
    }
}

/// Is a number known?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The job's days hold all that tell.
    Whole,
    /// They do not hold the days before that tell who is new.
    NotBefore,
    /// They do not hold the whole period after.
    NotAfter,
    /// They do not hold both periods that are compared, as a whole.
    NoPeriod,
}

/// Why a level cannot show cohorts, if it has to and can tell who is new.
pub(super) fn unfit(tables: &[(&Report, &Level)], cohorts: Option<&Cohorts>) -> Option<Finding> {
    let cohorts = cohorts?;
    let (report, level) = asking(tables, StatisticKind::Cohorts);
    let fault = |why: &str, hint: &str| {
        let asked = |insight: &&Insight| insight.statistics().contains(&StatisticKind::Cohorts);
        let name = report.insights.iter().find(asked).unwrap_or(&Insight::RetentionCohort).name();
        Some(findings::insight_unfit(name, &level.name(), why, hint).at(level.span.clone()))
    };
    let times = level.keys.iter().filter_map(|key| match key {
        Key::Time(time) => Some(*time),
        _ => None,
    });
    let times: Vec<TimeKey> = times.collect();
    match times[..] {
        [time] if cohorts.most == 0 => fault(
            &format!("no {} whose customers can be new has a whole one after it", time.name()),
            &match cohorts.look_back_most() {
                0 => "let the job have more days, or use a shorter key".to_owned(),
                most => format!("let the job have more days, or set `look_back` to {most} or less"),
            },
        ),
        [_] => None,
        _ => fault(
            "it has not exactly one key of periods that follow each other",
            "keep one of the keys day, week, month and quarter",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    fn plan(keys: &str, rest: &str) -> Result<LevelPlan, String> {
        let text = format!(
            "levels = [[{keys}]]\nkeys = \"public\"\ninsights = [\"retention_cohort\"]\n{rest}"
        );
        let plan = Market::new(&[]).try_plan(&[text]);
        let fault = |error: crate::error::Error| error.findings()[0].message().to_owned();
        plan.map(|mut plan| plan.levels.remove(0)).map_err(fault)
    }

    #[test]
    fn whole_periods_after_a_cell_are_known() {
        // January to April 2025: of months from February on it is known who is new.
        let level = plan("\"month\"", "look_back = 30").expect("a plan");
        let cohorts = level.cohorts.as_ref().expect("asked");
        assert_eq!((cohorts.most(), level.statistics[0].width), (2, 3));
        assert_eq!(cohorts.days_after(1, 0), Some(31..59));
        assert_eq!(cohorts.days_after(1, 2), Some(90..120));
        assert_eq!(cohorts.days_after(1, 3), None);
        // Weeks: the last one, from 28 April on, is cut.
        let level = plan("\"region\", \"week\"", "look_back = 30").expect("a plan");
        let cohorts = level.cohorts.as_ref().expect("asked");
        assert_eq!(cohorts.most(), 6);
        assert_eq!((cohorts.days_after(16, 1), cohorts.days_after(15, 1)), (None, Some(110..117)));
        let key = |week: &str| {
            [KeyValue::Text("R0".into()), KeyValue::Date(week.parse().expect("a day"))]
        };
        let tells = |week: &str, number| level.tells(StatisticKind::Cohorts, &key(week), number);
        assert_eq!(tells("2025-01-27", 0), Told::NotBefore);
        assert_eq!(tells("2025-02-03", 6), Told::Whole);
        assert_eq!((tells("2025-04-14", 1), tells("2025-04-14", 2)), (Told::Whole, Told::NotAfter));
        assert_eq!(tells("2025-04-28", 0), Told::Whole);
    }

    #[test]
    fn levels_that_cannot_show_cohorts_are_found() {
        for (keys, rest, why) in [
            ("\"region\"", "", "have days before them"),
            ("\"week\", \"hour\"", "", "have days before them"),
            ("\"week\", \"month\"", "", "exactly one key"),
            // 1 April is the first whose 90 days before are known, and nothing is after it.
            ("\"month\"", "", "no month whose customers can be new has a whole one after it"),
            ("\"month\"", "look_back = 60", "no month whose customers can be new"),
            ("\"month\"", "look_back = 120", "looks back 120 days"),
        ] {
            let fault = plan(keys, rest).err().unwrap_or_default();
            assert!(fault.contains(why), "{keys} {rest}: {fault}");
        }
        // 1 March, after which there is April.
        assert!(plan("\"month\"", "look_back = 59").is_ok());
    }
}
