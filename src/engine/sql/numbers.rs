//! What a user's payments in a cell count for, in SQL: the definitions of `docs/privacy.md`.

use super::cells::Cells;
use super::rows;
use crate::job::{LOG_CENTRED_MAX, RECENCY_CLASSES, StatisticKind, VISIT_CLASSES};
use crate::plan::{Cohorts, LevelPlan};

/// The numbers of one statistic of a user's cell.
#[derive(Default)]
pub(super) struct Numbers {
    /// The columns of payments that they need beside amount, day and keys.
    pub(super) columns: Vec<String>,
    /// What is added up over the user's payments in the cell, with names.
    pub(super) sums: Vec<(String, String)>,
    /// The numbers, of these sums and of `n_start`, `n_back` and `n_came1`, ...
    pub(super) numbers: Vec<String>,
}

impl Numbers {
    /// Those of `kind` at a level, which is at a place of the plan.
    pub(super) fn new(cells: &Cells, place: usize, kind: StatisticKind) -> Numbers {
        let (level, dialect) = (cells.level, cells.dialect);
        let plain = |number: &str| Numbers { numbers: vec![number.to_owned()], ..Self::default() };
        let one =
            |name: &str, sum: String| Numbers { sums: vec![(name.to_owned(), sum)], ..plain(name) };
        let visits = || one("n_visits", "COUNT(DISTINCT dr_day)".to_owned());
        match kind {
            StatisticKind::Customers if cells.second().is_some() => plain("n_pair"),
            StatisticKind::Customers => plain("1"),
            // That many payments are counted anyway.
            StatisticKind::Payments => plain("n_payments"),
            StatisticKind::Sales => one("n_sales", dialect.sum("dr_amount")),
            StatisticKind::Gross => {
                let above = "CASE WHEN dr_amount >= 0 THEN dr_amount ELSE 0 END";
                one("n_gross", dialect.sum(above))
            }
            StatisticKind::Refunds => {
                let below = "CASE WHEN dr_amount < 0 THEN -dr_amount ELSE 0 END";
                one("n_refunds", dialect.sum(below))
            }
            StatisticKind::Visits => visits(),
            StatisticKind::VisitClasses => Numbers { numbers: visit_classes(), ..visits() },
            StatisticKind::NewReturning => {
                Numbers { numbers: new_returning(level), ..Self::default() }
            }
            StatisticKind::TicketHistogram => tickets(&cells.plan.job.payments.ticket_edges),
            StatisticKind::TicketLogs => logs(cells, place),
            StatisticKind::Recency => {
                let ago = format!("{} - MAX(dr_day)", cells.last_day());
                Numbers { numbers: recency(level), ..one("n_ago", ago) }
            }
            StatisticKind::Cohorts => Numbers { numbers: cohorts(cells), ..Self::default() },
            StatisticKind::Diffusion | StatisticKind::DiffusionYear => {
                let numbers = cells.changed(kind);
                Numbers { numbers, ..one("n_sales", dialect.sum("dr_amount")) }
            }
        }
    }

    /// The same at the scales of cells, which follow from the merchant.
    pub(super) fn scaled(mut self, place: usize, kind: StatisticKind) -> Numbers {
        let (column, scale) = (rows::scale(place, kind), format!("n_scale_{}", kind.name()));
        self.sums.push((scale.clone(), format!("MAX({column})")));
        self.columns.push(column);
        for number in &mut self.numbers {
            *number = format!("{number} * c.{scale}");
        }
        self
    }
}

fn visit_classes() -> Vec<String> {
    let least = VISIT_CLASSES.iter().map(|(least, _)| *least);
    let next = least.clone().skip(1).map(Some).chain([None]);
    let class = |(least, next): (u32, Option<u32>)| {
        let below = next.map_or(String::new(), |next| format!(" AND c.n_visits < {next}"));
        format!("CASE WHEN c.n_visits >= {least}{below} THEN 1 ELSE 0 END")
    };
    least.zip(next).map(class).collect()
}

/// Is the user new in the cell? And do they return? Neither where the period does not hold all days
/// that tell.
fn new_returning(level: &LevelPlan) -> Vec<String> {
    let days = level.look_back.as_ref().map_or(0, |look_back| look_back.days());
    let is =
        |back: u8| format!("CASE WHEN b.n_start >= {days} AND b.n_back = {back} THEN 1 ELSE 0 END");
    vec![is(0), is(1)]
}

/// Of who is new: 1, and 1 for each whole period after the cell in which they come again.
fn cohorts(cells: &Cells) -> Vec<String> {
    let level = cells.level;
    let days = level.look_back.as_ref().map_or(0, |look_back| look_back.days());
    let (Some(plan), Some(time)) = (&level.cohorts, cells.time()) else { return Vec::new() };
    let came = |periods: usize| match periods {
        0 => String::new(),
        _ => format!(" AND c.{time} + {periods} <= {} AND a.n_came{periods} = 1", last_whole(plan)),
    };
    let number = |periods: usize| {
        let came = came(periods);
        format!("CASE WHEN b.n_start >= {days} AND b.n_back = 0{came} THEN 1 ELSE 0 END")
    };
    (0..plan.width()).map(number).collect()
}

/// The number of the last period that is wholly within the job's days, of those after the first.
fn last_whole(plan: &Cohorts) -> usize {
    (1..).take_while(|&periods| plan.days_after(0, periods).is_some()).last().unwrap_or(0)
}

/// 1 in the class of the days between the user's last visit and the cell's end.
fn recency(level: &LevelPlan) -> Vec<String> {
    let classes = level.recency.as_ref().map_or(1, |recency| recency.classes());
    let class = |at: usize| {
        let below = match RECENCY_CLASSES[..classes].get(at + 1) {
            Some(next) => format!(" AND c.n_ago < {next}"),
            None => String::new(),
        };
        format!("CASE WHEN c.n_ago >= {}{below} THEN 1 ELSE 0 END", RECENCY_CLASSES[at])
    };
    (0..classes).map(class).collect()
}

/// The sum of logarithms against what is usual.
fn logs(cells: &Cells, place: usize) -> Numbers {
    let Some(tickets) = &cells.level.tickets else { return Numbers::default() };
    let (usual, columns) = match tickets.merchant_groups() {
        Some(_) => (rows::usual(place), vec![rows::usual(place)]),
        None => (tickets.usual(0).to_string(), Vec::new()),
    };
    let most = LOG_CENTRED_MAX;
    let centred = format!("GREATEST(LEAST(dr_log - {usual}, {most}), -{most})");
    let sum = format!("SUM(CASE WHEN dr_amount > 0 THEN {centred} ELSE 0 END)");
    Numbers {
        columns: std::iter::once(rows::LOG.to_owned()).chain(columns).collect(),
        sums: vec![("n_logs".to_owned(), sum)],
        numbers: vec!["n_logs".to_owned()],
    }
}

/// A number for each bin of payments by size.
fn tickets(edges: &[i64]) -> Numbers {
    let mut sums = Vec::new();
    for bin in 0..=edges.len() {
        let from = if bin == 0 { 0 } else { edges[bin - 1] };
        let to = edges.get(bin).map_or(String::new(), |edge| format!(" AND dr_amount < {edge}"));
        let sum = format!("SUM(CASE WHEN dr_amount >= {from}{to} THEN 1 ELSE 0 END)");
        sums.push((format!("n_bin{}", bin + 1), sum));
    }
    let numbers = sums.iter().map(|(name, _)| name.clone()).collect();
    Numbers { columns: Vec::new(), sums, numbers }
}
