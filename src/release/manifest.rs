//! manifest.json: what was released, at what price, from which facts.
//!
//! The headings follow OpenDP's registry of deployments, so that a release can be registered as
//! it is. Meanings never change; fields may be added.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::budget::{BudgetEntry, InLedger};
use super::composed::ComposedEntry;
use super::discovery::{DiscoveryEntry, discoveries, selection};
use super::merchants::{MerchantsEntry, PeersEntry, above};
use super::pairs::PairsEntry;
use super::series::Series;
use super::surveys::{BoundFromEntry, SurveyEntry};
use super::unshown::{SuppressionEntry, UselessEntry};
use crate::error::{Error, Result};
use crate::findings;
use crate::job::Key;
use crate::mechanism::opendp_epsilon;
use crate::plan::{
    Composed, Gaussian, LevelPlan, Plan, Scales, Selection, StatisticPlan, TablePlan,
};
use crate::privacy::{Delta, MuSquared, epsilon_held};

/// The field that stands first in the manifest, and alone in the footers, of a release whose noise
/// came from a key of the tests.
pub(super) const NOT_PRIVATE: &str = "not_private";

const WARNING: &str = "NOT PRIVATE: the noise was drawn with a known key, so there is no guarantee";

pub(super) const MECHANISM: &str = "discrete Gaussian (Canonne, Kamath and Steinke 2020)";

/// The manifest of a release.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Manifest {
    #[serde(skip_serializing_if = "Option::is_none")]
    not_private: Option<&'static str>,
    manifest_version: u32,
    tool: String,
    job: JobEntry,
    variant: &'static str,
    privacy_unit: UnitEntry,
    deployment_model: &'static str,
    /// What is counted, whatever the days.
    series: Series,
    /// What has added the payments up, where that is not this program.
    #[serde(skip_serializing_if = "Option::is_none")]
    totals_from: Option<TotalsFromEntry>,
    parameters: Parameters,
    /// What all jobs of the ledger have taken of its budget, this one with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<BudgetEntry>,
    mechanisms: Vec<Event>,
    /// Histograms of norms, from which the run has chosen the bounds that the job left open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    surveys: Vec<SurveyEntry>,
    /// Rounds that found keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    discoveries: Vec<DiscoveryEntry>,
    /// Earlier releases whose values estimates go by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    estimates_from: Vec<EstimatesFromEntry>,
    /// Bounds that surveys of earlier releases have told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bounds_from: Vec<BoundFromEntry>,
    /// What noise was expected to drown, and the run was told to release all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accepted_useless: Vec<UselessEntry>,
    key_sets: Vec<KeySetEntry>,
    /// Which estimates are not shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suppression: Vec<SuppressionEntry>,
    /// What the release tells of merchants; not there if nothing is promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_protection: Option<MerchantsEntry>,
    composition: &'static str,
    post_processing: &'static str,
    unprotected_quantities: Vec<&'static str>,
    files: Vec<FileEntry>,
}

#[derive(Clone, Debug, Serialize)]
struct JobEntry {
    id: String,
    digest: String,
    recipient: String,
    population: String,
    first_day: String,
    last_day: String,
    timezone: String,
    /// `provisional` or `final`.
    status: &'static str,
    /// The release over the same period that this one takes the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    revises: Option<RevisedEntry>,
}

/// Whose SQL has added the payments up, and of which table. Not the file's digest, by which a guess
/// at the totals could be checked.
#[derive(Clone, Debug, Serialize)]
struct TotalsFromEntry {
    sql: &'static str,
    table: String,
}

impl TotalsFromEntry {
    fn of(plan: &Plan) -> Option<TotalsFromEntry> {
        let table = plan.job.payments.table.as_ref()?.shown();
        plan.totals_from.map(|sql| TotalsFromEntry { sql, table })
    }
}

#[derive(Clone, Debug, Serialize)]
struct RevisedEntry {
    job: String,
    manifest_sha256: String,
}

#[derive(Clone, Debug, Serialize)]
struct UnitEntry {
    unit: String,
    /// The SQL expression that tells users apart.
    user: String,
    /// That of the ledger's other jobs, where it is written otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_user_as: Option<String>,
    /// How times are read, where the unit is within a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// How the ledger's other jobs read them, where that is written otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_time_as: Option<String>,
    neighbours: &'static str,
    /// The guarantee for all payments of a user, where the unit is within a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    composed: Option<ComposedEntry>,
    /// The same for all jobs of the ledger that counted when this one was reserved, with this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_ledger: Option<ComposedEntry>,
}

/// The whole job's price, in every currency of the field.
#[derive(Clone, Debug, Serialize)]
pub struct Parameters {
    /// ε that the job states.
    pub epsilon: f64,
    /// δ that the job states.
    pub delta: f64,
    /// δ in units of 10⁻¹⁸.
    pub delta_units: String,
    /// Σ μ² in units of 2⁻⁶⁰, as the ledger counts.
    pub mu_squared_units: String,
    /// How many of them are there because the noise is discrete (Lemma 3 of `docs/privacy.md`).
    pub discreteness_units: String,
    /// μ, never below the true value.
    pub mu: f64,
    /// ρ = μ²/2 of zero-concentrated differential privacy.
    pub rho: f64,
    /// The part of δ that thresholds use.
    pub threshold_delta: f64,
    /// The same in units of 10⁻¹⁸, as the ledger counts.
    pub threshold_delta_units: String,
    /// ε that μ and the thresholds give at `delta`: never above `epsilon`.
    pub epsilon_held: f64,
    /// ρ of OpenDP's privacy maps for the same mechanisms.
    pub opendp_rho: f64,
    /// ε of OpenDP's conversion of that ρ, at the part of δ that thresholds leave.
    pub opendp_epsilon: f64,
}

impl Parameters {
    /// The price of a plan.
    ///
    /// # Errors
    /// Environment: opendp refuses to price it.
    pub fn new(plan: &Plan) -> Result<Parameters> {
        let privacy = plan.job.privacy;
        let why = "cannot fail because thresholds use a part of delta";
        let rest = privacy.delta.checked_sub(plan.loss.threshold_delta).expect(why);
        let (opendp_rho, opendp_epsilon) = opendp_epsilon(plan, rest.value())
            .map_err(|cause| Error::environment(findings::mechanism_failed(&cause)))?;
        let mu_squared = plan.loss.mu_squared;
        let epsilon = privacy.epsilon.value();
        // The plan spends no more than ε allows; the way back rounds up.
        let epsilon_held = epsilon_held(plan.loss, privacy.delta).expect(why).min(epsilon);
        Ok(Parameters {
            epsilon,
            delta: privacy.delta.value(),
            delta_units: privacy.delta.units().to_string(),
            mu_squared_units: mu_squared.units().to_string(),
            discreteness_units: discreteness(plan).to_string(),
            mu: mu_squared.mu_up().value(),
            rho: mu_squared.rho_up().value(),
            threshold_delta: plan.loss.threshold_delta.value(),
            threshold_delta_units: plan.loss.threshold_delta.units().to_string(),
            epsilon_held,
            opendp_rho,
            opendp_epsilon,
        })
    }
}

/// One mechanism run, with all that is needed to price it again.
#[derive(Clone, Debug, Serialize)]
struct Event {
    file: String,
    statistic: &'static str,
    mechanism: &'static str,
    grid_units_per_unit: u64,
    norm_bound: u64,
    cell_cap: u64,
    /// What one user can move: the norm bound.
    sensitivity: u64,
    sigma: u64,
    sigma_natural: f64,
    /// Where cells have scales: noise is less than that by so many octaves at most, and the cell's
    /// grid finer by as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    octaves_max: Option<u8>,
    mu_squared_units: String,
    mu: f64,
    /// What is charged, where that is more than the price: the bound was chosen after it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged_units: Option<String>,
    /// The job states the bound, and nothing tells what it takes: intervals do not cover that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    takes_unknown: bool,
    /// Of the weighted sum of noised values, in grid units, that must reach the threshold.
    score_weight: Option<u64>,
    threshold: Option<i64>,
    threshold_delta: Option<f64>,
    threshold_delta_units: Option<String>,
    cells_max: Option<u32>,
}

/// An earlier release whose values the estimates of a table go by.
#[derive(Clone, Debug, Serialize)]
struct EstimatesFromEntry {
    file: String,
    job: String,
    manifest_sha256: String,
}

#[derive(Clone, Debug, Serialize)]
struct KeySetEntry {
    file: String,
    keys: Vec<String>,
    selection: &'static str,
    origin: String,
    /// Measured to judge dominance, and not shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unshown: bool,
    /// The table with the same cells whose mechanisms made these values too.
    #[serde(skip_serializing_if = "Option::is_none")]
    values_of: Option<String>,
    /// Keys that tell where users are at home, with the column of merchants by which each is found.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    homes: BTreeMap<String, String>,
    /// Of which values cells are pairs, and by which tables lifts are judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs: Option<PairsEntry>,
    /// The keys over which shares add up to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    share_of: Vec<String>,
    /// A day of the period that is 100 in indexes.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// The key whose value each file of the table has in its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_by: Option<String>,
    /// Who is compared with whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<PeersEntry>,
    /// How much merchants have at least to be counted, in major units.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    above: BTreeMap<&'static str, String>,
    /// Insights of which cells that are hidden for their merchants may be told in bands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bands: Vec<&'static str>,
    /// Days before a cell that tell who is new there.
    #[serde(skip_serializing_if = "Option::is_none")]
    look_back: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys_from: Vec<KeysFromEntry>,
}

/// An earlier release whose keys are shown, whatever their values.
#[derive(Clone, Debug, Serialize)]
struct KeysFromEntry {
    job: String,
    manifest_sha256: String,
}

#[derive(Clone, Debug, Serialize)]
struct FileEntry {
    name: String,
    sha256: String,
}

impl Manifest {
    pub(super) fn new(
        plan: &Plan,
        in_ledger: Option<InLedger>,
        is_private: bool,
    ) -> Result<Manifest> {
        let job = &plan.job;
        Ok(Manifest {
            not_private: (!is_private).then_some(WARNING),
            manifest_version: 1,
            tool: concat!("discretail ", env!("CARGO_PKG_VERSION")).to_owned(),
            job: JobEntry {
                id: job.id.clone(),
                digest: job.digest.clone(),
                recipient: job.recipient.clone(),
                population: job.ledger.population.clone(),
                first_day: job.payments.period.first().to_string(),
                last_day: job.payments.period.last().to_string(),
                timezone: job.payments.zone.name().to_owned(),
                status: job.status.name(),
                revises: plan
                    .revises
                    .clone()
                    .map(|(job, manifest_sha256)| RevisedEntry { job, manifest_sha256 }),
            },
            variant: "Gaussian differential privacy (mu), converted to (epsilon, delta)",
            privacy_unit: UnitEntry {
                unit: job.privacy.unit.label(job.payments.zone),
                user: job.payments.user.normal.clone(),
                same_user_as: job.ledger.same_user_as.clone(),
                time: job.time().map(|_| job.payments.time_as_read()),
                same_time_as: job.time().and_then(|_| job.ledger.same_time_as.clone()),
                neighbours: "all payments of one unit added or removed",
                composed: Composed::of(plan).map(ComposedEntry::new),
                in_ledger: in_ledger.and_then(|all| all.composed).map(ComposedEntry::new),
            },
            deployment_model: "central",
            series: Series::of(job),
            totals_from: TotalsFromEntry::of(plan),
            parameters: Parameters::new(plan)?,
            budget: in_ledger.and_then(|all| BudgetEntry::new(plan, all)),
            mechanisms: events(plan),
            surveys: plan.surveys.iter().map(|survey| SurveyEntry::new(plan, survey)).collect(),
            discoveries: discoveries(plan),
            estimates_from: plan.levels.iter().flat_map(estimates_from).collect(),
            bounds_from: plan
                .adopted
                .iter()
                .map(|bound| BoundFromEntry::new(plan, bound))
                .collect(),
            accepted_useless: plan
                .accepted
                .iter()
                .map(|entry| UselessEntry::new(plan, entry))
                .collect(),
            key_sets: plan.levels.iter().flat_map(|level| key_sets(plan, level)).collect(),
            suppression: plan.levels.iter().flat_map(SuppressionEntry::of).collect(),
            merchant_protection: MerchantsEntry::new(plan),
            composition: "sum of mu squared over mechanisms, plus the thresholds' delta",
            post_processing: "estimates by empirical Bayes and a Kalman filter, levels that add up, ratios, \
                95 % intervals, grades, suppression, rounding of money",
            unprotected_quantities: Vec::new(),
            files: Vec::new(),
        })
    }

    pub(super) fn add_file(&mut self, name: &str, sha256: String) {
        self.files.push(FileEntry { name: name.to_owned(), sha256 });
    }

    /// The guarantee as JSON, for the footer of a table, with what its numbers mean.
    pub(super) fn guarantee(&self, table: &str) -> String {
        if let Some(warning) = self.not_private {
            return serde_json::json!({ NOT_PRIVATE: warning }).to_string();
        }
        let mut guarantee = serde_json::json!({
            "tool": self.tool,
            "job": self.job.id,
            "job_digest": self.job.digest,
            "status": self.job.status,
            "variant": self.variant,
            "privacy_unit": self.privacy_unit,
            "epsilon": self.parameters.epsilon,
            "delta": self.parameters.delta,
            "mu": self.parameters.mu,
            "rho": self.parameters.rho,
        });
        let set = self.key_sets.iter().find(|set| set.file == table);
        if let Some(days) = set.and_then(|set| set.look_back) {
            guarantee["look_back"] = days.into();
        }
        guarantee.to_string()
    }

    pub(super) fn write(&self, mut file: impl Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")
    }
}

/// Units of μ² beyond those that real Gaussian noise of the same σ would cost.
fn discreteness(plan: &Plan) -> u128 {
    let of_mechanism = |m: Gaussian| {
        let variance = u128::from(m.sigma) * u128::from(m.sigma);
        let real = MuSquared::of_gaussian_up(m.bound.sensitivity(), variance);
        m.mu_squared.units() - real.units()
    };
    plan.mechanisms().map(of_mechanism).sum()
}

fn events(plan: &Plan) -> Vec<Event> {
    let mut events = Vec::new();
    for (at, level) in plan.levels.iter().enumerate() {
        for (place, statistic) in level.statistics.iter().enumerate() {
            let (mut threshold_delta, mut cells_max) = (None, None);
            let (mut threshold, mut score_weight) = (None, None);
            if let Selection::Threshold { score, cells_max: k, delta } = &level.selection {
                (threshold_delta, cells_max) = (Some(*delta), Some(*k));
                (threshold, score_weight) = (Some(score.threshold), Some(score.weights[place]));
            }
            let StatisticPlan { kind, noise, charge, .. } = *statistic;
            events.push(Event {
                file: format!("{}.parquet", level.file),
                statistic: kind.name(),
                mechanism: MECHANISM,
                grid_units_per_unit: 1 << noise.grid_bits,
                norm_bound: noise.bound.norm(),
                cell_cap: noise.bound.cell_cap(),
                sensitivity: noise.bound.sensitivity().grid_units(),
                sigma: noise.sigma,
                sigma_natural: noise.sd(),
                octaves_max: level.scales.get(&kind).map(Scales::octaves_max),
                mu_squared_units: noise.mu_squared.units().to_string(),
                mu: noise.mu_squared.mu_up().value(),
                charged_units: (charge != noise.mu_squared).then(|| charge.units().to_string()),
                takes_unknown: plan.takes_unknown(at, place),
                score_weight,
                threshold,
                threshold_delta: threshold_delta.map(Delta::value),
                threshold_delta_units: threshold_delta.map(|delta| delta.units().to_string()),
                cells_max,
            });
        }
    }
    events
}

/// The latest first.
fn estimates_from(level: &LevelPlan) -> impl Iterator<Item = EstimatesFromEntry> {
    level.earlier.iter().map(|earlier| {
        let (job, manifest_sha256) = earlier.from.clone();
        EstimatesFromEntry { file: format!("{}.parquet", level.file), job, manifest_sha256 }
    })
}

/// Of each table of a level; its mechanisms stand under the first one's name.
fn key_sets(plan: &Plan, level: &LevelPlan) -> impl Iterator<Item = KeySetEntry> {
    let values_of = |place: usize| (place > 0).then(|| format!("{}.parquet", level.file));
    let tables = level.tables.iter().enumerate();
    tables.map(move |(place, table)| KeySetEntry {
        values_of: values_of(place),
        ..key_set(plan, level, table)
    })
}

fn key_set(plan: &Plan, level: &LevelPlan, table: &TablePlan) -> KeySetEntry {
    let (selection, origin) = selection(plan, level);
    let entry = |(job, digest): &(String, String)| KeysFromEntry {
        job: job.clone(),
        manifest_sha256: digest.clone(),
    };
    let home = |key: &Key| Some((key.name().to_owned(), key.home_of()?.to_owned()));
    KeySetEntry {
        file: format!("{}.parquet", table.file),
        keys: table.keys.iter().map(|key| key.name().to_owned()).collect(),
        selection,
        origin,
        unshown: level.unshown,
        values_of: None,
        homes: table.keys.iter().filter_map(home).collect(),
        pairs: PairsEntry::new(plan, level),
        share_of: table.share_of.iter().map(|&key| level.keys[key].name().to_owned()).collect(),
        base: table.base.map(|base| base.to_string()),
        partition_by: table.partition.map(|place| table.keys[place].name().to_owned()),
        peers: table.peers.as_ref().map(|peers| PeersEntry::new(plan, peers)),
        above: above(plan, table),
        bands: table.bands.iter().map(|insight| insight.name()).collect(),
        look_back: table.looks_back().then(|| Some(level.look_back.as_ref()?.days())).flatten(),
        keys_from: level.keys_from.iter().map(entry).collect(),
    }
}
