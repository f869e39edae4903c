//! One run of the program itself on very many canaries: each has places of its own, of which a coin
//! has chosen one. Places where nobody is show what the noise is without the user. That cells of
//! other users have noise of their own is used here, and tried in `noise`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::canary::{ALARM, Seen, TOLD, row};
use super::curve;
use super::law::poisson_two_sided;
use super::power::{best_direction, mean_difference, threshold};
use super::row::Row;
use super::subject::Subject;
use super::twin::{DAY, Twin, put, texts};
use crate::error::{Error, Result};
use crate::findings;
use crate::job::{Insight, Job, StatisticKind};
use crate::plan::{LevelPlan, Plan, StatisticPlan};

/// Canaries at all bounds, and with one payment.
pub(super) const SIZE: [usize; 2] = [100_000, 20_000];
/// Places of each canary: merchants where nobody else goes.
const PLACES: usize = 3;
/// Cells of a place: its months.
const MONTHS: usize = 2;
/// 1 January 2025, in seconds since 1970.
const START: i64 = 1_735_689_600;
/// What a canary at all bounds pays at a time, and one with one payment.
const AMOUNTS: [i64; 2] = [1_000_000, 100];

/// The statistics that can be tried: what a release shows of each, a bound that canaries are
/// beyond, and for both kinds of canary the numbers in which they are: month, and number of the
/// cell.
type Tried = (StatisticKind, &'static str, &'static [Place], &'static [Place]);
type Place = (usize, usize);

const BOTH: &[Place] = &[(0, 0), (1, 0)];
const LAST: &[Place] = &[(1, 0)];
/// The second class, or bin.
const SECOND: &[Place] = &[(0, 1), (1, 1)];

/// The class of those who were last there over two weeks before their month ends.
const LONG_AGO: &[Place] = &[(0, 2), (1, 2)];

/// All but the logarithms of tickets, whose bound is the run's, cohorts, which need a third
/// month, and what needs two years.
const TRIED: [Tried; 11] = [
    (StatisticKind::Customers, "1.414", BOTH, LAST),
    (StatisticKind::Payments, "2.5", BOTH, LAST),
    (StatisticKind::Sales, "100", BOTH, LAST),
    (StatisticKind::TicketHistogram, "2.5", SECOND, LAST),
    (StatisticKind::Gross, "100", BOTH, LAST),
    (StatisticKind::Refunds, "100", BOTH, &[]),
    (StatisticKind::Visits, "2.5", BOTH, LAST),
    (StatisticKind::VisitClasses, "1.414", SECOND, LAST),
    (StatisticKind::Recency, "1.414", LONG_AGO, &[(1, 2)]),
    // Who comes in both months returns in the second; of the first the period cannot tell.
    (StatisticKind::NewReturning, "1", &[(1, 1)], LAST),
    // Who spends as much in both months; who comes in the second alone.
    (StatisticKind::Diffusion, "1", &[(1, 1)], LAST),
];

/// What is tried: a job with the audited job's epsilon, delta and statistics on merchants of its
/// own.
pub(super) struct Design {
    tried: Vec<Tried>,
    /// Of each kind of canary, the place of each.
    coins: [Vec<u8>; 2],
    epsilon: String,
    delta: String,
}

/// The ledger of a job of canaries.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) ledger: &'static str,
    pub(super) epsilon_max: &'static str,
    pub(super) delta_max: &'static str,
}

impl Terms {
    /// As much as can be, so that the job is not refused.
    pub(super) const AMPLE: Terms = Terms { ledger: "ample", epsilon_max: "20", delta_max: "0.01" };
}

impl Design {
    pub(super) fn new(plan: &Plan, size: [usize; 2]) -> Result<Design> {
        let has = |kind| plan.levels.iter().any(|level| level.position(kind).is_some());
        let mut tried: Vec<Tried> = TRIED.into_iter().filter(|tried| has(tried.0)).collect();
        if tried.is_empty() {
            tried.push(TRIED[0]);
        }
        let coins = |count: usize| -> Result<Vec<u8>> {
            let mut coins = vec![0; count];
            getrandom::fill(&mut coins)
                .map_err(|e| Error::environment(findings::randomness_missing(&e)))?;
            coins.iter_mut().for_each(|coin| *coin %= PLACES as u8);
            Ok(coins)
        };
        let privacy = plan.job.privacy;
        Ok(Design {
            tried,
            coins: [coins(size[0])?, coins(size[1])?],
            epsilon: privacy.epsilon.to_string(),
            delta: privacy.delta.to_string(),
        })
    }

    /// Some users, for what does not depend on how many there are.
    pub(super) fn small() -> Design {
        let coins = [vec![0; 20], Vec::new()];
        let (epsilon, delta) = ("1".to_owned(), "1e-6".to_owned());
        Design { tried: vec![TRIED[0]], coins, epsilon, delta }
    }

    fn canaries(&self) -> usize {
        self.coins.iter().map(Vec::len).sum()
    }

    /// The merchant of a place of a canary.
    fn merchant(&self, kind: usize, canary: usize, place: usize) -> usize {
        PLACES * (kind * self.coins[0].len() + canary) + place
    }

    /// A job file; with keys of the payments, one whose merchants have one visitor each.
    pub(super) fn job(&self, name: &str, keys: &str, terms: Terms) -> String {
        let private = keys != "public";
        let insights: Vec<&str> =
            self.tried.iter().flat_map(|t| shown(t.0)).map(Insight::name).collect();
        let (insights, levels, keys) = match private {
            true => (vec!["customers"], "[\"merchant\"]", format!("\"{keys}\"\ncells_max = 1")),
            false => (insights, "[\"merchant\", \"month\"]", format!("\"{keys}\"")),
        };
        let bound = |(kind, bound, ..): &Tried| format!("{} = \"{bound}\"", kind.name());
        let bounds: Vec<String> = match private {
            true => vec!["customers = \"1\"".to_owned()],
            false => self.tried.iter().map(bound).collect(),
        };
        let looks_back = self.tried.iter().any(|tried| tried.0 == StatisticKind::NewReturning);
        let binned = |tried: &Tried| tried.0 == StatisticKind::TicketHistogram;
        let binned = !private && self.tried.iter().any(binned);
        let edges = if binned { "ticket_edges = [\"50\"]\n" } else { "" };
        let look_back = if looks_back && !private { "look_back = 20\n" } else { "" };
        format!(
            "version = 1\njob = \"{name}\"\nrecipient = \"audit\"\nreleases = \".\"\n\n[payments]\n\
             files = [\"twin.parquet\"]\ntimezone = \"UTC\"\nfirst_day = 2025-01-01\n\
             last_day = 2025-02-28\ncurrency = \"EUR\"\n{edges}\
             columns = {{ user = \"user\", merchant = \"merchant\", time = \"time\", amount = \"amount\" }}\n\n\
             [merchants]\nfiles = [\"twin-merchants.parquet\"]\nid = \"twin id\"\n\n[privacy]\n\
             unit = \"user\"\nepsilon = \"{}\"\ndelta = \"{}\"\n\n[ledger]\n\
             file = \"{}.sqlite\"\npopulation = \"canaries\"\nepsilon_max = \"{}\"\n\
             delta_max = \"{}\"\n\n[[report]]\nname = \"canaries\"\nlevels = [{levels}]\n\
             keys = {keys}\n{look_back}insights = {insights:?}\nbounds = {{ {} }}\n",
            self.epsilon,
            self.delta,
            terms.ledger,
            terms.epsilon_max,
            terms.delta_max,
            bounds.join(", ")
        )
    }

    /// Writes payments and merchants.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let failed =
            |e: std::io::Error| Error::environment(findings::audit_not_writable(folder, &e));
        std::fs::create_dir(folder).map_err(failed)?;
        let ids: Vec<String> = (0..PLACES * self.canaries()).map(id).collect();
        put(&folder.join("twin-merchants.parquet"), &|| texts(&[("twin id", &ids)]))?;
        put(&folder.join("twin.parquet"), &|| {
            let payments = self.payments();
            let text = |of: &dyn Fn(&Paid) -> String| -> ArrayRef {
                Arc::new(payments.iter().map(|p| Some(of(p))).collect::<StringArray>())
            };
            let number = |of: &dyn Fn(&Paid) -> i64| -> ArrayRef {
                Arc::new(payments.iter().map(|p| Some(of(p))).collect::<Int64Array>())
            };
            RecordBatch::try_from_iter([
                ("user", text(&|p| format!("u{}", p.0))),
                ("merchant", text(&|p| id(p.1))),
                ("time", number(&|p| p.2)),
                ("amount", number(&|p| p.3)),
            ])
        })
    }

    /// Writes a job file beside them.
    pub(super) fn write_job(
        &self,
        folder: &Path,
        name: &str,
        keys: &str,
        terms: Terms,
    ) -> Result<()> {
        let write = || {
            let mut file = File::create(folder.join(format!("{name}.toml")))?;
            std::io::Write::write_all(&mut file, self.job(name, keys, terms).as_bytes())
        };
        write().map_err(|e| Error::environment(findings::audit_not_writable(folder, &e)))
    }

    /// Of a canary at all bounds two payments on two days in each month, and a refund where refunds
    /// count; of one with one payment just that, in the second month.
    fn payments(&self) -> Vec<Paid> {
        let refunds = self.tried.iter().any(|tried| tried.0 == StatisticKind::Refunds);
        let mut all = Vec::new();
        for (kind, coins) in self.coins.iter().enumerate() {
            for (canary, &place) in coins.iter().enumerate() {
                let merchant = self.merchant(kind, canary, place.into());
                let user = merchant / PLACES;
                let mut pay = |day: i64, amount| {
                    all.push((user, merchant, START + day * DAY + 40_000, amount));
                };
                if kind == 1 {
                    pay(40, AMOUNTS[1]);
                    continue;
                }
                for day in [5, 36] {
                    pay(day, AMOUNTS[0]);
                    pay(day + 7, AMOUNTS[0]);
                    if refunds {
                        pay(day + 7, -AMOUNTS[0] / 2);
                    }
                }
            }
        }
        all
    }

    /// What an attacker sees of a kind of canary: one number for each statistic, in standard
    /// deviations, along what the canary adds; with, and without.
    pub(super) fn seen(
        &self,
        kind: usize,
        plan: &Plan,
        values: &[Vec<f32>],
    ) -> (Vec<Seen>, Vec<Seen>) {
        let statistics = &plan.levels[0].statistics;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for (canary, &coin) in self.coins[kind].iter().enumerate() {
            for place in 0..PLACES {
                let first = MONTHS * self.merchant(kind, canary, place);
                let along =
                    |((tried, statistic), values): ((&Tried, &StatisticPlan), &Vec<f32>)| {
                        let places = if kind == 0 { tried.2 } else { tried.3 };
                        let at = |&(month, number): &Place| {
                            values[(first + month) * statistic.width + number]
                        };
                        let sum: f32 = places.iter().map(at).sum();
                        sum / (places.len().max(1) as f32).sqrt()
                    };
                let seen: Seen = self.tried.iter().zip(statistics).zip(values).map(along).collect();
                let side = if place == usize::from(coin) { &mut with } else { &mut without };
                side.push(seen);
            }
        }
        (with, without)
    }
}

/// User, merchant, time, amount.
type Paid = (usize, usize, i64, i64);

/// Ids whose order is that of the merchants.
fn id(merchant: usize) -> String {
    format!("m{merchant:09}")
}

/// The insights that show all numbers of a statistic as they were noised.
fn shown(kind: StatisticKind) -> impl Iterator<Item = Insight> {
    let alone = move |insight: &Insight| insight.statistics() == [kind] && !insight.is_ratio();
    Insight::ALL.into_iter().filter(alone)
}

/// All tests of one run, and of one more for private keys and for discovered ones where the job has
/// them.
pub(super) fn rows(
    subject: &dyn Subject,
    twin: &Twin,
    plan: &Plan,
    size: [usize; 2],
) -> Result<Vec<Row>> {
    let design = Design::new(plan, size)?;
    let folder = twin.folder().join("canaries");
    let canaries = || -> Result<Vec<Row>> {
        design.write(&folder)?;
        design.write_job(&folder, "canaries", "public", Terms::AMPLE)?;
        let Some(ran) = subject.outside(&folder, "canaries.toml")? else {
            let why = "there is no program to start";
            return Ok(vec![Row::open("black box", ONE_RUN, why, "docs/audit.md")]);
        };
        if let Some(fault) = ran.fault() {
            return Ok(vec![row(ONE_RUN, "one run of the program", true, fault)]);
        }
        let own = Job::parse(&design.job("canaries", "public", Terms::AMPLE), &folder)
            .and_then(Plan::new)?;
        let values = read(&folder.join("canaries/canaries.merchant-month.parquet"), &own)?;
        let mut rows = judge(&design, &own, &values);
        for keys in ["private", "discovered"] {
            let own = |level: &LevelPlan| {
                !level.is_public() && level.is_discovered() == (keys == "discovered")
            };
            if plan.levels.iter().any(own) {
                rows.extend(alone(&design, subject, &folder, keys)?);
            }
        }
        Ok(rows)
    };
    let rows = canaries();
    // Large; what is left goes with the twin's folder.
    let _ = std::fs::remove_dir_all(&folder);
    rows
}

const ONE_RUN: &str =
    "in one run of the program an attacker learns no more of a user than mu allows";

/// What is claimed of private keys, or of discovered ones, and where it is proved.
fn alone_claim(keys: &str) -> (String, &'static str) {
    let proof = match keys {
        "private" => "docs/privacy.md, Lemma 4",
        _ => "docs/privacy.md, Lemma 6",
    };
    (format!("a {keys} key that one user alone has is not shown"), proof)
}

/// The tests, from the noised values of a run.
pub(super) fn judge(design: &Design, plan: &Plan, values: &[Vec<f32>]) -> Vec<Row> {
    let claim = super::Claim::of(plan);
    let statistics = &plan.levels[0].statistics;
    let mus: Vec<f64> =
        statistics.iter().map(|s| s.noise.bound.norm() as f64 / s.noise.sigma as f64).collect();
    let by_design = mus.iter().map(|mu| mu * mu).sum::<f64>().sqrt();
    let score = |seen: &Seen| -> f64 {
        let sum: f64 = seen.iter().zip(&mus).map(|(&v, mu)| f64::from(v) * mu).sum();
        sum / by_design
    };
    let scores = |seen: &[Seen]| -> Vec<f64> { seen.iter().map(score).collect() };
    let (with, without) = design.seen(0, plan, values);
    let (with, without) = (scores(&with), scores(&without));
    let told = mean_difference(&with, &without, TOLD);
    let epsilon = curve::epsilon(told, claim.delta);
    let (count, names) = (with.len(), design.tried.iter().map(|t| t.0.name()).collect::<Vec<_>>());
    let mut rows = vec![row(
        ONE_RUN,
        &format!(
            "{count} users at the bounds of {}, each alone in one of {PLACES} places; likelihood ratio of a place \
             (product of normal laws), difference of means",
            names.join(", ")
        ),
        mean_difference(&with, &without, ALARM) > claim.mu,
        format!(
            "mu at least {told:.4} at 95 %, {by_design:.4} by design; as epsilon at delta {:e}: at least \
             {epsilon:.3} of {} ({:.0} %)",
            claim.delta,
            claim.epsilon,
            100.0 * epsilon / claim.epsilon
        ),
    )];
    let (told, sure) = (
        threshold(&with, &without, TOLD, claim.delta),
        threshold(&with, &without, ALARM, claim.delta),
    );
    rows.push(row(
        "in one run, without the normal law: true and false alarms of the best threshold",
        "threshold chosen on half of the places, Clopper-Pearson intervals of both alarms on the rest",
        sure.0 > claim.mu || sure.1 > claim.epsilon,
        format!(
            "mu at least {:.4} at 95 %; epsilon without any curve at least {:.3} at delta {:e}",
            told.0, told.1, claim.delta
        ),
    ));
    rows.push(searched(design, plan, values, claim.mu));
    rows
}

/// The best linear look at users with one payment, found on half and tried on the rest.
fn searched(design: &Design, plan: &Plan, values: &[Vec<f32>], mu: f64) -> Row {
    let (with, without) = design.seen(1, plan, values);
    let (first, second) = (with.len() / 2, without.len() / 2);
    let direction = best_direction(&with[..first], &without[..second]);
    let look =
        |seen: &Seen| -> f64 { seen.iter().zip(&direction).map(|(&v, d)| f64::from(v) * d).sum() };
    let scores = |seen: &[Seen]| -> Vec<f64> { seen.iter().map(look).collect() };
    let (with, without) = (scores(&with[first..]), scores(&without[second..]));
    row(
        "in one run no combination of statistics tells more of a light user than mu allows",
        "users with one payment; the best linear combination, found on half of the places, tried on the rest",
        mean_difference(&with, &without, ALARM) > mu,
        format!(
            "mu at least {:.4} at 95 %, claimed {mu:.4}",
            mean_difference(&with, &without, TOLD)
        ),
    )
}

/// Merchants with one customer each must stay hidden, but for thresholds' delta.
fn alone(design: &Design, subject: &dyn Subject, folder: &Path, keys: &str) -> Result<Option<Row>> {
    let name = if keys == "private" { "alone" } else { "alone-discovered" };
    let terms = Terms { ledger: name, ..Terms::AMPLE };
    design.write_job(folder, name, keys, terms)?;
    let Some(ran) = subject.outside(folder, &format!("{name}.toml"))? else { return Ok(None) };
    if let Some(fault) = ran.fault() {
        let (claim, _) = alone_claim(keys);
        return Ok(Some(row(&claim, "a run with keys of the payments", true, fault)));
    }
    let plan = Job::parse(&design.job(name, keys, terms), folder).and_then(Plan::new)?;
    let shown = open(&folder.join(format!("{name}/canaries.merchant.parquet")))?;
    let shown = shown.metadata().file_metadata().num_rows() as u64;
    let delta = plan.loss.threshold_delta.value();
    Ok(Some(hidden(keys, shown, design.canaries(), delta)))
}

/// So many keys are shown of people who are alone, each with a chance of `delta` at most.
pub(super) fn hidden(keys: &str, shown: u64, people: usize, delta: f64) -> Row {
    let mean = delta * people as f64;
    // Half of a two-sided chance is at most that of so many or more.
    let p = if shown == 0 { 1.0 } else { poisson_two_sided(shown, mean) / 2.0 };
    let figure = format!("{shown} of {people} keys shown, at most {mean:.1e} expected");
    let method = "a run with keys of the payments where each merchant has one customer; keys shown, against the Poisson \
                  law of what delta allows";
    let (claim, reference) = alone_claim(keys);
    Row { reference, ..row(&claim, method, p < ALARM, figure) }
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let failed =
        |e: &dyn std::fmt::Display| Error::environment(findings::audit_not_writable(path, &e));
    let file = File::open(path).map_err(|e| failed(&e))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(&e))
}

/// Of each statistic the noised values of all cells, in standard deviations of its noise.
fn read(path: &Path, plan: &Plan) -> Result<Vec<Vec<f32>>> {
    let failed =
        |e: &dyn std::fmt::Display| Error::environment(findings::audit_not_writable(path, &e));
    let reader = open(path)?;
    let statistics = &plan.levels[0].statistics;
    let names: Vec<String> = reader.schema().fields().iter().map(|f| f.name().clone()).collect();
    let columns: Vec<Vec<usize>> = statistics
        .iter()
        .map(|s| shown(s.kind).flat_map(|insight| unbiased(insight, &names)).collect())
        .collect();
    let mut values = vec![Vec::new(); statistics.len()];
    for batch in reader.build().map_err(|e| failed(&e))? {
        let batch = batch.map_err(|e| failed(&e))?;
        for ((values, columns), statistic) in values.iter_mut().zip(&columns).zip(statistics) {
            let sigma = statistic.noise.to_natural(statistic.noise.sigma as f64);
            let columns: Vec<Vec<f64>> =
                columns.iter().map(|&at| floats(batch.column(at))).collect();
            for cell in 0..batch.num_rows() {
                values.extend(columns.iter().map(|column| (column[cell] / sigma) as f32));
            }
        }
    }
    Ok(values)
}

/// The columns with the noised values of an insight.
fn unbiased(insight: Insight, names: &[String]) -> impl Iterator<Item = usize> {
    let is_own = move |name: &str| {
        let rest = name.strip_prefix(insight.name()).and_then(|n| n.strip_suffix("_unbiased"));
        rest.is_some_and(|rest| rest.is_empty() || insight.has_parts())
    };
    names.iter().enumerate().filter(move |(_, name)| is_own(name)).map(|(at, _)| at)
}

/// Numbers of a column; money in minor units.
fn floats(column: &ArrayRef) -> Vec<f64> {
    match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().values().to_vec(),
        _ => {
            let decimals = column.as_primitive::<Decimal128Type>().values();
            decimals.iter().map(|&minor| minor as f64).collect()
        }
    }
}
