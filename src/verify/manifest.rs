//! The manifest as a reader sees it; fields that it may have besides are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::NaiveDate;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::lattice::CLOSE;
use super::merchants::Merchants;
use super::parts::table_of;

/// The page that is made of the tables.
pub(super) const PAGE: &str = "report.html";

/// What the checks need of manifest.json.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) manifest_version: u32,
    pub(super) job: Job,
    pub(super) variant: String,
    pub(super) privacy_unit: Unit,
    pub(super) parameters: Parameters,
    /// What all jobs of the ledger have taken of its budget.
    pub(super) budget: Option<Budget>,
    pub(super) mechanisms: Vec<Event>,
    /// What the run asked to choose the bounds that its job left open.
    #[serde(default)]
    pub(super) surveys: Vec<Survey>,
    /// Rounds that found keys.
    #[serde(default)]
    pub(super) discoveries: Vec<Discovery>,
    /// Earlier releases whose values estimates go by.
    #[serde(default)]
    pub(super) estimates_from: Vec<EstimatesFrom>,
    /// Bounds that earlier releases have told.
    #[serde(default)]
    pub(super) bounds_from: Vec<BoundFrom>,
    pub(super) key_sets: Vec<KeySet>,
    /// What the release promises its merchants.
    pub(super) merchant_protection: Option<Merchants>,
    /// Which estimates are not shown.
    #[serde(default)]
    pub(super) suppression: Vec<Suppression>,
    pub(super) unprotected_quantities: Vec<String>,
    pub(super) files: Vec<File>,
    /// All of it, for footers.
    #[serde(skip)]
    pub(super) whole: Value,
    /// SHA-256 of its bytes.
    #[serde(skip)]
    pub(super) digest: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) digest: String,
    pub(super) recipient: String,
    pub(super) population: String,
    pub(super) first_day: Day,
    pub(super) last_day: Day,
    pub(super) status: String,
    /// The release that this one takes the place of.
    pub(super) revises: Option<EarlierJob>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Unit {
    pub(super) unit: String,
    pub(super) user: String,
    /// How the ledger's jobs agree to write `user`, if that is another text.
    pub(super) same_user_as: Option<String>,
    /// How times are read, where the unit is within a period.
    pub(super) time: Option<String>,
    /// How the ledger's jobs agree to read them, if that is another text.
    pub(super) same_time_as: Option<String>,
    /// For all payments of a user, where the unit is within a period.
    pub(super) composed: Option<Composed>,
    /// The same for the ledger's jobs up to this one.
    pub(super) in_ledger: Option<Composed>,
}

/// The guarantee over all of a user's units.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Composed {
    pub(super) periods: u32,
    pub(super) mu_squared_units: String,
    pub(super) threshold_delta: f64,
    pub(super) threshold_delta_units: String,
    pub(super) epsilon: f64,
    pub(super) delta: f64,
    pub(super) delta_units: String,
}

/// The price, as far as the checks need it. What counts is in units of 2⁻⁶⁰ or 10⁻¹⁸, as text:
/// of large δ several numbers of units have the same float.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Parameters {
    pub(super) epsilon: f64,
    pub(super) delta: f64,
    pub(super) delta_units: String,
    pub(super) mu_squared_units: String,
    pub(super) mu: f64,
    pub(super) rho: f64,
    pub(super) threshold_delta: f64,
    pub(super) threshold_delta_units: String,
    /// What of μ² is there because the noise is discrete; of manifests in Gaussian DP.
    pub(super) discreteness_units: Option<String>,
    /// ε that μ² gives at δ, at most `epsilon`; of manifests in Gaussian DP.
    pub(super) epsilon_held: Option<f64>,
}

/// The budget of the ledger's population: what is taken so far, and what may be.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Budget {
    pub(super) epsilon_max: f64,
    pub(super) delta_max: f64,
    pub(super) delta_max_units: String,
    pub(super) epsilon: f64,
    pub(super) mu_squared_units: String,
    pub(super) mu_squared_units_max: String,
    pub(super) threshold_delta: f64,
    pub(super) threshold_delta_units: String,
    pub(super) threshold_delta_units_max: String,
}

/// One mechanism.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    pub(super) file: String,
    pub(super) statistic: String,
    pub(super) mechanism: String,
    pub(super) grid_units_per_unit: u64,
    pub(super) norm_bound: u64,
    pub(super) cell_cap: u64,
    /// What one user can move, where the manifest says it: the norm bound.
    pub(super) sensitivity: Option<u64>,
    pub(super) sigma: u64,
    /// Where cells have scales, the most octaves by which noise is less and grids are finer.
    pub(super) octaves_max: Option<u8>,
    pub(super) mu_squared_units: String,
    /// What is charged, where that is not the price, as the bound was chosen later.
    pub(super) charged_units: Option<String>,
    /// Does nothing tell what the bound takes from users?
    #[serde(default)]
    pub(super) takes_unknown: bool,
    pub(super) score_weight: Option<u64>,
    pub(super) threshold: Option<i64>,
    pub(super) threshold_delta: Option<f64>,
    pub(super) threshold_delta_units: Option<String>,
    pub(super) cells_max: Option<u32>,
}

impl Event {
    /// The scale of a cell whose noise is shown with this deviation, or by up to `rounding` more;
    /// `None` if no cell of this mechanism has such noise.
    pub(super) fn scale_of(&self, shown: f64, rounding: f64) -> Option<f64> {
        let one = self.sigma as f64 / self.grid_units_per_unit as f64;
        let fits = |scale: &f64| {
            let sd = one * scale;
            // What is no number does not.
            (-CLOSE * sd..=rounding + CLOSE * sd).contains(&(shown - sd))
        };
        let octaves = 0..=self.octaves_max.unwrap_or(0);
        octaves.map(|octaves| (-f64::from(octaves)).exp2()).find(fits)
    }
}

/// A survey of users' norms, of one statistic of one table.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Survey {
    pub(super) file: String,
    pub(super) statistic: String,
    pub(super) mechanisms: Vec<SurveyEvent>,
}

/// One mechanism of a survey.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SurveyEvent {
    pub(super) counts: String,
    pub(super) mechanism: String,
    pub(super) grid_units_per_unit: u64,
    pub(super) sensitivity: u64,
    pub(super) sigma: u64,
    pub(super) mu_squared_units: String,
    pub(super) values: Vec<i64>,
}

/// The rounds that found the keys of a table.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Discovery {
    pub(super) file: String,
    pub(super) cells_max: u32,
    pub(super) rounds: Vec<Round>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Round {
    pub(super) mechanism: String,
    pub(super) grid_units_per_unit: u64,
    pub(super) sensitivity: u64,
    pub(super) sigma: u64,
    pub(super) mu_squared_units: String,
    pub(super) threshold: i64,
    pub(super) threshold_delta: f64,
    pub(super) threshold_delta_units: String,
    /// How many cells it has found, where nothing but that hides cells.
    pub(super) found: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct KeySet {
    pub(super) file: String,
    pub(super) keys: Vec<String>,
    pub(super) selection: String,
    /// Measured to judge dominance, and not shown.
    #[serde(default)]
    pub(super) unshown: bool,
    /// The table with the same cells under whose name the mechanisms of these values stand.
    pub(super) values_of: Option<String>,
    /// Keys that tell where users are at home, with the column of merchants by which each is found.
    #[serde(default)]
    pub(super) homes: BTreeMap<String, String>,
    /// Of what cells are pairs.
    pub(super) pairs: Option<Pairs>,
    /// The keys over which shares add up to one.
    #[serde(default)]
    pub(super) share_of: Vec<String>,
    /// A day of the period that is 100 in indexes.
    pub(super) base: Option<Day>,
    /// The key whose value the names of the table's files tell.
    pub(super) partition_by: Option<String>,
    /// Who is compared with whom.
    pub(super) peers: Option<Peers>,
    /// How much merchants have at least to be counted.
    #[serde(default)]
    pub(super) above: BTreeMap<String, String>,
    /// Insights of which hidden cells may be told in bands.
    #[serde(default)]
    pub(super) bands: Vec<String>,
    /// Days before a cell that tell who is new there.
    pub(super) look_back: Option<u32>,
    /// Earlier releases whose keys are shown, whatever their values.
    #[serde(default)]
    pub(super) keys_from: Vec<EarlierJob>,
}

/// Cells that are pairs of values of a column.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pairs {
    /// The key of the second value.
    pub(super) key: String,
    pub(super) of: String,
    /// The tables of single values and of all users.
    pub(super) singles: Option<String>,
    pub(super) whole: Option<String>,
}

/// How a table compares merchants.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Peers {
    /// Columns of the table of merchants in which peers are alike.
    #[serde(default)]
    pub(super) alike_in: Vec<String>,
    /// Of fewer registered merchants nothing is told.
    pub(super) min: u32,
    /// The table that names the merchants of this one's cells.
    pub(super) merchants_of: Option<String>,
}

/// Estimates of a table are shown up to this relative error.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Suppression {
    pub(super) file: String,
    pub(super) relative_error_max: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct EarlierJob {
    pub(super) job: String,
    pub(super) manifest_sha256: String,
}

/// An earlier release that the estimates of a table go by.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EstimatesFrom {
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) from: EarlierJob,
}

/// A bound that a survey of an earlier release has told.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BoundFrom {
    pub(super) file: String,
    pub(super) statistic: String,
    #[serde(flatten)]
    pub(super) from: EarlierJob,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) sha256: String,
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Manifest, String> {
        let bytes = std::fs::read(path).map_err(|e| format!("manifest.json: {e}"))?;
        let unclear = |e: serde_json::Error| format!("manifest.json: {e}");
        let mut manifest: Manifest = serde_json::from_slice(&bytes).map_err(unclear)?;
        manifest.whole = serde_json::from_slice(&bytes).map_err(unclear)?;
        manifest.digest = super::files::digest(&bytes);
        Ok(manifest)
    }

    /// What does not fit together, before any arithmetic.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.manifest_version != 1 {
            let version = self.manifest_version;
            faults.push(format!("manifest version {version}; this program knows 1"));
        }
        faults.extend(self.status_faults());
        if let Some(why) = self.whole.get("not_private") {
            faults.push(format!("it is marked as not private: {why}"));
        }
        if !self.unprotected_quantities.is_empty() {
            let list = self.unprotected_quantities.join(", ");
            faults.push(format!("quantities left without protection: {list}"));
        }
        let names: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        if names.len() < self.files.len() {
            faults.push("`files` names a file twice".to_owned());
        }
        let names: BTreeSet<&str> = names.into_iter().map(table_of).collect();
        faults.extend(super::parts::manifest_faults(self));
        // The page is made of the tables, which have keys and mechanisms.
        for name in names.iter().filter(|name| **name != PAGE) {
            let sets = self.key_sets.iter().filter(|set| set.file == *name).count();
            if sets != 1 {
                faults.push(format!("`{name}` has {sets} key sets in place of one"));
            }
            let mut kinds: Vec<&str> = self.events(name).map(|e| e.statistic.as_str()).collect();
            let count = kinds.len();
            kinds.sort_unstable();
            kinds.dedup();
            if count == 0 {
                faults.push(format!("`{name}` has no mechanism, so nothing protects it"));
            } else if kinds.len() < count {
                faults.push(format!("`{name}` has two mechanisms for one statistic"));
            }
        }
        faults.extend(self.key_set_faults());
        let others = self.key_sets.iter().map(|set| &set.file);
        let others = others.chain(self.mechanisms.iter().map(|event| &event.file));
        let others = others.filter(|name| !self.key_set(name).is_some_and(|set| set.unshown));
        for name in others.filter(|name| !names.contains(name.as_str())) {
            faults.push(format!("`{name}` has keys or a mechanism, but is not in `files`"));
        }
        faults.extend(super::surveys::manifest_faults(self));
        faults.extend(super::discovery::manifest_faults(self));
        faults.extend(super::merchants::manifest_faults(self));
        faults.extend(super::peers::manifest_faults(self));
        faults.extend(super::pairs::manifest_faults(self));
        faults.extend(self.key_sets.iter().filter_map(|set| self.sharing_fault(set)));
        faults
    }

    /// Are keys what they are said to be, and private ones behind thresholds?
    fn key_set_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for set in &self.key_sets {
            let odd = set
                .homes
                .iter()
                .find(|(key, column)| !set.keys.contains(key) || **key != format!("home_{column}"));
            if let Some((key, _)) = odd {
                faults.push(format!("`{key}` is no key of `{}` that tells homes", set.file));
            }
            let private = match set.selection.as_str() {
                "public" | "discovered" => false,
                "private" => true,
                other => {
                    faults.push(format!("`{}` has keys that are `{other}`", set.file));
                    continue;
                }
            };
            let odd = |event: &Event| {
                event.threshold.is_some() != private || event.score_weight.is_some() != private
            };
            if self.events(&set.file).any(odd) {
                faults.push(format!("`{}`: private keys need thresholds, others none", set.file));
            }
            let terms = |event: &Event| {
                let units = event.threshold_delta_units.clone();
                (event.threshold, event.threshold_delta.map(f64::to_bits), units, event.cells_max)
            };
            let mut terms = self.events(&set.file).map(terms);
            if terms.next().is_some_and(|first| terms.any(|other| other != first)) {
                faults.push(format!("`{}` has several thresholds", set.file));
            }
        }
        faults
    }

    /// What the release says of its payments.
    fn status_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !["provisional", "final"].contains(&self.job.status.as_str()) {
            faults
                .push(format!("its status `{}` is neither provisional nor final", self.job.status));
        }
        if self.job.revises.as_ref().is_some_and(|revised| revised.job == self.job.id) {
            faults.push("it says that it revises itself".to_owned());
        }
        faults
    }

    /// A table that shows values of another one has its cells, and no mechanism under its own name.
    fn sharing_fault(&self, set: &KeySet) -> Option<String> {
        let (file, other) = (&set.file, set.values_of.as_ref()?);
        let Some(source) = self.key_set(other).filter(|source| source.values_of.is_none()) else {
            return Some(format!("`{file}` shows values of `{other}`, which has none of its own"));
        };
        let keys = |set: &KeySet| set.keys.iter().cloned().collect::<BTreeSet<_>>();
        let jobs = |set: &KeySet| {
            let digest = |from: &EarlierJob| from.manifest_sha256.clone();
            set.keys_from.iter().map(digest).collect::<BTreeSet<_>>()
        };
        let same = source.selection == set.selection
            && keys(source) == keys(set)
            && source.keys.len() == set.keys.len()
            && jobs(source) == jobs(set);
        if !same {
            return Some(format!("`{file}` shows values of `{other}`, whose cells are others"));
        }
        let own = self.mechanisms.iter().map(|event| &event.file);
        let mut own = own.chain(self.surveys.iter().map(|survey| &survey.file));
        own.any(|name| name == file)
            .then(|| format!("`{file}` shows values of `{other}`, but has mechanisms of its own"))
    }

    /// The mechanisms of one table, whose values another one may show first.
    pub(super) fn events(&self, file: &str) -> impl Iterator<Item = &Event> + use<'_> {
        let source = self.source(file).to_owned();
        self.mechanisms.iter().filter(move |event| event.file == source)
    }

    /// The table under whose name the mechanisms of a table stand.
    pub(super) fn source<'m>(&'m self, file: &'m str) -> &'m str {
        self.key_set(file).and_then(|set| set.values_of.as_deref()).unwrap_or(file)
    }

    /// The mechanism of one statistic of a table.
    pub(super) fn event(&self, file: &str, statistic: &str) -> Option<&Event> {
        self.events(file).find(|event| event.statistic == statistic)
    }

    /// Up to which relative error a table shows its estimates; `None`: up to any.
    pub(super) fn relative_error_max(&self, file: &str) -> Option<f64> {
        let own = self.suppression.iter().find(|entry| entry.file == file);
        own.map(|entry| entry.relative_error_max)
    }

    /// The keys of one table.
    pub(super) fn key_set(&self, file: &str) -> Option<&KeySet> {
        self.key_sets.iter().find(|set| set.file == file)
    }
}

/// A calendar day as the manifest writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day(pub(super) NaiveDate);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d");
        day.map(Day).map_err(|_| D::Error::custom("a day must be YYYY-MM-DD"))
    }
}
