//! The binary: parse, do, show.

use std::process::ExitCode;

use clap::Parser;
use discretail::cli::Cli;
use discretail::{commands, console};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => return console::usage(&shown),
    };
    console::start_log(cli.verbose);
    let json = cli.command.json();
    // A panic is a bug: exit 3.
    std::panic::catch_unwind(|| commands::dispatch(cli)).unwrap_or_else(|_| console::bug(json))
}
