//! All integration tests, in one binary so that polars is linked once.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod audit;
mod bad_input;
mod bands;
mod budget;
mod claims;
mod cli;
mod cohorts;
mod columns;
mod common;
mod compared;
mod crash;
mod cross;
mod diffusion;
mod discovered;
mod dominance;
mod durable;
mod elsewhere;
mod engine;
mod faults;
mod flows;
mod hive;
mod insights;
mod ledger;
mod lines;
mod merchants;
mod output;
mod peers;
mod places;
mod predict;
mod remote;
mod report;
mod resumed;
mod revisions;
mod rows;
mod scales;
mod series;
mod several;
mod shared;
mod sources;
#[cfg(feature = "spark")]
mod spark;
mod sticky;
mod surveys;
mod tidy;
mod trial;
mod verify;
