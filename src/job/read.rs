//! The one door from a job file to a [`Job`].

mod bounds;
mod digest;
mod dominance;
mod errors;
mod expect;
mod idle;
mod merchant_bands;
mod merchants;
mod payments;
mod reports;
mod secrets;
mod server;
mod shown;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use self::digest::digest;
use self::payments::Facts;
pub(crate) use self::secrets::secret_lines;
use self::server::Servers;
use super::raw::{Faults, Placed, Section};
use super::{
    EarlierJob, Job, LedgerTerms, NAMES, Privacy, PrivacyUnit, ReleaseStatus, is_name, money_places,
};
use crate::error::{Error, Result};
use crate::findings;
use crate::privacy::{Delta, Epsilon, UnitError};

impl Job {
    /// Reads and validates a job file, and the public table of merchants that it names. Opens no
    /// payments. Returns the job and the file's text, which messages quote.
    ///
    /// # Errors
    /// Every mistake found, each with its place.
    pub fn read(path: &Path) -> (String, Result<Job>) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => {
                return (String::new(), Err(Error::invalid(findings::job_unreadable(path, &e))));
            }
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let job = Job::parse(&text, &folder);
        (text, job)
    }

    /// Validates a job file's text; relative paths start at `folder`.
    ///
    /// # Errors
    /// Every mistake found, each with its place.
    pub fn parse(text: &str, folder: &Path) -> Result<Job> {
        let faults = Faults::default();
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let finding = findings::toml_wrong(error.message());
            faults.add(finding.at(error.span().unwrap_or(0..0)));
        }
        // Values after a syntax error are guesses, so say nothing of them.
        if !errors.is_empty() {
            return Err(Error::invalid_all(faults.into_findings()));
        }
        let root = Section::new("the job", document.get_ref(), 0..0, &faults);
        let digest = digest(document.get_ref());
        let job = Reader { folder, faults: &faults }.job(&root, digest);
        let findings = faults.into_findings();
        match job {
            Some(job) if findings.is_empty() => Ok(job),
            _ => Err(Error::invalid_all(findings)),
        }
    }
}

/// What every part of the door needs. Its methods return `None` after adding a fault.
struct Reader<'a> {
    folder: &'a Path,
    faults: &'a Faults,
}

impl Reader<'_> {
    fn job(&self, root: &Section, digest: String) -> Option<Job> {
        self.version(root);
        let id = self.name(root, "job", "job = \"market-2025-q1\"");
        self.refuse_latest(root, id.as_deref());
        let recipient = self.name(root, "recipient", "recipient = \"partner-bank\"");
        let status = self.status(root);
        let revises = root.text("revises").map(earlier_job);
        let releases = root.text("releases").map_or("releases".to_owned(), |p| p.value);

        let section = root.section("payments", "[payments]");
        let section = root.require("payments", "[payments]", section);
        let servers = Servers::of(root);
        let payments = section.map(|section| self.payments(&section, &servers));
        let merchants = root.section("merchants", "[merchants]");
        let key_sets = root.section("keys", "[keys]").map(|s| self.key_sets(&s));
        let key_sets = key_sets.unwrap_or_default();

        let places = payments.as_ref().map_or(2, |p| money_places(&p.facts.currencies));
        let section = root.section("expect", "[expect]");
        let expect = section.and_then(|section| self.expect(&section, places));

        let section = root.section("privacy", "[privacy]");
        let section = root.require("privacy", "[privacy]", section);
        let privacy = section.and_then(|section| self.privacy(&section));
        let section = root.section("ledger", "[ledger]");
        let section = root.require("ledger", "[ledger]", section);
        let unit = privacy.map(|privacy| privacy.unit);
        let ledger = section.and_then(|section| self.ledger(&section, unit));

        let sections = root.sections("report", "[[report]]");
        if sections.is_empty() {
            root.require::<()>("report", "[[report]]", None);
        }
        let unknown = Facts::UNKNOWN;
        let facts = payments.as_ref().map_or(&unknown, |payments| &payments.facts);
        let (reports, registry) = self.reports(&sections, facts, merchants.as_ref(), &key_sets);
        self.refuse_idle(reports.as_deref(), facts, &key_sets);
        root.finish();
        Some(Job {
            id: id?,
            recipient: recipient?,
            status: status?,
            revises,
            releases: self.folder.join(releases),
            payments: payments?.source?,
            registry,
            key_sets: key_sets.into_iter().map(|(name, set)| (name, set.value)).collect(),
            expect,
            privacy: privacy?,
            ledger: ledger?,
            reports: reports?,
            digest,
        })
    }

    /// What `previous` calls the newest release cannot be the name of a job.
    fn refuse_latest(&self, root: &Section, id: Option<&str>) {
        if id == Some(EarlierJob::LATEST) {
            let rule = "another name: `previous = \"latest\"` stands for the newest release";
            let finding = findings::value_out_of_range("job", "\"latest\"", rule);
            self.faults.add(finding.at(root.span_of("job")));
        }
    }

    fn status(&self, root: &Section) -> Option<ReleaseStatus> {
        let Some(text) = root.text("status") else { return Some(ReleaseStatus::Final) };
        let all = [ReleaseStatus::Provisional, ReleaseStatus::Final];
        let status = all.into_iter().find(|status| status.name() == text.value);
        if status.is_none() {
            let shown = format!("\"{}\"", text.value);
            let rule = "\"provisional\" or \"final\"";
            self.faults.add(findings::value_out_of_range("status", &shown, rule).at(text.span));
        }
        status
    }

    fn version(&self, root: &Section) {
        let version = root.require("version", "version = 1", root.decimal("version"));
        if let Some(version) = version.filter(|v| v.value != "1") {
            self.faults.add(findings::version_unsupported(&version.value).at(version.span));
        }
    }

    /// A name that is safe as a file name.
    fn name(&self, section: &Section, key: &'static str, example: &str) -> Option<String> {
        let name = section.require(key, example, section.text(key))?;
        let ok = is_name(&name.value);
        if !ok {
            let shown = format!("\"{}\"", name.value);
            self.faults.add(findings::value_out_of_range(key, &shown, NAMES).at(name.span));
        }
        ok.then_some(name.value)
    }

    fn key_sets(&self, section: &Section) -> BTreeMap<String, Placed<Vec<String>>> {
        let mut sets = BTreeMap::new();
        for (name, values) in section.every_entry() {
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            for value in &values {
                let why = if value.value.trim().is_empty() {
                    "has a blank value"
                } else if !seen.insert(&value.value) {
                    "has a value twice"
                } else {
                    continue;
                };
                let finding = findings::key_set_invalid(&name.value, why);
                self.faults.add(finding.at(value.span.clone()));
            }
            if values.is_empty() {
                let finding = findings::key_set_invalid(&name.value, "has no values");
                self.faults.add(finding.at(name.span.clone()));
            }
            let value = seen.into_iter().map(str::to_owned).collect();
            sets.insert(name.value, Placed { value, span: name.span });
        }
        sets
    }

    fn privacy(&self, section: &Section) -> Option<Privacy> {
        let unit = section.require("unit", "unit = \"user\"", section.text("unit"));
        let unit = unit.and_then(|unit| {
            let known = PrivacyUnit::named(&unit.value);
            if known.is_none() {
                let names = PrivacyUnit::ALL.map(PrivacyUnit::name);
                self.faults.add(findings::unit_unknown(&unit.value, &names).at(unit.span));
            }
            known
        });
        let epsilon = self.parameter(section, "epsilon", "epsilon = \"1\"", Epsilon::parse);
        let delta = self.parameter(section, "delta", "delta = \"1e-9\"", Delta::parse);
        section.finish();
        Some(Privacy { unit: unit?, epsilon: epsilon?, delta: delta? })
    }

    fn ledger(&self, section: &Section, unit: Option<PrivacyUnit>) -> Option<LedgerTerms> {
        let file = section.require("file", "file = \"ledger.sqlite\"", section.text("file"));
        let file = file.and_then(|file| self.file(file));
        let population = self.name(section, "population", "population = \"cny-2025\"");
        let example = "epsilon_max = \"4\"";
        let epsilon_max = self.parameter(section, "epsilon_max", example, Epsilon::parse);
        let example = "delta_max = \"1e-8\"";
        let delta_max = self.parameter(section, "delta_max", example, Delta::parse);
        let same_user_as = section.text("same_user_as");
        let same_user_as = same_user_as.and_then(|text| self.sql("same_user_as", text));
        let same_time_as = section.text("same_time_as").map(|text| text.value);
        if same_time_as.is_some() && unit == Some(PrivacyUnit::User) {
            self.idle(section, "same_time_as", "a unit within periods, such as `user-month`");
        }
        section.finish();
        Some(LedgerTerms {
            file: self.folder.join(file?),
            population: population?,
            epsilon_max: epsilon_max?,
            delta_max: delta_max?,
            same_user_as: same_user_as.map(|expression| expression.normal),
            same_time_as,
        })
    }

    fn parameter<T>(
        &self,
        section: &Section,
        key: &'static str,
        example: &str,
        parse: fn(&str) -> std::result::Result<T, UnitError>,
    ) -> Option<T> {
        let Placed { value, span } = section.require(key, example, section.decimal(key))?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(cause) => {
                self.faults.add(findings::privacy_parameter_invalid(key, &value, &cause).at(span));
                None
            }
        }
    }

    /// A path that ends in a name.
    fn file(&self, text: Placed<String>) -> Option<String> {
        let named = !text.value.trim().is_empty() && Path::new(&text.value).file_name().is_some();
        if !named {
            let shown = format!("{:?}", text.value);
            let finding = findings::value_out_of_range("file", &shown, "the name of a file");
            self.faults.add(finding.at(text.span));
        }
        named.then_some(text.value)
    }

    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }
}

fn earlier_job(text: Placed<String>) -> EarlierJob {
    EarlierJob { job: text.value, span: text.span }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;

    #[test]
    fn key_sets_may_be_large() {
        let values: Vec<String> = (0..300_000).map(|value| format!("\"{value}\"")).collect();
        let report = "levels = [[\"wallet\"]]\nkeys = \"public\"\ninsights = [\"payments\"]";
        let plan = |values: &[String]| {
            let set = format!("wallet = [{}]", values.join(", "));
            let changes = [
                ("wallet = [\"w0\", \"w1\", \"w2\"]", &*set),
                ("ticket_groups = \"region\"\n", ""),
            ];
            Market::new(&[]).try_plan_changed(&changes, &[report.to_owned()])
        };
        let known = plan(&values).expect("a good job");
        let set = &known.job.key_sets["wallet"];
        assert!(set.len() == 300_000 && set.is_sorted());
        let faulty = ["\"a\"", "\"b\"", "\"a\"", "\" \""].map(str::to_owned);
        let error = plan(&faulty).expect_err("has faults");
        let found: Vec<&str> = error.findings().iter().map(|f| f.message()).collect();
        assert!(found.len() == 2 && found[0].contains("twice") && found[1].contains("blank"));
    }
}
