//! What is true of the payments tried: exact sums, which no release may hold.

use std::collections::BTreeMap;

use super::score::{COUNT, Share, class_of};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::findings;
use crate::job::{Insight, StatisticKind};
use crate::mechanism::{NoisyLevel, without_noise};
use crate::plan::{CellKey, LevelPlan, Plan};

/// The exact values of all levels of a plan.
pub(super) struct Truth {
    pub(super) levels: Vec<LevelTruth>,
}

/// The exact values of one level.
pub(super) struct LevelTruth {
    /// Of private levels all keys that hold payments, ascending; else all in the plan's order.
    keys: Vec<CellKey>,
    /// By statistic cell after cell, of each its numbers; in natural units.
    statistics: BTreeMap<StatisticKind, (usize, Vec<i64>)>,
}

impl Truth {
    /// Adds up all payments, with no bound and no noise.
    ///
    /// # Errors
    /// Those of the engine; or there are no payments.
    pub(super) fn of(engine: &dyn Engine, plan: &Plan) -> Result<Truth> {
        let whole = plan.unfitted();
        let (whole, totals) = engine.totals(&whole, &mut |_| Ok(whole.clone()))?;
        let all = without_noise(&whole, totals)?.all;
        let levels = all.into_iter().zip(&whole.levels);
        let truth =
            Truth { levels: levels.map(|(exact, level)| LevelTruth::new(exact, level)).collect() };
        if truth.levels.iter().all(LevelTruth::is_empty) {
            let source = &plan.job.payments;
            return Err(Error::invalid(findings::rows_missing(source.filter.is_some())));
        }
        Ok(truth)
    }
}

impl LevelTruth {
    fn new(exact: NoisyLevel, level: &LevelPlan) -> LevelTruth {
        let kinds = level.statistics.iter().map(|statistic| (statistic.kind, statistic.width));
        let statistics = kinds.zip(exact.values);
        LevelTruth {
            keys: exact.keys,
            statistics: statistics.map(|((kind, w), values)| (kind, (w, values))).collect(),
        }
    }

    /// Are there no payments at all?
    fn is_empty(&self) -> bool {
        let customers = self.statistics.get(&StatisticKind::Customers);
        customers.is_none_or(|(_, values)| values.iter().all(|&count| count == 0))
    }

    /// How many cells there are: public ones, or those that hold payments.
    pub(super) fn cells(&self) -> usize {
        self.keys.len()
    }

    /// The cell of a key of a private level; `None` if it holds no payments.
    pub(super) fn find(&self, key: &CellKey) -> Option<usize> {
        self.keys.binary_search(key).ok()
    }

    pub(super) fn customers(&self, cell: usize) -> f64 {
        self.number(StatisticKind::Customers, 0, cell)
    }

    fn number(&self, kind: StatisticKind, part: usize, cell: usize) -> f64 {
        let values = self.statistics.get(&kind);
        values.map_or(0.0, |(width, values)| values[cell * width + part] as f64)
    }

    fn numbers(&self, kind: StatisticKind, cell: usize) -> impl Iterator<Item = f64> {
        let values = self.statistics.get(&kind);
        let own = values.map_or(&[][..], |(width, values)| &values[cell * width..][..*width]);
        own.iter().map(|&number| number as f64)
    }

    /// A number of an insight in a cell, and what its error counts in sums over cells; `None` if it
    /// has none, as there is nothing to divide by.
    pub(super) fn value(&self, insight: Insight, part: usize, cell: usize) -> Option<(f64, f64)> {
        let ratio = |top: f64, bottom: f64| (bottom > 0.0).then(|| (top / bottom, bottom));
        match *insight.statistics() {
            [top, bottom] => ratio(self.number(top, 0, cell), self.number(bottom, 0, cell)),
            [kind, ..] if insight == Insight::RepeatRate => {
                let all: f64 = self.numbers(kind, cell).sum();
                ratio(all - self.number(kind, 0, cell), all)
            }
            [kind, ..] if insight.is_ratio() && kind.compares() => {
                let all: f64 = self.numbers(kind, cell).sum();
                let more = self.number(kind, 0, cell) - self.number(kind, 2, cell);
                ratio(100.0 * (all + more), all)
            }
            [kind, ..] if insight == Insight::ReturningCustomers => {
                Some((self.number(kind, 1, cell), 1.0))
            }
            [kind, ..] => Some((self.number(kind, part, cell), 1.0)),
            [] => None,
        }
    }

    /// Cells by class of size, of those that a release may show: first those of no customers.
    pub(super) fn classes(&self, level: &LevelPlan) -> [u64; COUNT + 1] {
        let mut count = [0; COUNT + 1];
        for cell in self.open_cells(level) {
            count[class_of(self.customers(cell)).map_or(0, |class| class + 1)] += 1;
        }
        count
    }

    /// Of all keys that hold payments and that a release may show, by class, those for which
    /// `shown` says so.
    pub(super) fn keys_shown(
        &self,
        level: &LevelPlan,
        shown: impl Fn(usize) -> bool,
    ) -> [Share; COUNT] {
        let mut count = [Share::default(); COUNT];
        for cell in self.open_cells(level) {
            if let Some(class) = class_of(self.customers(cell)) {
                count[class].add(shown(cell));
            }
        }
        count
    }

    /// Those that are not hidden for merchants.
    fn open_cells(&self, level: &LevelPlan) -> impl Iterator<Item = usize> {
        (0..self.cells()).filter(|&cell| !level.is_hidden(&self.keys[cell]))
    }
}

/// Can the truth of an insight be told from sums of its cell?
pub(super) fn is_tried(insight: Insight) -> bool {
    // These are neither sums nor ratios of two statistics of a cell.
    let others = [Insight::TicketQuantiles, Insight::RetentionRate, Insight::Lift];
    insight.compared().is_none() && !others.contains(&insight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{DAYS, Market, Row};
    use crate::plan::KeyValue;

    #[test]
    fn what_is_no_sum_of_its_cell_is_not_tried() {
        let own = Insight::all().filter(|insight| insight.compared().is_none());
        let left_out: Vec<&str> = own.filter(|&i| !is_tried(i)).map(Insight::name).collect();
        assert_eq!(left_out, ["retention_rate", "ticket_quantiles", "lift"]);
    }

    const ALL: &str = "[\"customers\", \"payments\", \"sales\", \"gross\", \"refunds\", \"visits\", \
                       \"average_ticket\", \"repeat_rate\", \"ticket_histogram\", \"ticket_quantiles\"]";

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let amount =
            prop_oneof![8 => 1i64..20_000, 2 => -5_000i64..1, 1 => Just(1_000_000_000_000)];
        let row = (0u32..12, 0u32..10, 0..(DAYS - 1) * 1440, amount, 0u32..3);
        let row = row.prop_map(|(user, merchant, minute, amount, wallet)| Row {
            user,
            merchant,
            minute,
            amount,
            wallet,
        });
        prop::collection::vec(row, 1..150)
    }

    /// Small bounds and caps, few cells of a user, and no customers to show: nothing of that is
    /// cut.
    fn plan(market: &Market, insights: &str) -> Plan {
        let bounds = if insights == ALL {
            "bounds = { customers = 1, payments = 2, sales = \"3.00\", gross = 2, refunds = 1, visits = 1, \
             visit_classes = 1, ticket_histogram = 1 }\ncell_caps = { payments = 1 }"
        } else {
            ""
        };
        let report = |levels: &str, keys: &str| {
            format!("levels = {levels}\nkeys = \"{keys}\"\ninsights = {insights}\n{bounds}")
        };
        market.plan(&[
            report("[[], [\"region\", \"week\"], [\"wallet\"]]", "public"),
            format!("{}\ncells_max = 1", report("[[\"merchant\"]]", "private")),
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_truth_is_what_the_payments_add_up_to(rows in rows(), threads in 1usize..4) {
            let market = Market::new(&rows);
            for insights in [ALL, "[\"sales\", \"average_ticket\"]"] {
                let plan = plan(&market, insights);
                let whole = plan.unfitted();
                prop_assert!(market.local(&whole, threads) == market.reference(&whole));
                let truth = Truth::of(&market.engine(threads, 2), &plan).expect("good payments");
                let sum = |rows: &[&Row]| {
                    let mut users: Vec<u32> = rows.iter().map(|row| row.user).collect();
                    users.sort_unstable();
                    users.dedup();
                    let sales: i64 = rows.iter().map(|row| row.amount).sum();
                    let payments = rows.iter().filter(|row| row.amount >= 0).count();
                    (users.len() as f64, payments as f64, sales as f64)
                };
                let found = |level: &LevelTruth, cell: usize| {
                    let sales = level.value(Insight::Sales, 0, cell).expect("a sum").0;
                    let payments = level.number(StatisticKind::Payments, 0, cell);
                    if payments > 0.0 {
                        let ticket = level.value(Insight::AverageTicket, 0, cell);
                        assert_eq!(ticket, Some((sales / payments, payments)));
                    } else {
                        assert_eq!(level.value(Insight::AverageTicket, 0, cell), None);
                    }
                    (level.customers(cell), payments, sales)
                };
                let all: Vec<&Row> = rows.iter().collect();
                prop_assert_eq!(found(&truth.levels[0], 0), sum(&all));
                let of = |level: usize| &truth.levels[level];
                for (cell, wallet) in [(0, 0), (1, 1), (2, 2)] {
                    let own: Vec<&Row> = rows.iter().filter(|row| row.wallet == wallet).collect();
                    prop_assert_eq!(found(of(2), cell), sum(&own));
                }
                for merchant in 0..10u32 {
                    let own: Vec<&Row> = rows.iter().filter(|row| row.merchant == merchant).collect();
                    let key: CellKey = Box::new([KeyValue::Text(format!("M{merchant}").into())]);
                    let cell = of(3).find(&key);
                    prop_assert_eq!(cell.is_some(), !own.is_empty());
                    prop_assert_eq!(cell.map(|cell| found(of(3), cell)), cell.map(|_| sum(&own)));
                }
            }
        }
    }

    #[test]
    fn parts_and_rates_are_told_from_sums() {
        let row = |user: u32, day: u32, amount: i64| Row {
            user,
            merchant: 0,
            minute: day * 1440 + 600,
            amount,
            wallet: 0,
        };
        // Ann on two days, Ben and Eve on one.
        let rows = [row(1, 0, 150), row(1, 3, 250), row(2, 0, 700), row(3, 5, 90), row(3, 5, -40)];
        let market = Market::new(&rows);
        let truth = Truth::of(&market.engine(1, 2), &plan(&market, ALL)).expect("good payments");
        let all = &truth.levels[0];
        assert_eq!(all.value(Insight::RepeatRate, 0, 0), Some((1.0 / 3.0, 3.0)));
        assert_eq!(all.value(Insight::Visits, 0, 0), Some((4.0, 1.0)));
        assert_eq!(all.value(Insight::Refunds, 0, 0), Some((40.0, 1.0)));
        // Below 1, from 1, from 2, from 5.
        let bins = [0, 1, 2, 3].map(|bin| all.value(Insight::TicketHistogram, bin, 0));
        assert_eq!(bins.map(|bin| bin.map(|(count, _)| count as u32)), [1, 1, 1, 1].map(Some));
        assert_eq!(all.classes(&plan(&market, ALL).levels[0]), [0, 1, 0, 0, 0, 0]);
    }
}
