//! What a ledger is held to, and whether a later job agrees.

use std::path::Path;

use super::chain::{TermsRow, stored};
use crate::error::{Error, Result};
use crate::findings::{self, Difference};
use crate::privacy::{Delta, Epsilon, PrivacyBudget};

/// The neighbour relation of every ledger of this version.
const NEIGHBOURS: &str = "add-or-remove-unit";

/// How `crate::privacy` derives the budget from ε and δ. A ledger keeps its budget when a later
/// version derives another one.
const CONVERSION: &str = "gdp-balle-wang-2018";

/// What a population's ledger is held to; fixed by the first run.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The people whose budget it is.
    pub population: String,
    /// Who is protected, such as `user`.
    pub unit: String,
    /// ε that all jobs may cost together, as the job file has it.
    pub epsilon_max: String,
    /// δ that all jobs may cost together, as the job file has it.
    pub delta_max: String,
    /// The limit that follows from both.
    pub budget: PrivacyBudget,
}

impl Terms {
    /// As a new ledger stores them.
    pub(super) fn row(&self) -> TermsRow {
        TermsRow {
            population: self.population.clone(),
            unit: self.unit.clone(),
            neighbours: NEIGHBOURS.to_owned(),
            epsilon_max: self.epsilon_max.clone(),
            delta_max: self.delta_max.clone(),
            budget_mu_squared: self.budget.mu_squared.units().to_string(),
            budget_threshold_delta: stored(self.budget.threshold_delta),
            conversion: CONVERSION.to_owned(),
        }
    }

    /// Refuses a ledger that was made with other terms; `4` and `4.0` are the same ε.
    pub(super) fn compare(&self, kept: &TermsRow, path: &Path) -> Result<()> {
        let epsilon = |text: &str| Epsilon::parse(text).ok();
        let delta = |text: &str| Delta::parse(text).ok();
        let same_epsilon = equal(epsilon, &kept.epsilon_max, &self.epsilon_max);
        let same_delta = equal(delta, &kept.delta_max, &self.delta_max);
        let all = [
            ("population", &*kept.population, &*self.population, false),
            ("unit", &*kept.unit, &*self.unit, false),
            ("neighbours", &*kept.neighbours, NEIGHBOURS, false),
            ("epsilon_max", &*kept.epsilon_max, &*self.epsilon_max, same_epsilon),
            ("delta_max", &*kept.delta_max, &*self.delta_max, same_delta),
        ];
        let differences: Vec<Difference<'_>> = all
            .into_iter()
            .filter(|(_, kept, stated, same)| !same && kept != stated)
            .map(|(name, kept, stated, _)| Difference { name, kept, stated })
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::refused(findings::ledger_terms_differ(path, &differences)))
    }
}

/// Both are numbers, and the same one.
fn equal<T: PartialEq>(parse: impl Fn(&str) -> Option<T>, a: &str, b: &str) -> bool {
    parse(a).is_some_and(|number| Some(number) == parse(b))
}
