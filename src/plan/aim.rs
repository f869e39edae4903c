//! Budget by how near to the truth values must be, where reports ask for that.

use std::ops::Range;

use super::shared::{Asked, asked};
use super::{LevelPlan, Plan, known_bound, statistic};
use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::{Bound, Percent, StatisticKind};
use crate::privacy::{MuSquared, PrivacyLoss, epsilon_held};

/// What is asked of one statistic.
struct Wanted {
    /// Places of the level and the statistic.
    at: (usize, usize),
    error: Percent,
    span: Range<usize>,
}

impl Plan {
    /// Gives each statistic of which a report states the error what reaches it, and all others what
    /// is left, in proportion to what they had. Nothing is changed if no report states any.
    ///
    /// From predictions, so from public facts and earlier releases (*Asking for accuracy* in
    /// `docs/accuracy.md`).
    ///
    /// # Errors
    /// Invalid: of a statistic nothing is known beforehand, no noise is small enough, or all of it
    /// together costs more than the job may.
    pub fn aim(&mut self) -> Result<()> {
        let wanted = self.wanted();
        if wanted.is_empty() {
            return Ok(());
        }
        let (mut needed, mut faults) = (Vec::new(), Vec::new());
        for wanted in &wanted {
            match self.needed(wanted) {
                Ok(price) => needed.push(price),
                Err(finding) => faults.push(finding),
            }
        }
        if !faults.is_empty() {
            return Err(Error::invalid_all(faults));
        }
        let is_wanted = |at: (usize, usize)| wanted.iter().any(|wanted| wanted.at == at);
        let others: u128 =
            self.places().filter(|at| !is_wanted(*at)).map(|at| self.units(at)).sum();
        let own: u128 = wanted.iter().map(|wanted| self.units(wanted.at)).sum();
        let asked: u128 = needed.iter().map(|price| price.units()).sum();
        // What the job would spend on statistics, of which others keep at least a part.
        let least = others / LEAST_LEFT;
        let Some(left) = (own + others).checked_sub(asked).filter(|left| *left >= least) else {
            return Err(Error::invalid_all(self.too_much(&wanted, &needed, asked + least)));
        };
        let share = |at: (usize, usize)| match wanted.iter().position(|wanted| wanted.at == at) {
            Some(place) => needed[place],
            None => part(self.units(at), left, others),
        };
        let shares: Vec<MuSquared> = self.places().map(share).collect();
        self.spend(&shares)
    }

    /// All statistics: places of level and statistic.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<'_> {
        let of_level =
            |level: usize| (0..self.levels[level].statistics.len()).map(move |s| (level, s));
        (0..self.levels.len()).flat_map(of_level)
    }

    fn units(&self, (level, place): (usize, usize)) -> u128 {
        self.levels[level].statistics[place].charge.units()
    }

    fn wanted(&self) -> Vec<Wanted> {
        let all = asked(&self.job);
        let of_level = |(level, asked): (usize, &Asked)| {
            let aims = asked.level.errors.iter();
            let wanted = aims.filter_map(|(&kind, aim)| {
                let at = (level, self.levels[level].position(kind)?);
                Some(Wanted { at, error: aim.error, span: aim.span.clone() })
            });
            wanted.collect::<Vec<_>>()
        };
        all.iter().enumerate().flat_map(of_level).collect()
    }

    /// The least that reaches what is wanted, within a thousandth.
    fn needed(&self, wanted: &Wanted) -> std::result::Result<MuSquared, Finding> {
        let (kind, level) = self.names(wanted);
        let Some(known) = self.known(wanted.at.0, wanted.at.1) else {
            return Err(findings::error_unpredictable(kind.name(), level).at(wanted.span.clone()));
        };
        let error = |units: u128| {
            known.predicted(MuSquared::from_units(units)).map_or(f64::INFINITY, |p| p.of_cell)
        };
        let (mut low, mut high) = (1u128, MOST_UNITS);
        if error(high) > wanted.error.value() {
            let finding = match self.is_open(wanted.at.0, wanted.at.1) {
                true => findings::error_out_of_any_reach(kind.name(), level, error(high)),
                false => findings::error_out_of_reach(kind.name(), level, error(high)),
            };
            return Err(finding.at(wanted.span.clone()));
        }
        while high - low > high / 1024 {
            let middle = low.midpoint(high);
            if error(middle) <= wanted.error.value() { high = middle } else { low = middle }
        }
        Ok(MuSquared::from_units(high))
    }

    fn names(&self, wanted: &Wanted) -> (StatisticKind, &str) {
        let level = &self.levels[wanted.at.0];
        (level.statistics[wanted.at.1].kind, &level.file)
    }

    /// What is wanted costs too much: for each the share of it, and about the ε that would do for
    /// all.
    fn too_much(&self, wanted: &[Wanted], needed: &[MuSquared], units: u128) -> Vec<Finding> {
        let surveys: u128 = self.surveys.iter().map(|survey| survey.mu_squared().units()).sum();
        let rounds = self.levels.iter().filter_map(LevelPlan::discovery);
        let rounds: u128 = rounds.map(|rounds| rounds.mu_squared().units()).sum();
        // Of what a job costs, these take the same share whatever it is.
        let whole = self.loss.mu_squared.units() as f64;
        let left = (1.0 - (surveys + rounds) as f64 / whole).max(f64::MIN_POSITIVE);
        let mu_squared = MuSquared::from_units((units as f64 / left).ceil() as u128);
        let loss = PrivacyLoss { mu_squared, ..self.loss };
        // Surveys' shares of single statistics are not quite the same.
        const AMPLE: f64 = 1.02;
        let epsilon = epsilon_held(loss, self.job.privacy.delta).map(|epsilon| AMPLE * epsilon);
        let epsilon = epsilon.filter(|epsilon| *epsilon <= 20.0);
        let finding = |(wanted, price): (&Wanted, &MuSquared)| {
            let (kind, level) = self.names(wanted);
            let share = price.units() as f64 / whole;
            findings::error_too_dear(kind.name(), level, share, epsilon).at(wanted.span.clone())
        };
        wanted.iter().zip(needed).map(finding).collect()
    }

    /// Makes the plan anew with what each statistic may cost.
    fn spend(&mut self, shares: &[MuSquared]) -> Result<()> {
        let places: Vec<(usize, usize)> = self.places().collect();
        for (&(level, place), &share) in places.iter().zip(shares) {
            let bound = self.stated(level, place);
            let old = self.levels[level].statistics[place];
            let Some(new) = statistic(old.kind, old.width, bound, share) else {
                let (epsilon, delta) = (self.job.privacy.epsilon, self.job.privacy.delta);
                let finding = findings::budget_too_small(&epsilon, &delta, shares.len());
                return Err(Error::invalid(finding));
            };
            self.levels[level].statistics[place] = new;
        }
        self.levels.iter_mut().for_each(LevelPlan::score_again);
        self.choose_adopted();
        Ok(())
    }

    /// The bound that the job states of a statistic of a level.
    fn stated(&self, level: usize, place: usize) -> Bound {
        let own = &self.levels[level];
        let kind = own.statistics[place].kind;
        let stated = asked(&self.job)[level].level.bounds[&kind];
        known_bound(kind, stated, own.one_cell(&self.job))
    }
}

/// `units` of `all`, with `left` in place of all.
fn part(units: u128, left: u128, all: u128) -> MuSquared {
    // Prices are below 2⁷⁰ units.
    let (units, left, all) = (units >> 8, left >> 8, (all >> 8).max(1));
    MuSquared::from_units((units * left / all) << 8)
}

/// Of what all others had, they keep at least one in so many parts.
const LEAST_LEFT: u128 = 64;

/// More than the largest ε that a job may have costs.
const MOST_UNITS: u128 = 1 << 70;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    /// A report on a market of which everybody knows about how large it is.
    fn plan(report: &str) -> Plan {
        let known = "[expect]\nusers = \"10000\"\npayments = \"150000\"\nsales = \"20000000\"";
        Market::new(&[]).plan(&[format!("keys = \"public\"\n{report}\n{known}")])
    }

    #[test]
    fn shares_are_parts_of_what_is_left() {
        let units = |n: u128| MuSquared::from_units(n).units();
        assert_eq!(part(1 << 60, 1 << 59, 1 << 61).units(), units(1 << 58));
        assert!(part((1 << 69) - 1, 1 << 69, 1 << 69).units() < 1 << 69);
        assert_eq!(part(255, 1 << 60, 1 << 60), MuSquared::default());
    }

    #[test]
    fn without_errors_nothing_changes() {
        let mut plan = plan("levels = [[], [\"region\"]]\ninsights = [\"payments\"]");
        let before = format!("{:?}", plan.levels);
        plan.aim().expect("nothing to do");
        assert_eq!(format!("{:?}", plan.levels), before);
    }

    #[test]
    fn each_gets_what_its_error_takes_and_the_rest_what_is_left() {
        const REPORT: &str = "levels = [[], [\"region\"], [\"region\", \"week\"]]\n\
                              insights = [\"customers\", \"payments\"]";
        for (bounds, error) in [("", "40%"), ("bounds = { payments = 60 }", "60%")] {
            let before = plan(&format!("{REPORT}\n{bounds}"));
            let mut after = plan(&format!(
                "{REPORT}\n{bounds}\nerror = {{ payments = [\"any\", \"any\", \"{error}\"] }}"
            ));
            after.aim().expect("enough budget");
            let found = after.predicted(2, 1).expect("known").of_cell;
            let wanted = Percent::parse(error).expect("a percentage").value();
            assert!(found <= wanted && found > 0.99 * wanted, "{found}");
            assert!(after.loss.mu_squared <= before.loss.mu_squared);
            let less = before.loss.mu_squared.units() - after.loss.mu_squared.units();
            assert!(less < before.loss.mu_squared.units() / 1000, "{less}");
            // What is not asked for keeps its proportions.
            let ratio = |plan: &Plan, level: usize| {
                let price = |at: usize| plan.levels[level].statistics[at].charge.units() as f64;
                price(0) / plan.levels[2].statistics[0].charge.units() as f64
            };
            for level in [0, 1] {
                let (was, is) = (ratio(&before, level), ratio(&after, level));
                assert!((is / was - 1.0).abs() < 0.01, "{level}: {was} {is}");
            }
        }
    }
}
