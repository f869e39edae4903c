//! What a user's payments in a cell count for, in SQL: the definitions of `docs/privacy.md`.

use super::Dialect;
use crate::findings::{self, Finding};
use crate::job::{StatisticKind, VISIT_CLASSES};
use crate::plan::{LevelPlan, Plan};

/// The numbers of one statistic of a user's cell.
pub(super) struct Numbers {
    /// What is added up over the user's payments in the cell, with names.
    pub(super) sums: Vec<(String, String)>,
    /// The numbers, of these sums and of `n_start` and `n_back`.
    pub(super) numbers: Vec<String>,
}

impl Numbers {
    /// Those of `kind` at a level.
    ///
    /// # Errors
    /// The statistic has no SQL yet.
    pub(super) fn new(
        plan: &Plan,
        level: &LevelPlan,
        kind: StatisticKind,
        dialect: Dialect,
    ) -> Result<Numbers, Finding> {
        let one = |name: &str, sum: String| Numbers {
            sums: vec![(name.to_owned(), sum)],
            numbers: vec![name.to_owned()],
        };
        let missing =
            |insight: &str| findings::sql_missing(insight, &level.file).at(level.span.clone());
        let visits = || ("n_visits".to_owned(), "COUNT(DISTINCT dr_day)".to_owned());
        Ok(match kind {
            StatisticKind::Customers => Numbers { sums: Vec::new(), numbers: vec!["1".to_owned()] },
            // That many payments are counted anyway.
            StatisticKind::Payments => {
                Numbers { sums: Vec::new(), numbers: vec!["n_payments".to_owned()] }
            }
            StatisticKind::Sales => one("n_sales", dialect.sum("dr_amount")),
            StatisticKind::Gross => {
                let above = "CASE WHEN dr_amount >= 0 THEN dr_amount ELSE 0 END";
                one("n_gross", dialect.sum(above))
            }
            StatisticKind::Refunds => {
                let below = "CASE WHEN dr_amount < 0 THEN -dr_amount ELSE 0 END";
                one("n_refunds", dialect.sum(below))
            }
            StatisticKind::Visits => {
                Numbers { sums: vec![visits()], numbers: vec!["n_visits".to_owned()] }
            }
            StatisticKind::VisitClasses => {
                Numbers { sums: vec![visits()], numbers: visit_classes() }
            }
            StatisticKind::NewReturning => {
                Numbers { sums: Vec::new(), numbers: new_returning(level) }
            }
            StatisticKind::TicketHistogram => tickets(&plan.job.payments.ticket_edges),
            // A logarithm may be rounded another way elsewhere.
            StatisticKind::TicketLogs => return Err(missing("ticket_quantiles")),
            StatisticKind::Recency => return Err(missing("recency_histogram")),
            StatisticKind::Cohorts => return Err(missing("retention_cohort")),
            StatisticKind::Diffusion => return Err(missing("diffusion_index")),
            StatisticKind::DiffusionYear => return Err(missing("diffusion_index_year")),
        })
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

/// Neither is 1 where the period does not hold all days that tell.
fn new_returning(level: &LevelPlan) -> Vec<String> {
    let days = level.look_back.as_ref().map_or(0, |look_back| look_back.days());
    [0, 1]
        .map(|back| {
            format!("CASE WHEN b.n_start >= {days} AND b.n_back = {back} THEN 1 ELSE 0 END")
        })
        .into()
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
    Numbers { sums, numbers }
}
