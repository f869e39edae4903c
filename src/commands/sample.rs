//! `discretail sample DIR`

use super::{Failure, cancel_flag, threads};
use crate::cli::SampleArgs;
use crate::console::{self, Progress};
use crate::release::outside_releases;
use crate::sample::{SampleOptions, write_sample};

const DONE: &str = "the sample is written";

pub(super) fn sample(args: &SampleArgs) -> Result<(), Failure> {
    outside_releases(&args.dir)?;
    let cancelled = cancel_flag()?;
    let options = SampleOptions {
        payments: args.payments,
        seed: args.seed,
        users: args.users,
        merchants: args.merchants,
        days: args.days,
        threads: threads(args.threads.map(usize::from)),
    };
    let bar = Progress::bar("making payments".to_owned(), args.payments);
    let summary = write_sample(&args.dir, &options, &|done| bar.set(done), &cancelled)?;
    drop(bar);
    if args.json {
        let files: Vec<String> =
            summary.files.iter().map(|file| file.display().to_string()).collect();
        let summary = serde_json::json!({
            "status": "written",
            "payments": summary.payments,
            "users": summary.users,
            "merchants": summary.merchants,
            "files": files,
        });
        return Ok(console::result_of(DONE, &summary.to_string())?);
    }
    console::note(&format!(
        "{} payments of {} users at {} merchants, all made up",
        summary.payments, summary.users, summary.merchants
    ));
    for file in &summary.files {
        console::result_of(DONE, &file.display().to_string())?;
    }
    Ok(())
}
