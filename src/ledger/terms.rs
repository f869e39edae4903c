//! What a ledger is held to, and whether a later job agrees.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::{TermsRow, stored};
use crate::error::{Error, Result};
use crate::findings::{self, Difference};
use crate::privacy::{Delta, Epsilon, MuSquared, PrivacyBudget};

/// The neighbour relation of every ledger of this version.
const NEIGHBOURS: &str = "add-or-remove-unit";

/// How `crate::privacy` derives the budget from ε and δ. A ledger keeps its budget when a later
/// version derives another one.
const CONVERSION: &str = "gdp-balle-wang-2018";

/// What a population's ledger is held to; fixed when it is made, by `ledger init` or the first run.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The people whose budget it is.
    pub population: String,
    /// Who is protected, such as `user`.
    pub unit: String,
    /// The SQL expression that tells users apart; `None`: the first job decides. Two jobs that
    /// split one person's payments differently have no common guarantee (Theorem 2).
    pub user: Option<String>,
    /// How times are read, where the unit lies within a period, decided as `user` is: two jobs that
    /// put one payment into different periods have no common guarantee either.
    pub time: Option<String>,
    /// ε that all jobs may cost together, as the job file has it.
    pub epsilon_max: String,
    /// δ that all jobs may cost together, as the job file has it.
    pub delta_max: String,
    /// The limit that follows from both.
    pub budget: PrivacyBudget,
    /// Further limits on what single recipients may get; ascending by name. Recipients might put
    /// their releases together, so these stand beside `budget` and never instead of it.
    pub recipients: Vec<RecipientTerms>,
}

/// The budget of one recipient; a recipient without one is held by the total alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientTerms {
    /// As jobs name the recipient.
    pub name: String,
    /// ε that all jobs for the recipient may cost together.
    pub epsilon_max: String,
    /// δ that all jobs for the recipient may cost together.
    pub delta_max: String,
    /// The limit that follows from both.
    pub budget: PrivacyBudget,
}

/// A recipient's budget as the ledger stores it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRecipient {
    name: String,
    epsilon_max: String,
    delta_max: String,
    mu_squared: String,
    threshold_delta: u64,
}

impl RecipientTerms {
    /// The column `recipients`; `None` if it means nothing to this version.
    pub(super) fn read_all(text: &str) -> Option<Vec<RecipientTerms>> {
        let stored: Vec<StoredRecipient> = serde_json::from_str(text).ok()?;
        let terms = stored.into_iter().map(|stored| {
            let budget = PrivacyBudget {
                mu_squared: MuSquared::from_units(stored.mu_squared.parse().ok()?),
                threshold_delta: Delta::stored(stored.threshold_delta)?,
            };
            let StoredRecipient { name, epsilon_max, delta_max, .. } = stored;
            Some(RecipientTerms { name, epsilon_max, delta_max, budget })
        });
        let terms: Vec<RecipientTerms> = terms.collect::<Option<_>>()?;
        terms.is_sorted_by(|a, b| a.name < b.name).then_some(terms)
    }

    fn write_all(terms: &[RecipientTerms]) -> String {
        let stored: Vec<StoredRecipient> = terms
            .iter()
            .map(|terms| StoredRecipient {
                name: terms.name.clone(),
                epsilon_max: terms.epsilon_max.clone(),
                delta_max: terms.delta_max.clone(),
                mu_squared: terms.budget.mu_squared.units().to_string(),
                threshold_delta: terms.budget.threshold_delta.units(),
            })
            .collect();
        serde_json::to_string(&stored).expect("cannot fail because texts and numbers are JSON")
    }
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
            recipients: RecipientTerms::write_all(&self.recipients),
        }
    }

    /// What a ledger was made with; `None` if its recipients or its budget mean nothing to this
    /// version.
    pub(super) fn of(row: &TermsRow) -> Option<Terms> {
        Some(Terms {
            population: row.population.clone(),
            unit: row.unit.clone(),
            user: None,
            time: None,
            epsilon_max: row.epsilon_max.clone(),
            delta_max: row.delta_max.clone(),
            budget: row.limits()?.total,
            recipients: RecipientTerms::read_all(&row.recipients)?,
        })
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
