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
}

impl Insight {
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
        }
    }

    /// Has a table a column for each number of its statistic?
    pub const fn has_parts(self) -> bool {
        matches!(self, Insight::VisitClasses | Insight::TicketQuantiles | Insight::TicketHistogram)
    }

    /// Can a cell have none, as there is nothing to divide by?
    pub const fn is_ratio(self) -> bool {
        self.statistics().len() > 1 || matches!(self, Insight::RepeatRate)
    }
}
