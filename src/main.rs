//! The binary: parse, do, show.

use std::process::ExitCode;

use clap::Parser;
use discretail::cli::Cli;
use discretail::{commands, console};

fn main() -> ExitCode {
    let cli = Cli::parse();
    console::start_log(cli.verbose);
    commands::dispatch(cli)
}
