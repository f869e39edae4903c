//! Insights: what a reader sees, and the statistics that each is computed from.

use super::StatisticKind;

/// What a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Insight {
    /// Distinct users.
    Customers,
    /// Payments, refunds excluded.
    Payments,
    /// Sum of payments, refunds excluded.
    Gross,
    /// Sum of refunds, as a number above zero.
    Refunds,
    /// Refunds per money paid.
    RefundRate,
    /// Sum of amounts, net of refunds.
    Sales,
    /// Sales per payment.
    AverageTicket,
    /// Sales per customer.
    SpendPerCustomer,
    /// Customers that had not come in the days before.
    NewCustomers,
    /// Customers that had.
    ReturningCustomers,
    /// Days on which users came.
    Visits,
    /// Visits per customer.
    VisitsPerCustomer,
    /// Customers by number of visits.
    VisitClasses,
    /// Share of customers with two visits or more.
    RepeatRate,
    /// Sizes that a tenth, a quarter, half, ... of payments do not exceed.
    TicketQuantiles,
    /// Payments by size.
    TicketHistogram,
    /// A statistic of a cell against that of other cells.
    Compared(Comparison, StatisticKind),
}

/// With which cells a cell is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// All cells that differ from it in the report's `share_of` alone, together.
    Share,
    /// The cell one period before.
    Growth,
    /// The cell one year before.
    GrowthYear,
    /// The cell of the report's `base`, as 100.
    Index,
}

impl Insight {
    /// Comparisons, in the order of columns, after [`Insight::ALL`].
    pub const COMPARED: [Insight; 16] = {
        use StatisticKind as Kind;
        const fn of(comparison: Comparison) -> [Insight; 4] {
            [
                Insight::Compared(comparison, Kind::Customers),
                Insight::Compared(comparison, Kind::Payments),
                Insight::Compared(comparison, Kind::Sales),
                Insight::Compared(comparison, Kind::Gross),
            ]
        }
        let (a, b) = (of(Comparison::Share), of(Comparison::Growth));
        let (c, d) = (of(Comparison::GrowthYear), of(Comparison::Index));
        [
            a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1],
            d[2], d[3],
        ]
    };

    /// All there are, in the order of columns.
    pub fn all() -> impl Iterator<Item = Insight> {
        Self::ALL.into_iter().chain(Self::COMPARED)
    }

    /// What it compares with which cells.
    pub fn compared(self) -> Option<(Comparison, StatisticKind)> {
        match self {
            Insight::Compared(comparison, kind) => Some((comparison, kind)),
            _ => None,
        }
    }

    /// All insights, in the order of columns.
    pub const ALL: [Insight; 16] = [
        Insight::Customers,
        Insight::Payments,
        Insight::Gross,
        Insight::Refunds,
        Insight::RefundRate,
        Insight::Sales,
        Insight::AverageTicket,
        Insight::SpendPerCustomer,
        Insight::NewCustomers,
        Insight::ReturningCustomers,
        Insight::Visits,
        Insight::VisitsPerCustomer,
        Insight::VisitClasses,
        Insight::RepeatRate,
        Insight::TicketQuantiles,
        Insight::TicketHistogram,
    ];

    /// The name in job files and Parquet columns.
    pub const fn name(self) -> &'static str {
        match self {
            Insight::Customers => "customers",
            Insight::Payments => "payments",
            Insight::Gross => "gross",
            Insight::Refunds => "refunds",
            Insight::RefundRate => "refund_rate",
            Insight::Sales => "sales",
            Insight::AverageTicket => "average_ticket",
            Insight::SpendPerCustomer => "spend_per_customer",
            Insight::NewCustomers => "new_customers",
            Insight::ReturningCustomers => "returning_customers",
            Insight::Visits => "visits",
            Insight::VisitsPerCustomer => "visits_per_customer",
            Insight::VisitClasses => "visit_classes",
            Insight::RepeatRate => "repeat_rate",
            Insight::TicketQuantiles => "ticket_quantiles",
            Insight::TicketHistogram => "ticket_histogram",
            Insight::Compared(comparison, kind) => comparison.name(kind),
        }
    }

    /// The statistics it is computed from; of a ratio, what is divided and by what.
    pub const fn statistics(self) -> &'static [StatisticKind] {
        use StatisticKind as Kind;
        match self {
            Insight::Customers => &[Kind::Customers],
            Insight::Payments => &[Kind::Payments],
            Insight::Gross => &[Kind::Gross],
            Insight::Refunds => &[Kind::Refunds],
            Insight::RefundRate => &[Kind::Refunds, Kind::Gross],
            Insight::Sales => &[Kind::Sales],
            Insight::AverageTicket => &[Kind::Sales, Kind::Payments],
            Insight::SpendPerCustomer => &[Kind::Sales, Kind::Customers],
            Insight::NewCustomers | Insight::ReturningCustomers => &[Kind::NewReturning],
            Insight::Visits => &[Kind::Visits],
            Insight::VisitsPerCustomer => &[Kind::Visits, Kind::Customers],
            Insight::VisitClasses | Insight::RepeatRate => &[Kind::VisitClasses],
            Insight::TicketQuantiles => &[Kind::TicketLogs, Kind::Payments],
            Insight::TicketHistogram => &[Kind::TicketHistogram],
            Insight::Compared(_, Kind::Customers) => &[Kind::Customers],
            Insight::Compared(_, Kind::Payments) => &[Kind::Payments],
            Insight::Compared(_, Kind::Gross) => &[Kind::Gross],
            Insight::Compared(..) => &[Kind::Sales],
        }
    }

    /// Has a table a column for each number of its statistic?
    pub const fn has_parts(self) -> bool {
        matches!(self, Insight::VisitClasses | Insight::TicketQuantiles | Insight::TicketHistogram)
    }

    /// Can a cell have none, as there is nothing to divide by?
    pub const fn is_ratio(self) -> bool {
        self.statistics().len() > 1 || matches!(self, Insight::RepeatRate | Insight::Compared(..))
    }
}

impl Comparison {
    const fn name(self, kind: StatisticKind) -> &'static str {
        use StatisticKind as Kind;
        match (self, kind) {
            (Comparison::Share, Kind::Customers) => "customers_share",
            (Comparison::Share, Kind::Payments) => "payments_share",
            (Comparison::Share, Kind::Gross) => "gross_share",
            (Comparison::Share, _) => "sales_share",
            (Comparison::Growth, Kind::Customers) => "customers_growth",
            (Comparison::Growth, Kind::Payments) => "payments_growth",
            (Comparison::Growth, Kind::Gross) => "gross_growth",
            (Comparison::Growth, _) => "sales_growth",
            (Comparison::GrowthYear, Kind::Customers) => "customers_growth_year",
            (Comparison::GrowthYear, Kind::Payments) => "payments_growth_year",
            (Comparison::GrowthYear, Kind::Gross) => "gross_growth_year",
            (Comparison::GrowthYear, _) => "sales_growth_year",
            (Comparison::Index, Kind::Customers) => "customers_index",
            (Comparison::Index, Kind::Payments) => "payments_index",
            (Comparison::Index, Kind::Gross) => "gross_index",
            (Comparison::Index, _) => "sales_index",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Insight;

    const JOB_PAGE: &str = include_str!("../../docs/job.md");
    const SCHEMA_PAGE: &str = include_str!("../../docs/schema.md");

    #[test]
    fn the_docs_list_every_insight() {
        let of_jobs = JOB_PAGE.lines().find(|line| line.starts_with("| `insights` |"));
        let of_jobs = of_jobs.expect("a row on insights");
        for insight in Insight::ALL {
            assert!(of_jobs.contains(&format!("`{}`", insight.name())), "{insight:?}");
            // Some have several columns, whose names go on.
            assert!(SCHEMA_PAGE.contains(&format!("`{}", insight.name())), "{insight:?}");
        }
        for insight in Insight::COMPARED {
            let (_, kind) = insight.compared().expect("compares");
            let what = insight.name().strip_prefix(kind.name()).expect("starts with it");
            for page in [of_jobs, SCHEMA_PAGE] {
                assert!(page.contains(&format!("`x{what}`")), "{insight:?}");
            }
        }
    }
}
