//! The binary: parse, do, show.

use std::process::ExitCode;

use clap::Parser;
use discretail::cli::Cli;
use discretail::{commands, console};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    console::start_log(cli.verbose);
    // A panic is a bug: exit 3.
    std::panic::catch_unwind(|| commands::dispatch(cli)).unwrap_or(ExitCode::from(3))
}
