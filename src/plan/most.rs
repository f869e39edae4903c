//! How large norms can be, and over how many cells payments can be spread, by public facts.

use super::{LevelPlan, Selection};
use crate::job::{Job, StatisticKind};

/// What norms and spreads can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// The largest norm,
    pub(super) norm: f64,
    /// and the largest spread.
    pub(super) spread: f64,
}

impl Most {
    /// Of a statistic of a level.
    pub(super) fn of(job: &Job, level: &LevelPlan, kind: StatisticKind) -> Most {
        let cells = match &level.selection {
            _ if level.one_cell(job) => Some(1.0),
            Selection::Public => level.cells.count(job).map(|cells| cells as f64),
            Selection::Threshold { cells_max, .. } => Some(f64::from(*cells_max)),
            Selection::Discovered(_) if level.round().is_some() => None,
            Selection::Discovered(_) => Some(level.always.len() as f64),
        };
        let own = level.position(kind).map_or(1, |at| level.statistics[at].width) as f64;
        let width = if kind.facts().one_hot { 1.0 } else { own };
        let spread = cells.map_or(f64::MAX, |cells| (cells * width).sqrt());
        Most { norm: if kind.is_of_users() { spread } else { f64::MAX }, spread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    #[test]
    fn users_who_count_once_have_norms_of_at_most_all_cells() {
        // Three regions in four months, cohorts of three numbers.
        let report = "levels = [[\"region\", \"month\"]]\nkeys = \"public\"\nlook_back = 30\n\
            insights = [\"customers\", \"payments\", \"retention_cohort\"]";
        let plan = Market::new(&[]).plan(&[report.to_owned()]);
        let most = |kind| Most::of(&plan.job, &plan.levels[0], kind);
        let near = |found: f64, squared: f64| (found - squared.sqrt()).abs() < 1e-9;
        assert!(near(most(StatisticKind::Customers).norm, 12.0));
        assert!(near(most(StatisticKind::Cohorts).norm, 36.0));
        let payments = most(StatisticKind::Payments);
        assert!(payments.norm > 1e300 && near(payments.spread, 12.0), "{payments:?}");
    }

    #[test]
    fn users_have_one_home_whatever_the_number_of_homes() {
        let report = "levels = [[\"home_region\"], [\"home_region\", \"month\"]]\nkeys = \"public\"\n\
            insights = [\"customers\", \"payments\"]";
        let plan = Market::new(&[]).plan(&[report.to_owned()]);
        let most = |level: usize, kind| Most::of(&plan.job, &plan.levels[level], kind);
        let customers = most(0, StatisticKind::Customers);
        assert_eq!((customers.norm, customers.spread), (1.0, 1.0));
        assert!(most(0, StatisticKind::Payments).spread <= 1.0);
        assert!(most(1, StatisticKind::Customers).norm > 2.0);
        // Nothing is taken from one customer at home, and the plan says so.
        assert!(!plan.takes_unknown(0, 0));
    }
}
