//! A job on other payments than its own: a synthetic twin of them, or files to try it on.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use polars::prelude::col;
use serde_json::json;

use super::split::{WEIGHT_UNIT, default_weights};
use super::{
    Bands, Bound, Format, Job, Key, Level, PartitionSelection, Report, SqlExpression, StatisticKind,
};

impl Job {
    /// The same job on the payments of one Parquet file with the columns `user`, `merchant`, `time`
    /// (seconds since 1970), `amount` (minor units), `currency` and the job's own, in place of its
    /// files and expressions. Its ledger, quarantine and releases are in `folder`, so that those of
    /// the job are out of reach; it never stops for bad rows.
    #[must_use]
    pub fn on_twin(&self, file: &Path, folder: &Path) -> Job {
        let mut job = self.clone();
        let source = &mut job.payments;
        source.patterns = vec![file.to_owned()];
        source.table = None;
        source.csv_at = None;
        source.format = Some(Format::Parquet);
        source.filter = None;
        source.time_format = None;
        source.user = column("user");
        source.time = column("time");
        source.amount = column("amount");
        source.merchant = source.merchant.as_ref().map(|_| column("merchant"));
        source.currency = Some(column("currency"));
        for (name, expression) in &mut source.columns {
            *expression = column(&format!("column {name}"));
        }
        source.max_bad_millionths = 1_000_000;
        source.quarantine = folder.join("quarantine");
        job.ledger.file = folder.join("no-ledger.sqlite");
        job.releases = folder.join("no-releases");
        job
    }
}

impl Job {
    /// The same job on these files, patterns and folders in place of its own, read in the same way.
    /// Its ledger and releases are out of reach, and so are earlier releases, which tell of other
    /// people; bad rows go to the folder `try` in its quarantine.
    #[must_use]
    pub fn on_files(&self, files: &[PathBuf]) -> Job {
        let mut job = self.clone();
        let source = &mut job.payments;
        source.patterns = files.to_vec();
        // Its expressions are read by this program then.
        source.table = None;
        source.csv_at = None;
        // Endings tell, unless the job must say what they do not.
        let unclear = files.iter().any(|file| Format::of(file).is_none());
        source.format = source.format.filter(|_| unclear);
        source.quarantine.push("try");
        job.ledger.file = source.quarantine.join("no-ledger.sqlite");
        job.releases = source.quarantine.join("no-releases");
        job.revises = None;
        for report in &mut job.reports {
            (report.previous, report.keys_from) = (Vec::new(), Vec::new());
        }
        job
    }
}

impl Job {
    /// The same as the text of a job file, for a process of its own. Everything is in the file's
    /// folder: the payments are `twin.parquet`, with columns as in [`Job::on_twin`], and the table
    /// of merchants is `twin-merchants.parquet` with the column `twin id` and the attributes that
    /// the job uses. Earlier releases are left out, as their ledger is not there; predictions too.
    pub fn twin_text(&self) -> String {
        let source = &self.payments;
        let mut columns: Vec<(String, String)> =
            ["user", "time", "amount", "currency"].map(|n| (n.to_owned(), n.to_owned())).into();
        columns.extend(source.merchant.as_ref().map(|_| ("merchant".into(), "merchant".into())));
        let others =
            source.columns.iter().map(|(name, _)| (name.clone(), format!("\"column {name}\"")));
        columns.extend(others);
        let column = |(name, sql): &(String, String)| format!("{} = {}", quoted(name), quoted(sql));
        let currencies: Vec<&str> = source.currencies.iter().map(|c| c.code()).collect();
        let mut text = format!(
            "version = 1\njob = {}\nrecipient = \"audit\"\nreleases = \".\"\n\n[payments]\n\
             files = [\"twin.parquet\"]\ntimezone = \"{}\"\nfirst_day = {}\nlast_day = {}\n\
             currency = {}\ncolumns = {{ {} }}\nmax_bad_share = 1\n",
            quoted(&self.id),
            source.zone.name(),
            source.period.first(),
            source.period.last(),
            json!(currencies),
            columns.iter().map(column).collect::<Vec<_>>().join(", ")
        );
        let mut insights = self.reports.iter().flat_map(|report| &report.insights);
        if insights.any(|insight| insight.statistics().contains(&StatisticKind::TicketHistogram)) {
            let edges = source.ticket_edges.iter().map(|&edge| self.major(edge as u64, 0));
            add(&mut text, "ticket_edges", &list(edges));
        }
        if let Some(registry) = &self.registry {
            text += "\n[merchants]\nfiles = [\"twin-merchants.parquet\"]\nid = \"twin id\"\n";
            if let Some(groups) = &registry.ticket_groups {
                add(&mut text, "ticket_groups", &quoted(groups));
            }
            if let Some((least, _)) = &registry.min_per_cell {
                add(&mut text, "min_per_cell", &least.to_string());
            }
            if let Some(rule) = &registry.dominance {
                let share = format!("{:.4}%", 100.0 * rule.share.value());
                let (top, by) = (rule.top, rule.by.name());
                let rule = format!("{{ top = {top}, share = \"{share}\", by = \"{by}\" }}");
                add(&mut text, "dominance", &rule);
            }
            if let Some(bands) = &registry.bands {
                let own = |(kind, edges): (&StatisticKind, &Vec<i64>)| {
                    let places = if kind.is_money() { source.money_places() } else { 0 };
                    let edges = edges.iter().map(|&edge| decimal(edge as u64, places));
                    format!("{} = {}", kind.name(), list(edges))
                };
                let bands: Vec<String> = bands.edges.iter().map(own).collect();
                add(&mut text, "bands", &format!("{{ {} }}", bands.join(", ")));
            }
        }
        if !self.key_sets.is_empty() {
            text += "\n[keys]\n";
            for (name, values) in &self.key_sets {
                add(&mut text, &quoted(name), &json!(values).to_string());
            }
        }
        let (privacy, ledger) = (&self.privacy, &self.ledger);
        text += &format!(
            "\n[privacy]\nunit = \"{}\"\nepsilon = \"{}\"\ndelta = \"{}\"\n\n[ledger]\n\
             file = \"ledger.sqlite\"\npopulation = \"twins\"\nepsilon_max = \"{}\"\ndelta_max = \"{}\"\n",
            privacy.unit.name(),
            privacy.epsilon,
            privacy.delta,
            ledger.epsilon_max,
            ledger.delta_max
        );
        self.reports.iter().for_each(|report| text += &self.report_text(report));
        text
    }

    fn report_text(&self, report: &Report) -> String {
        let names = |keys: &[Key]| keys.iter().map(|key| key.name().to_owned()).collect::<Vec<_>>();
        let levels: Vec<Vec<String>> = report.levels.iter().map(|l| names(&l.keys)).collect();
        let insights: Vec<&str> = report.insights.iter().map(|i| i.name()).collect();
        let mut text = format!(
            "\n[[report]]\nname = {}\nlevels = {}\ninsights = {}\n",
            quoted(&report.name),
            json!(levels),
            json!(insights)
        );
        match report.selection {
            PartitionSelection::Public => text += "keys = \"public\"\n",
            PartitionSelection::Private { cells_max } => {
                text += &format!("keys = \"private\"\ncells_max = {cells_max}\n");
            }
            PartitionSelection::Discovered { cells_max, share } => {
                text += &format!("keys = \"discovered\"\ncells_max = {cells_max}\n");
                text += &format!("discovery = \"{share}\"\n");
            }
        }
        let looks_back = |level: &&Level| level.bounds.keys().any(|kind| kind.looks_back());
        if let Some(level) = report.levels.first().filter(looks_back) {
            add(&mut text, "look_back", &level.look_back.to_string());
        }
        let keys: Vec<&[Key]> = report.levels.iter().map(|level| &level.keys[..]).collect();
        let weights: Vec<u32> = report.levels.iter().map(|level| level.weight).collect();
        if weights != default_weights(&keys) {
            let whole: Vec<u32> = weights.iter().map(|weight| weight / WEIGHT_UNIT).collect();
            add(&mut text, "weights", &format!("{whole:?}"));
        }
        if let Some((keys, _)) = &report.share_of {
            add(&mut text, "share_of", &json!(keys).to_string());
        }
        if !report.peers.0.is_empty() {
            add(&mut text, "peers", &json!(report.peers.0).to_string());
        }
        if report.peers_min.1.is_some() {
            add(&mut text, "peers_min", &report.peers_min.0.to_string());
        }
        if !report.above.0.is_empty() {
            let own = |(kind, &least): (&StatisticKind, &i64)| {
                let places = if kind.is_money() { self.payments.money_places() } else { 0 };
                format!("{} = \"{}\"", kind.name(), Bands::edge(least, places))
            };
            let all: Vec<String> = report.above.0.iter().map(own).collect();
            add(&mut text, "above", &format!("{{ {} }}", all.join(", ")));
        }
        if let Some(time) = report.partition_by {
            add(&mut text, "partition_by", &quoted(time.name()));
        }
        if let Some((day, _)) = &report.base {
            add(&mut text, "base", &day.to_string());
        }
        let shown = report.suppress_above.map(|share| format!("{:.4}%", 100.0 * share.value()));
        add(&mut text, "suppress_above", &quoted(shown.as_deref().unwrap_or("never")));
        self.bounds_text(report, "bounds", |bound| bound.norm_milli, &mut text);
        self.bounds_text(report, "cell_caps", |bound| bound.cell_cap_milli, &mut text);
        let mut bounds = report.levels.iter().flat_map(|level| level.bounds.values());
        if bounds.any(|bound| bound.surveyed) {
            text += "survey = true\n";
        }
        text
    }

    /// What a report states of its bounds, or of its caps, level by level; nothing where it states
    /// nothing.
    fn bounds_text(
        &self,
        report: &Report,
        name: &str,
        of: impl Fn(&Bound) -> Option<u64>,
        text: &mut String,
    ) {
        let mut all: BTreeMap<StatisticKind, Vec<String>> = BTreeMap::new();
        for level in &report.levels {
            for (&kind, bound) in &level.bounds {
                let Some(milli) = of(bound) else { continue };
                let number = match kind.is_money() {
                    true => self.major(milli, 3),
                    false => decimal(milli, 3),
                };
                all.entry(kind).or_default().push(number);
            }
        }
        let one = |(kind, numbers): (&StatisticKind, &Vec<String>)| {
            format!("{} = {}", kind.name(), list(numbers.iter().cloned()))
        };
        let all: Vec<String> = all.iter().map(one).collect();
        if !all.is_empty() {
            add(text, name, &format!("{{ {} }}", all.join(", ")));
        }
    }

    /// Minor units, or parts of them, in major ones.
    fn major(&self, minor: u64, places: u32) -> String {
        decimal(minor, places + self.payments.money_places())
    }
}

fn add(text: &mut String, key: &str, value: &str) {
    writeln!(text, "{key} = {value}").expect("cannot fail because a string takes all text");
}

/// As JSON writes it, which TOML reads.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

fn list(numbers: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = numbers.map(|number| format!("\"{number}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

/// A whole number with its last digits behind the point.
fn decimal(number: u64, places: u32) -> String {
    let one = 10u64.pow(places);
    match places {
        0 => number.to_string(),
        _ => format!("{}.{:0width$}", number / one, number % one, width = places as usize),
    }
}

/// A lone column.
fn column(name: &str) -> SqlExpression {
    SqlExpression { text: name.to_owned(), normal: name.to_owned(), span: 0..0, expr: col(name) }
}
