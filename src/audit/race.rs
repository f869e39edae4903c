//! Two programs at once on a ledger that has enough for one.

use super::one_run::{Design, Terms};
use super::row::Row;
use super::subject::Subject;
use super::twin::Twin;
use crate::error::Result;

/// Races, each on a ledger of its own.
const RACES: usize = 6;
/// Enough for one job of ε = 1, and not for two, whose μ is √2 times as large.
const EPSILON_MAX: &str = "1.25";

/// One of two jobs must be released, and the other one refused.
pub(super) fn row(subject: &dyn Subject, twin: &Twin) -> Result<Row> {
    let what = "of two programs that want the same budget at once one gets it";
    let page = "docs/privacy.md, Theorem 2";
    let design = Design::small();
    let (mut faults, mut tried) = (Vec::new(), 0);
    for race in 0..RACES {
        let folder = twin.folder().join(format!("race {race}"));
        design.write(&folder)?;
        let terms = Terms { ledger: "ledger", epsilon_max: EPSILON_MAX, delta_max: "1e-6" };
        for name in NAMES {
            design.write_job(&folder, name, "public", terms)?;
        }
        let start = &|name: &str| subject.outside(&folder, &format!("{name}.toml"));
        let ran = std::thread::scope(|scope| {
            let threads = NAMES.map(|name| scope.spawn(move || start(name)));
            threads.map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let codes: Vec<Option<i32>> = ran
            .into_iter()
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .map(|r| r.code)
            .collect();
        if codes.is_empty() {
            return Ok(Row::open("static", what, "there is no program to start", page));
        }
        tried += 1;
        let count = |code| codes.iter().filter(|own| **own == Some(code)).count();
        if (count(0), count(1)) != (1, 1) {
            faults.push(format!("{} of both are released, {} refused", count(0), count(1)));
        }
    }
    let method =
        "two processes of the program started together, on a ledger that has enough for one";
    let figure = format!("{tried} races, each with one release and one refusal");
    Ok(Row::exact("static", what, method, &faults, figure, page))
}

const NAMES: [&str; 2] = ["first", "second"];
