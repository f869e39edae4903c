//! Noise from a known key, for the audit's synthetic twins: what one user changes then shows
//! exactly. And none, for trials on payments that need no protection.
//!
//! A barrier of types keeps it from releases: [`KnownKey`] is no `RunKey`, and [`KnownTotals`] are
//! no [`NoisyTotals`], so neither `run` nor `release::write` takes them. What is made from them is
//! marked as not private in every file, and the ledger records none of it.
//!
//! ```compile_fail
//! use discretail::{estimate::estimate, mechanism::KnownTotals, plan::Plan};
//! fn write(plan: &Plan, known: KnownTotals) {
//!     let _ = estimate(plan, known, 1);
//! }
//! ```
//! ```compile_fail
//! use discretail::mechanism::{KnownKey, RunKey};
//! let key: RunKey = KnownKey::new([7; 32]);
//! ```

use super::{
    NoisyLevel, NoisyTotals, RunKey, are_of, failed, noise_all, noise_surveys, settle, shown,
};
use crate::engine::{ExactSurveys, ExactTotals, LevelTotals};
use crate::error::Result;
use crate::plan::{Plan, Survey};

/// A key that everybody knows.
pub struct KnownKey([u8; 32]);

impl KnownKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> KnownKey {
        KnownKey(bytes)
    }
}

/// One measurement, as it was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The level's table.
    pub file: String,
    /// Name of the statistic.
    pub statistic: &'static str,
    /// The noise, in grid units.
    pub sigma: u64,
    /// The most one user may change, in grid units.
    pub sensitivity: u64,
    /// How many cells, where keys are public.
    pub public_cells: Option<usize>,
}

/// Totals with known noise.
pub struct KnownTotals {
    /// All cells, before private keys are selected.
    pub(crate) all: Vec<NoisyLevel>,
    /// The measurements, in order.
    pub(crate) calls: Vec<Call>,
    /// Those that would be shown; none where there is no noise.
    pub(crate) shown: Vec<NoisyLevel>,
}

impl std::fmt::Debug for KnownTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KnownTotals(sensitive)")
    }
}

impl KnownTotals {
    /// What would be shown, marked as not private.
    pub(crate) fn marked(&self) -> NoisyTotals {
        NoisyTotals { levels: self.shown.clone(), frozen: true }
    }
}

/// [`add_noise`](super::add_noise) with a known key.
///
/// # Errors
/// As [`add_noise`](super::add_noise).
pub fn add_known_noise(
    plan: &Plan,
    totals: ExactTotals,
    key: &KnownKey,
    threads: usize,
) -> Result<KnownTotals> {
    let (all, calls) = noise_all(plan, totals, &RunKey::known(key.0), threads)?;
    let shown = shown(plan, all.clone());
    Ok(KnownTotals { all, calls, shown })
}

/// Totals with no noise at all, all cells of them: what is true of payments that need no
/// protection.
///
/// # Errors
/// The totals are none of this plan.
pub fn without_noise(plan: &Plan, totals: ExactTotals) -> Result<KnownTotals> {
    if !are_of(plan, &totals) {
        return Err(failed("the totals are none of this plan"));
    }
    let level = |LevelTotals { keys, sums }| NoisyLevel { keys, values: sums };
    let all: Vec<NoisyLevel> = totals.levels.into_iter().map(level).collect();
    Ok(KnownTotals { shown: Vec::new(), all, calls: Vec::new() })
}

/// [`settle`] with a known key.
///
/// # Errors
/// As [`settle`].
pub fn settle_known(
    plan: &Plan,
    exact: ExactSurveys,
    key: &KnownKey,
    threads: usize,
) -> Result<Plan> {
    settle(plan, exact, &RunKey::known(key.0), threads)
}

/// [`noise_surveys`] with a known key.
///
/// # Errors
/// As [`noise_surveys`].
pub fn noise_surveys_known(
    plan: &Plan,
    exact: ExactSurveys,
    key: &KnownKey,
) -> Result<Vec<Survey>> {
    noise_surveys(plan, exact, &RunKey::known(key.0))
}
