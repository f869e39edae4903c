//! What some statistics need to know of a user's cells beside payments and sales; what no statistic
//! of a level asks for is not kept.

use super::cells::LevelIndex;
use crate::job::{StatisticKind, recency_class};
use crate::plan::{LevelPlan, Plan};

/// Of each of the user's cells, by row.
#[derive(Default)]
pub(super) struct Extras {
    /// The sum of refunds, above zero; `None` if not asked for.
    refunds: Option<Vec<i128>>,
    /// The sum of logarithms of tickets; `None` if not asked for.
    logs: Option<Vec<i64>>,
    /// 64 days in each word of `days`, `words` for each cell; 0 if days are not asked for.
    words: usize,
    days: Vec<u64>,
    /// Who is new and who returns; `None` if not asked for.
    newness: Option<Newness>,
    /// By row, the class of the days since the last visit; `None` if not asked for.
    recency: Option<Vec<usize>>,
}

/// Of the cells of the user at hand, in which they are new.
#[derive(Default)]
struct Newness {
    /// By row: have they been there in the days before?
    returns: Vec<Option<bool>>,
    /// By row, of the level that looks at cohorts: bit 0 if they are new, and bit k if they come
    /// again k periods later, too.
    cohorts: Vec<u32>,
    /// Cells without their time, with row and time: those of one series next to each other.
    order: Vec<(u64, u32, usize)>,
    /// The days of one series, as in [`Extras::days`].
    days: Vec<u64>,
}

impl Extras {
    pub(super) fn new(plan: &Plan, level: &LevelPlan) -> Self {
        let money = [StatisticKind::Gross, StatisticKind::Refunds];
        let refunds = money.iter().any(|&kind| level.position(kind).is_some());
        let days = plan.job.payments.period.days() as usize;
        Extras {
            refunds: refunds.then(Vec::new),
            logs: level.tickets.is_some().then(Vec::new),
            words: if level.counts_visits() { days.div_ceil(64) } else { 0 },
            days: Vec::new(),
            newness: level.look_back.is_some().then(Newness::default),
            recency: level.recency.is_some().then(Vec::new),
        }
    }

    pub(super) fn clear(&mut self) {
        self.refunds.iter_mut().for_each(Vec::clear);
        self.logs.iter_mut().for_each(Vec::clear);
        self.days.clear();
    }

    /// Makes room for one more cell, with nothing in it.
    pub(super) fn push(&mut self) {
        self.refunds.iter_mut().for_each(|refunds| refunds.push(0));
        self.logs.iter_mut().for_each(|logs| logs.push(0));
        self.days.resize(self.days.len() + self.words, 0);
    }

    /// Adds a payment or refund on a day, with its logarithm, which counts if there is one.
    pub(super) fn add(&mut self, row: usize, amount: i64, day: usize, log: i64) {
        if self.words > 0 {
            self.days[row * self.words + day / 64] |= 1 << (day % 64);
        }
        match (&mut self.refunds, &mut self.logs) {
            (Some(refunds), _) if amount < 0 => refunds[row] -= i128::from(amount),
            // Below 2¹⁴ each.
            (_, Some(logs)) if amount > 0 => logs[row] += log,
            _ => {}
        }
    }

    pub(super) fn refunds(&self, row: u32) -> i128 {
        self.refunds.as_ref().map_or(0, |refunds| refunds[row as usize])
    }

    pub(super) fn log(&self, row: u32) -> i64 {
        self.logs.as_ref().map_or(0, |logs| logs[row as usize])
    }

    /// On how many days the user was there.
    pub(super) fn visits(&self, row: u32) -> u32 {
        let days = &self.days[row as usize * self.words..][..self.words];
        days.iter().map(|word| word.count_ones()).sum()
    }

    /// The class of the days since the user's last visit.
    pub(super) fn recency(&self, row: u32) -> usize {
        self.recency.as_ref().map_or(0, |classes| classes[row as usize])
    }

    /// Whether the user has been to a cell of the same keys but time in the days before this one;
    /// `None` where the period does not hold these days.
    pub(super) fn returns(&self, row: u32) -> Option<bool> {
        self.newness.as_ref().and_then(|newness| newness.returns[row as usize])
    }

    /// In which periods from this one on the user is seen, if new: a bit for each.
    pub(super) fn cohort(&self, row: u32) -> u32 {
        self.newness.as_ref().map_or(0, |newness| newness.cohorts[row as usize])
    }

    /// Finds out what rests on the times of cells; `cells` are the numbers of all their cells, by
    /// row.
    pub(super) fn find_times(
        &mut self,
        index: &LevelIndex,
        cells: impl Iterator<Item = u64> + Clone,
    ) {
        self.find_recent(index, cells.clone());
        self.find_new(index, cells);
    }

    /// Finds out how long before the end of each cell the user was last there.
    fn find_recent(&mut self, index: &LevelIndex, cells: impl Iterator<Item = u64>) {
        let (Some(classes), Some(plan)) = (&mut self.recency, &index.asked.recency) else { return };
        classes.clear();
        if self.words == 0 {
            return;
        }
        let last = |days: &[u64]| {
            let word = days.iter().rposition(|&word| word != 0).unwrap_or(0);
            word as u32 * 64 + days[word].checked_ilog2().unwrap_or(0)
        };
        let class = |(cell, days): (u64, &[u64])| {
            let (_, time) = index.series_and_time(cell);
            recency_class(plan.last_day(time) - last(days), plan.classes())
        };
        classes.extend(cells.zip(self.days.chunks_exact(self.words)).map(class));
    }

    /// Finds out where the user is new; `cells` are the numbers of all their cells, by row.
    fn find_new(&mut self, index: &LevelIndex, cells: impl Iterator<Item = u64>) {
        let Some(Newness { returns, cohorts, order, days }) = &mut self.newness else { return };
        order.clear();
        order.extend(cells.zip(0..).map(|(cell, row)| {
            let (series, time) = index.series_and_time(cell);
            (series, row, time)
        }));
        order.sort_unstable();
        returns.clear();
        returns.resize(order.len(), None);
        cohorts.clear();
        cohorts.resize(order.len(), 0);
        for cells in order.chunk_by(|a, b| a.0 == b.0) {
            days.clear();
            days.resize(self.words, 0);
            for &(_, row, _) in cells {
                let own = &self.days[row as usize * self.words..][..self.words];
                days.iter_mut().zip(own).for_each(|(all, own)| *all |= own);
            }
            let was = |day: u32| days[day as usize / 64] >> (day % 64) & 1 == 1;
            for &(_, row, time) in cells {
                let window = index.asked.look_back.as_ref().and_then(|back| back.window(time));
                returns[row as usize] = window.map(|mut days| days.any(was));
                let Some(plan) = &index.asked.cohorts else { continue };
                if returns[row as usize] == Some(false) {
                    let came =
                        |k: &usize| plan.days_after(time, *k).is_some_and(|mut d| d.any(was));
                    let later = (1..=plan.most()).filter(came);
                    cohorts[row as usize] = later.fold(1, |bits, k| bits | 1 << k);
                }
            }
        }
    }
}
