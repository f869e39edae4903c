//! Surveys in the manifest, and the bounds that they have told.

use serde::Serialize;

use super::manifest::MECHANISM;
use crate::plan::{Adopted, Gaussian, Plan, SurveyPlan};

/// A bound that a survey of an earlier release has told.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BoundFromEntry {
    file: String,
    statistic: &'static str,
    job: String,
    manifest_sha256: String,
}

/// One survey with what it said.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SurveyEntry {
    file: String,
    statistic: &'static str,
    mechanisms: Vec<SurveyEvent>,
}

/// One mechanism of a survey, with its noised values.
#[derive(Clone, Debug, Serialize)]
struct SurveyEvent {
    counts: &'static str,
    mechanism: &'static str,
    grid_units_per_unit: u64,
    sensitivity: u64,
    sigma: u64,
    mu_squared_units: String,
    /// In grid units: users by half octaves of norms from 1 on, or the sum of their spreads; or
    /// tickets by group and quarters of natural logarithms.
    values: Vec<i64>,
}

impl SurveyEntry {
    pub(super) fn new(plan: &Plan, survey: &SurveyPlan) -> SurveyEntry {
        let level = &plan.levels[survey.level];
        let values = |counts: &str| match &survey.result {
            Some(result) if counts != "spread" => result.histogram.clone(),
            Some(result) => result.spread.into_iter().collect(),
            None => Vec::new(),
        };
        let event = |(counts, mechanism): (&'static str, Gaussian)| SurveyEvent {
            counts,
            mechanism: MECHANISM,
            grid_units_per_unit: 1 << mechanism.grid_bits,
            sensitivity: mechanism.bound.sensitivity().grid_units(),
            sigma: mechanism.sigma,
            mu_squared_units: mechanism.mu_squared.units().to_string(),
            values: values(counts),
        };
        SurveyEntry {
            file: format!("{}.parquet", level.file),
            statistic: level.statistics[survey.statistic].kind.name(),
            mechanisms: survey.mechanisms().map(event).collect(),
        }
    }
}

impl BoundFromEntry {
    pub(super) fn new(plan: &Plan, bound: &Adopted) -> BoundFromEntry {
        let level = &plan.levels[bound.survey.level];
        let (job, manifest_sha256) = bound.from.clone();
        BoundFromEntry {
            file: format!("{}.parquet", level.file),
            statistic: level.statistics[bound.survey.statistic].kind.name(),
            job,
            manifest_sha256,
        }
    }
}
