//! What a plan costs.

use super::{Discovery, LevelPlan, MerchantProtection, Plan, SurveyPlan, columns_of};
use crate::job::Job;
use crate::privacy::{Delta, MuSquared, PrivacyLoss};

impl Plan {
    /// The plan of these, without what earlier releases tell.
    pub(super) fn priced_of(
        job: Job,
        (levels, surveys): (Vec<LevelPlan>, Vec<SurveyPlan>),
        merchants: Option<MerchantProtection>,
        threshold_delta: Delta,
    ) -> Plan {
        let loss = PrivacyLoss { mu_squared: MuSquared::default(), threshold_delta };
        let columns = columns_of(&levels);
        let (adopted, revises, accepted, totals_from) = (Vec::new(), None, Vec::new(), None);
        let mut plan = Plan {
            job,
            levels,
            surveys,
            adopted,
            merchants,
            revises,
            accepted,
            totals_from,
            loss,
            columns,
        };
        plan.loss.mu_squared = plan.charged();
        plan
    }

    /// What the statistics of a level and their surveys are charged.
    pub fn measured(&self, level: usize) -> MuSquared {
        let statistics = self.levels[level].statistics.iter().map(|s| s.charge.units());
        let surveys = self.surveys.iter().filter(|survey| survey.level == level);
        let surveys = surveys.map(|survey| survey.mu_squared().units());
        MuSquared::from_units(statistics.chain(surveys).sum())
    }

    /// What all statistics, surveys and rounds are charged.
    pub(super) fn charged(&self) -> MuSquared {
        let charges = self.levels.iter().flat_map(|level| &level.statistics).map(|s| s.charge);
        let rounds = self.levels.iter().filter_map(LevelPlan::discovery).map(Discovery::mu_squared);
        charges
            .chain(rounds)
            .chain(self.surveys.iter().map(SurveyPlan::mu_squared))
            .try_fold(MuSquared::default(), MuSquared::checked_add)
            .expect("cannot fail because each is at most its share of the total")
    }
}
