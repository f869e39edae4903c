//! The plan whose sums nothing is cut from: what is true of payments that need no protection.

use super::calibrate::Gaussian;
use super::{LevelPlan, Plan, Score, Selection, StatisticPlan};
use crate::job::StatisticKind;
use crate::privacy::{Delta, MuSquared, NormBound};

/// As large as a bound can be: 2.8·10¹⁴ payments or minor units of one user.
const MOST: u64 = NormBound::LIMIT - 1;

impl Plan {
    /// The same levels with bounds that no user reaches, all keys that hold payments, and customers
    /// at each level. Without the logarithms of tickets, whose centre only noised values tell.
    ///
    /// What an engine adds up by it is exact, so it is for payments that are public or made up, and
    /// no noise is made for it.
    #[must_use]
    pub(crate) fn unfitted(&self) -> Plan {
        let mut plan = self.clone();
        (plan.surveys, plan.adopted) = (Vec::new(), Vec::new());
        plan.levels.iter_mut().for_each(LevelPlan::unfit);
        plan
    }
}

impl LevelPlan {
    fn unfit(&mut self) {
        self.statistics.retain(|statistic| statistic.kind != StatisticKind::TicketLogs);
        self.tickets = None;
        if self.position(StatisticKind::Customers).is_none() {
            let (kind, charge) = (StatisticKind::Customers, MuSquared::default());
            self.statistics.insert(0, StatisticPlan { kind, width: 1, noise: whole(), charge });
        }
        self.statistics.iter_mut().for_each(|statistic| statistic.noise = whole());
        (self.always, self.keys_from) = (Vec::new(), Vec::new());
        if !self.is_public() {
            let (cells_max, delta) = (u32::MAX, Delta::from_units(1));
            let score = Score::new(&self.statistics, delta, cells_max);
            self.selection = Selection::Threshold { score, cells_max, delta };
        }
    }
}

/// Whole counts and minor units; its noise and price stand for nothing.
fn whole() -> Gaussian {
    let bound = NormBound::new(MOST, MOST).expect("cannot fail because it is below the limit");
    Gaussian { grid_bits: 0, bound, sigma: 1 << 16, mu_squared: MuSquared::default() }
}
