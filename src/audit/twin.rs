//! A synthetic twin of a job's payments: made of the job file, the table of merchants and a seed.
//! The job's own payments are never opened; real neighbours would leak what the audit must not
//! know.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use chrono::{Days, NaiveTime, TimeDelta, TimeZone};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::findings;
use crate::job::{Clock, Job, minor_places};
use crate::plan::Plan;
use crate::sample::{SampleOptions, Visit, visits};

/// One payment of a twin, before anything is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TwinPayment {
    /// `None` and blanks are bad rows.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) merchant: Arc<str>,
    /// Seconds since 1970, in universal time.
    pub(crate) time: i64,
    /// Minor units of its currency.
    pub(crate) amount: i64,
    pub(crate) currency: &'static str,
    /// Values of the job's columns, in their order.
    pub(crate) columns: Vec<Arc<str>>,
}

/// How large a twin is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwinSize {
    pub(crate) users: u64,
    pub(crate) payments: u64,
    pub(crate) seed: u64,
}

/// Public values that payments of a job can have.
pub(crate) struct World {
    pub(crate) merchants: Vec<Arc<str>>,
    pub(crate) columns: Vec<Vec<Arc<str>>>,
    /// May a column, or the merchant, have values that nobody stated?
    pub(crate) free_columns: Vec<bool>,
    pub(crate) free_merchants: bool,
    currencies: Vec<&'static str>,
    job: Job,
    clock: Clock,
    /// By day, the period of the privacy unit.
    periods: Vec<u32>,
}

/// A privacy unit of a twin: a user, and the period where units are within periods.
pub(crate) type Unit = (Arc<str>, u32);

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;
/// The most merchants that the twin's users go to.
const MERCHANTS_MAX: usize = 5_000;

impl World {
    pub(crate) fn new(job: &Job) -> World {
        let texts = |texts: &[String]| texts.iter().map(|t| t.as_str().into()).collect();
        let merchants = match &job.registry {
            Some(registry) => texts(&registry.ids),
            None => (0..50).map(|m| format!("twin-merchant-{m}").into()).collect(),
        };
        let values = |(name, _): &(String, _)| match job.key_sets.get(name) {
            Some(values) => texts(values),
            None => (0..8).map(|v| format!("twin-value-{v}").into()).collect(),
        };
        let source = &job.payments;
        World {
            merchants,
            columns: source.columns.iter().map(values).collect(),
            free_columns: source
                .columns
                .iter()
                .map(|(n, _)| !job.key_sets.contains_key(n))
                .collect(),
            free_merchants: job.registry.is_none(),
            currencies: source.currencies.iter().map(|c| c.code()).collect(),
            job: job.clone(),
            clock: Clock::new(source.zone, source.period),
            periods: job.privacy.unit.periods(source.period),
        }
    }

    /// Days of the job's period.
    pub(crate) fn days(&self) -> i64 {
        self.job.payments.period.days().into()
    }

    /// Whose a payment is; `None` if nobody's.
    pub(crate) fn unit(&self, payment: &TwinPayment) -> Option<Unit> {
        let day = self.clock.hour_of_instant(payment.time)? / 24;
        Some((payment.user.clone()?, self.periods[day as usize]))
    }

    /// Universal time of a second of the period by the wall clock.
    pub(crate) fn time(&self, second: i64) -> i64 {
        let period = self.job.payments.period;
        let second = second.rem_euclid(self.days() * DAY);
        let day = period.first() + Days::new((second / DAY) as u64);
        let local = day.and_time(NaiveTime::MIN) + TimeDelta::seconds(second % DAY);
        let zone = self.job.payments.zone;
        // In the hour that daylight saving takes away, an hour later.
        let instant = |local| zone.from_local_datetime(&local).earliest();
        let known = instant(local).or_else(|| instant(local + TimeDelta::hours(1)));
        known.map_or_else(|| local.and_utc().timestamp(), |time| time.timestamp())
    }

    /// A payment whose merchant and columns are those with these numbers.
    pub(crate) fn pay(
        &self,
        user: &Arc<str>,
        merchant: usize,
        second: i64,
        amount: i64,
    ) -> TwinPayment {
        let pick = |values: &Vec<Arc<str>>| values[merchant % values.len()].clone();
        TwinPayment {
            user: Some(user.clone()),
            merchant: self.merchants[merchant % self.merchants.len()].clone(),
            time: self.time(second),
            amount,
            currency: self.currencies[0],
            columns: self.columns.iter().map(pick).collect(),
        }
    }

    fn visit(&self, visit: &Visit, users: &mut BTreeMap<u64, Arc<str>>) -> TwinPayment {
        let name = || format!("twin-{:016x}", visit.user).into();
        let user = users.entry(visit.user).or_insert_with(name).clone();
        let step = self.merchants.len().div_ceil(MERCHANTS_MAX).max(1);
        let currency = usize::from(visit.traits[1]) % self.currencies.len();
        let places = self.job.payments.currencies[currency];
        // The sample's amounts have two decimal places.
        let amount = match minor_places(places) {
            0 => (visit.amount / 100).max(1),
            places => visit.amount * 10i64.pow(places - 1) / 10,
        };
        let mix = usize::from(visit.traits[0]) + 7 * usize::from(visit.traits[1]);
        let pick = |values: &Vec<Arc<str>>| values[mix % values.len()].clone();
        TwinPayment {
            user: Some(user),
            merchant: self.merchants[visit.merchant * step % self.merchants.len()].clone(),
            time: self.time(visit.second),
            amount,
            currency: self.currencies[currency],
            columns: self.columns.iter().map(pick).collect(),
        }
    }

    /// Ordinary users: how they go about is the sample's, where to and when is the job's.
    pub(crate) fn crowd(&self, size: TwinSize) -> Result<Vec<TwinPayment>> {
        let options = SampleOptions {
            payments: size.payments,
            seed: size.seed,
            users: Some(size.users),
            merchants: Some(self.merchants.len().min(MERCHANTS_MAX) as u64),
            days: self.job.payments.period.days().min(1_095),
            threads: 1,
        };
        let mut users = BTreeMap::new();
        Ok(visits(&options)?.iter().map(|visit| self.visit(visit, &mut users)).collect())
    }
}

/// A folder for twins of one plan's payments.
pub(crate) struct Twin {
    folder: TempDir,
    plan: Plan,
    pub(crate) world: World,
}

impl Twin {
    /// A twin of a plan; its payments, ledger and quarantine are out of reach.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub(crate) fn new(plan: &Plan) -> Result<Twin> {
        let failed =
            |e| Error::environment(findings::audit_not_writable(&std::env::temp_dir(), &e));
        let folder = tempfile::Builder::new().prefix("discretail-audit-").tempdir();
        let folder = folder.map_err(failed)?;
        let world = World::new(&plan.job);
        let file = folder.path().join("twin.parquet");
        let mut plan = plan.clone();
        plan.job = plan.job.on_twin(&file, folder.path());
        Ok(Twin { folder, plan, world })
    }

    /// The plan on the payments that were written last.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts these payments in place of those before.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn write<'a>(&self, payments: impl Iterator<Item = &'a TwinPayment>) -> Result<()> {
        let payments: Vec<&TwinPayment> = payments.collect();
        let path = self.folder.path().join("twin.parquet");
        put(&path, &|| batch(&self.plan.job, &payments))
    }

    /// Makes a folder with these payments, the job file and the table of merchants, for a process
    /// of its own.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn apart<'a>(
        &self,
        name: &str,
        payments: impl Iterator<Item = &'a TwinPayment>,
    ) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        let failed =
            |e: std::io::Error| Error::environment(findings::audit_not_writable(&folder, &e));
        std::fs::create_dir(&folder).map_err(failed)?;
        let payments: Vec<&TwinPayment> = payments.collect();
        put(&folder.join("twin.parquet"), &|| batch(&self.plan.job, &payments))?;
        if let Some(registry) = &self.plan.job.registry {
            let columns = std::iter::once(("twin id", &registry.ids))
                .chain(registry.attributes.iter().map(|(name, values)| (&**name, values)));
            let columns: Vec<_> = columns.collect();
            put(&folder.join("twin-merchants.parquet"), &|| texts(&columns))?;
        }
        let text = self.plan.job.twin_text();
        let mut file = std::fs::File::create(folder.join("job.toml")).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(folder)
    }
}

/// Writes a table.
///
/// # Errors
/// The disk refuses.
pub(crate) fn put(
    path: &Path,
    table: &dyn Fn() -> std::result::Result<RecordBatch, ArrowError>,
) -> Result<()> {
    let write = || -> std::result::Result<(), ArrowError> {
        let batch = table()?;
        let file = std::fs::File::create(path)?;
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(())
    };
    write().map_err(|e| Error::environment(findings::audit_not_writable(path, &e)))
}

/// A table of texts.
pub(crate) fn texts(
    columns: &[(&str, &Vec<String>)],
) -> std::result::Result<RecordBatch, ArrowError> {
    let column = |(name, values): &(&str, &Vec<String>)| {
        let array: ArrayRef = Arc::new(StringArray::from_iter_values(values.iter()));
        ((*name).to_owned(), array)
    };
    RecordBatch::try_from_iter(columns.iter().map(column))
}

/// The columns that [`Job::on_twin`] names.
fn batch(job: &Job, payments: &[&TwinPayment]) -> std::result::Result<RecordBatch, ArrowError> {
    let text = |of: &dyn Fn(&TwinPayment) -> Option<String>| -> ArrayRef {
        Arc::new(payments.iter().map(|p| of(p)).collect::<StringArray>())
    };
    let number = |of: &dyn Fn(&TwinPayment) -> i64| -> ArrayRef {
        Arc::new(payments.iter().map(|p| of(p)).collect::<Int64Array>())
    };
    let mut columns = vec![
        ("user".to_owned(), text(&|p| p.user.as_deref().map(str::to_owned)), true),
        ("merchant".to_owned(), text(&|p| Some(p.merchant.to_string())), true),
        ("time".to_owned(), number(&|p| p.time), true),
        ("amount".to_owned(), number(&|p| p.amount), true),
        ("currency".to_owned(), text(&|p| Some(p.currency.to_owned())), true),
    ];
    for (place, (name, _)) in job.payments.columns.iter().enumerate() {
        let column = text(&|p| Some(p.columns[place].to_string()));
        columns.push((format!("column {name}"), column, true));
    }
    RecordBatch::try_from_iter_with_nullable(columns)
}
