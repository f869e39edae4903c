//! Differentially private merchant and market insights from in-store payment records.
//!
//! **The guarantee.** Two data sets are neighbours if one is the other with all payments of one
//! user added or removed. A whole job is (ε, δ)-differentially private in that sense: whoever
//! reads its release, knowing anything else, can hardly tell whether a given user's payments were
//! there. The theorem, its proof and the code behind each step are in `docs/privacy.md`.
//!
//! **What it does not protect against**: whoever can read the payments, the quarantine folder or
//! the memory of the process; several users who are one person; merchants, whose totals are
//! shown; facts that hold for a population whether or not a user is in it. See *What is not
//! protected* in `docs/privacy.md`.
//!
//! The modules are the stations of a run, in this order; each uses only those before it:
//! [`privacy`], [`job`], [`plan`], [`payments`], [`engine`], [`mechanism`], [`estimate`],
//! [`release`], [`report`], [`trial`], [`ledger`], [`verify`], [`audit`], [`commands`].
//! `ARCHITECTURE.md` has the invariants.

pub mod audit;
mod caught;
pub mod cli;
pub mod commands;
pub mod console;
pub mod engine;
pub mod error;
pub mod estimate;
pub mod findings;
#[cfg(test)]
mod fixture;
pub mod job;
pub mod ledger;
pub mod mechanism;
mod parallel;
pub mod payments;
pub mod plan;
pub mod privacy;
pub mod release;
pub mod report;
pub mod sample;
#[cfg(test)]
mod tests_frozen;
#[cfg(test)]
mod tests_settle;
pub mod trial;
pub mod verify;
