//! What numbers of a cell can be beside others of the same cell, whatever their noise says.

use super::model::{Model, Report, parts};
use super::reconcile::Values;
use crate::job::StatisticKind;
use crate::plan::StatisticPlan;

impl Report<'_> {
    /// Visits as many as the customers that are estimated can have: each came on a day at least,
    /// and on no more than the cell has.
    pub(super) fn limit_visits(&self, at: (usize, usize), own: &mut Values, models: &[Vec<Model>]) {
        let level = &self.plan.levels[at.0];
        if self.statistic(at).kind != StatisticKind::Visits {
            return;
        }
        let Some(place) = level.position(StatisticKind::Customers) else { return };
        let days = level.days_of(self.totals.levels[at.0].keys.iter().map(|key| &**key));
        let customers = models[at.0][place].estimates.iter().zip(days);
        for (visits, (&customers, days)) in own.means.iter_mut().zip(customers) {
            let customers = customers as f64 / parts(StatisticKind::Customers);
            *visits = visits.clamp(customers, customers * days);
        }
    }
}

/// Of each cohort no more who come again than there are, if the statistic is of cohorts.
pub(super) fn limit_cohorts(statistic: &StatisticPlan, estimates: &mut [i64]) {
    if statistic.kind != StatisticKind::Cohorts {
        return;
    }
    for cohort in estimates.chunks_exact_mut(statistic.width) {
        let new = cohort[0];
        cohort.iter_mut().for_each(|again| *again = (*again).min(new));
    }
}

#[cfg(test)]
mod tests {
    use crate::estimate::{Column, Estimate, Table, Values, estimate};
    use crate::fixture::{DAYS, Market, Row};
    use crate::mechanism::{RunKey, add_noise};
    use crate::plan::Plan;

    /// Users who come every third day, all to the same merchants.
    fn market() -> Market {
        let row = |n: u32| Row {
            user: n % 600,
            merchant: n % 600 % 4,
            minute: (n / 600 * 3 % DAYS) * 1440 + 600 + n % 60,
            amount: 500,
            wallet: 0,
        };
        Market::new(&(0..600 * DAYS / 3).map(row).collect::<Vec<Row>>())
    }

    /// The tables of a job's levels, of so many runs.
    fn tables(plan: &Plan, market: &Market, runs: u8) -> Vec<Vec<Table>> {
        let of_run = |run| {
            let totals = market.local(plan, 2);
            let noisy = add_noise(plan, totals, RunKey::frozen([run; 32]), 2).expect("draws");
            let estimates = estimate(plan, noisy, 2);
            let table = |level: usize| {
                let shown = estimates.table(level, 0);
                shown.slices(shown.rows()).get(0)
            };
            (0..plan.levels.len()).map(table).collect()
        };
        (0..runs).map(of_run).collect()
    }

    fn column<'t>(table: &'t Table, name: &str) -> &'t Column {
        table.columns.iter().find(|column| column.name == name).expect("is there")
    }

    fn values<'t>(table: &'t Table, name: &str) -> &'t [Estimate<Option<f64>>] {
        match &column(table, name).values {
            Values::Counts(values) => values,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn customers_have_a_visit_at_least_and_one_a_day_at_most() {
        let market = market();
        let plan = market.plan(&["levels = [[\"day\"], [\"week\"], [\"region\", \"weekday\"]]\n\
             keys = \"public\"\ninsights = [\"customers\", \"visits\", \"visits_per_customer\"]\n\
             bounds = { customers = 6, visits = 7 }\nsuppress_above = \"never\""
            .to_owned()]);
        let mut beyond = [0, 0];
        for tables in tables(&plan, &market, 3) {
            // The first week and the last one are cut; 17 or 18 of each weekday.
            let weeks: Vec<f64> = [5.0].into_iter().chain([7.0; 16]).chain([3.0]).collect();
            let mondays = [17.0, 17.0, 18.0, 17.0, 17.0, 17.0, 17.0].repeat(3);
            for (table, days) in tables.iter().zip([vec![1.0; 120], weeks, mondays]) {
                let [customers, visits, each] =
                    ["customers", "visits", "visits_per_customer"].map(|name| values(table, name));
                assert_eq!((customers.len(), visits.len()), (days.len(), days.len()));
                for (row, days) in days.into_iter().enumerate() {
                    let whole =
                        |of: &[Estimate<Option<f64>>]| of[row].interval.value.expect("shown");
                    let (customers, visits) = (whole(customers), whole(visits));
                    assert!((customers..=customers * days).contains(&visits), "{row}");
                    let noised = each[row].unbiased.unwrap_or(1.0);
                    beyond[0] += usize::from(noised < 1.0);
                    beyond[1] += usize::from(noised > days);
                    let interval = each[row].interval;
                    for end in [interval.value, interval.low, interval.high].into_iter().flatten() {
                        assert!((1.0..=days).contains(&end), "{row}: {interval:?}");
                    }
                }
            }
        }
        assert!(beyond[0] > 10 && beyond[1] > 10, "{beyond:?}");
    }

    #[test]
    fn no_more_come_again_than_came() {
        let market = market();
        let plan = market.plan(&["levels = [[\"week\"]]\nkeys = \"public\"\nlook_back = 2\n\
             insights = [\"customers\", \"retention_cohort\", \"retention_rate\"]\nbounds = { customers = 5, retention_cohort = 6 }\n\
             suppress_above = \"never\""
            .to_owned()]);
        let (mut beyond, mut shown) = (0, 0);
        for tables in tables(&plan, &market, 3) {
            for table in &tables {
                let new = values(table, "retention_cohort_0");
                for periods in 1..=6 {
                    let again = values(table, &format!("retention_cohort_{periods}"));
                    let rates = values(table, &format!("retention_rate_{periods}"));
                    for (row, rate) in rates.iter().enumerate() {
                        let whole = |of: &[Estimate<Option<f64>>]| of[row].interval.value;
                        if let Some((again, new)) = whole(again).zip(whole(new)) {
                            assert!(again <= new, "{row}: {again} of {new}");
                        }
                        beyond += usize::from(rate.unbiased.is_some_and(|rate| rate > 1.0));
                        let interval = rate.interval;
                        let ends = [interval.value, interval.low, interval.high];
                        shown += usize::from(interval.value.is_some());
                        for end in ends.into_iter().flatten() {
                            assert!((0.0..=1.0).contains(&end), "{row}: {interval:?}");
                        }
                    }
                }
            }
        }
        assert!(beyond > 10 && shown > 100, "{beyond} of {shown}");
    }

    #[test]
    fn what_is_never_below_zero_has_no_interval_there() {
        let market = market();
        let plan =
            market.plan(&["levels = [[\"day\"], [\"merchant\", \"week\"]]\nkeys = \"public\"\n\
             insights = [\"gross\", \"refunds\", \"sales\"]\nsuppress_above = \"never\"\n\
             bounds = { gross = \"200\", refunds = \"200\", sales = \"200\" }"
                .to_owned()]);
        let mut lows = [0, 0];
        for table in tables(&plan, &market, 2).iter().flatten() {
            for (name, signed) in [("gross", false), ("refunds", false), ("sales", true)] {
                let Values::Money(values) = &column(table, name).values else { panic!("money") };
                for estimate in values {
                    let (value, low) = (estimate.interval.value, estimate.interval.low);
                    assert!(signed || (Some(0) <= low && low <= value), "{name}: {estimate:?}");
                    lows[usize::from(signed)] += usize::from(signed == (low < Some(0)));
                }
            }
        }
        // There is noise enough.
        assert!(lows.iter().all(|&lows| lows > 50), "{lows:?}");
    }
}
