//! What a report shows, and how: peers, files, and which statistics its levels need for it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::payments::AMOUNT_MAX;
use super::reports::Names;
use super::{Reader, earlier_job};
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::{Bound, EarlierJob, Insight, Key, StatisticKind, TimeKey};
use crate::privacy::Decimal;

/// Registered merchants of a group of peers, unless the job says else; and the least that it can
/// say.
const PEERS_MIN_DEFAULT: u32 = 5;
const PEERS_LEAST: u32 = 3;

/// Of what merchants are counted that have so much.
const ABOVE: [StatisticKind; 4] =
    [StatisticKind::Customers, StatisticKind::Payments, StatisticKind::Sales, StatisticKind::Gross];

impl Reader<'_> {
    /// In which columns of the table of merchants peers are alike, and how many there must be.
    #[expect(clippy::type_complexity, reason = "two keys of a report with their places")]
    pub(super) fn peers(
        &self,
        section: &Section,
        names: &Names,
        lenient: bool,
    ) -> ((Vec<String>, Range<usize>), (u32, Option<Range<usize>>)) {
        let peers = section.texts("peers").unwrap_or_default();
        for name in peers.iter().filter(|name| !lenient && !names.attributes.contains(&name.value))
        {
            let known: Vec<&str> = names.attributes.iter().map(String::as_str).collect();
            let finding = findings::level_key_unknown(&name.value, &known);
            self.faults.add(finding.at(name.span.clone()));
        }
        let least = section.decimal("peers_min").map(|text| {
            let least = self.whole("peers_min", &text, PEERS_LEAST, 1_000_000);
            (least.unwrap_or(PEERS_MIN_DEFAULT), Some(text.span))
        });
        (placed_names(peers), least.unwrap_or((PEERS_MIN_DEFAULT, None)))
    }

    /// The earlier jobs whose releases help: what stands for the latest, or jobs by name.
    pub(super) fn previous(&self, section: &Section) -> Vec<EarlierJob> {
        let Some(names) = section.texts("previous") else { return Vec::new() };
        self.refuse_empty(section, "previous", Some(names.len()), "a job, or a list of some");
        let mut jobs: Vec<EarlierJob> = Vec::new();
        let several = names.len() > 1;
        for (place, job) in names.into_iter().map(earlier_job).enumerate() {
            let finding = match () {
                () if jobs.iter().any(|known| known.job == job.job) => {
                    findings::duplicate("the job", &job.job)
                }
                () if several && job.is_latest() => {
                    let rule = "alone: it stands for all earlier releases that fit";
                    findings::value_out_of_range("previous", "\"latest\"", rule)
                }
                () if place == EarlierJob::VALUES_MAX => {
                    let rule = format!("at most {} jobs", EarlierJob::VALUES_MAX);
                    findings::value_out_of_range("previous", &format!("{:?}", job.job), &rule)
                }
                () => {
                    jobs.push(job);
                    continue;
                }
            };
            self.faults.add(finding.at(job.span));
        }
        jobs
    }

    /// How much merchants have at least to be counted.
    pub(super) fn above(
        &self,
        report: &Section,
        money_places: u32,
    ) -> (BTreeMap<StatisticKind, i64>, Range<usize>) {
        let mut all = BTreeMap::new();
        let Some(section) = report.section("above", "`above`") else { return (all, 0..0) };
        for kind in ABOVE {
            let Some(text) = section.decimal(kind.name()) else { continue };
            let places = if kind.is_money() { money_places } else { 0 };
            let least = Decimal::parse(&text.value).ok().and_then(|d| d.scaled(places));
            let least = least.and_then(|least| i64::try_from(least).ok());
            match least.filter(|least| (1..=AMOUNT_MAX).contains(least)) {
                Some(least) => drop(all.insert(kind, least)),
                None => {
                    let rule = "a whole number of one or more, of money of one minor unit or more";
                    let finding = findings::value_out_of_range(kind.name(), &text.value, rule);
                    self.faults.add(finding.at(text.span));
                }
            }
        }
        section.finish();
        (all, section.span())
    }

    /// The time key by whose values tables are split into files.
    pub(super) fn partition_by(
        &self,
        section: &Section,
        levels: &[Placed<Vec<Placed<String>>>],
    ) -> Option<TimeKey> {
        let text = section.text("partition_by")?;
        let is = |time: &TimeKey| time.name() == text.value && time.has_periods();
        let known = TimeKey::ALL.into_iter().find(is);
        let used = levels.iter().any(|level| level.value.iter().any(|key| key.value == text.value));
        if known.is_none() || !used {
            let shown = format!("\"{}\"", text.value);
            let rule =
                "one of day, week, month and quarter that a level of the report has as a key";
            let finding = findings::value_out_of_range("partition_by", &shown, rule);
            self.faults.add(finding.at(text.span));
        }
        known
    }
}

/// Names with the place of the first of them.
fn placed_names(names: Vec<Placed<String>>) -> (Vec<String>, Range<usize>) {
    let span = names.first().map_or(0..0, |name| name.span.clone());
    (names.into_iter().map(|name| name.value).collect(), span)
}

/// Of bounds those of statistics that a level with these keys needs for the insights; all if it
/// carries none of them, of which the plan has a finding.
pub(super) fn needed_at(
    mut bounds: BTreeMap<StatisticKind, Bound>,
    keys: Option<&[Key]>,
    insights: Option<&[Insight]>,
) -> BTreeMap<StatisticKind, Bound> {
    let (Some(keys), Some(insights)) = (keys, insights) else { return bounds };
    let needs = |kind: &StatisticKind| {
        insights.iter().any(|insight| insight.statistics_at(keys).contains(kind))
    };
    let asked = |kind: &StatisticKind| insights.iter().any(|i| i.statistics().contains(kind));
    if insights.iter().any(|insight| insight.is_at(keys)) {
        // The score of private keys may need what no insight asks for.
        bounds.retain(|kind, _| needs(kind) || !asked(kind));
    }
    bounds
}
