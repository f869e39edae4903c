//! All integration tests, in one binary so that polars is linked once.

mod bad_input;
mod cli;
mod common;
mod crash;
mod engines;
mod mechanism;
mod sensitivity;
mod sources;
mod tidy;
