//! All integration tests, in one binary so that polars is linked once.

mod bad_input;
mod cli;
mod common;
mod crash;
mod tidy;
