//! Insights: what a reader sees, and the statistics that each is computed from.

use super::{Key, StatisticKind};

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
    /// Customers who are new, and how many of them come again in the periods after.
    RetentionCohort,
    /// Share of new customers who come again in each period after.
    RetentionRate,
    /// Days on which users came.
    Visits,
    /// Visits per customer.
    VisitsPerCustomer,
    /// Customers by number of visits.
    VisitClasses,
    /// Share of customers with two visits or more.
    RepeatRate,
    /// Customers by days since their last visit.
    RecencyHistogram,
    /// Users by what they spend against the period before.
    DiffusionClasses,
    /// How many more of them spend more than spend less; 100 if as many.
    DiffusionIndex,
    /// Users by what they spend against the period a year before.
    DiffusionClassesYear,
    /// Their index.
    DiffusionIndexYear,
    /// Sizes that a tenth, a quarter, half, ... of payments do not exceed.
    TicketQuantiles,
    /// Payments by size.
    TicketHistogram,
    /// Users who paid at both of a pair, against those that there were if one said nothing of the
    /// other.
    Lift,
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
    /// Of merchants in the cell, the sum of squared shares in points: 10,000 if there is but one.
    Concentration,
    /// The merchant's peers, by its position among them.
    Rank,
    /// The quarters of the merchant's peers.
    Benchmark,
    /// How many merchants in the cell have at least as much as the report says.
    Above,
}

impl Insight {
    /// Comparisons, in the order of columns, after [`Insight::ALL`].
    pub const COMPARED: [Insight; Comparison::ALL.len() * COMPARED_KINDS.len()] = {
        let mut all = [Insight::Customers; Comparison::ALL.len() * COMPARED_KINDS.len()];
        let mut place = 0;
        while place < all.len() {
            let comparison = Comparison::ALL[place / COMPARED_KINDS.len()];
            all[place] =
                Insight::Compared(comparison, COMPARED_KINDS[place % COMPARED_KINDS.len()]);
            place += 1;
        }
        all
    };

    /// All there are, in the order of columns.
    pub fn all() -> impl Iterator<Item = Insight> {
        Self::ALL.into_iter().chain(Self::PAIRED).chain(Self::COMPARED)
    }

    /// Those of pairs, in the order of columns, after [`Insight::ALL`] and before
    /// [`Insight::COMPARED`].
    pub const PAIRED: [Insight; 1] = [Insight::Lift];

    /// What it compares with which cells.
    pub fn compared(self) -> Option<(Comparison, StatisticKind)> {
        match self {
            Insight::Compared(comparison, kind) => Some((comparison, kind)),
            _ => None,
        }
    }

    /// All insights, in the order of columns.
    pub const ALL: [Insight; 23] = [
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
        Insight::RetentionCohort,
        Insight::RetentionRate,
        Insight::Visits,
        Insight::VisitsPerCustomer,
        Insight::VisitClasses,
        Insight::RepeatRate,
        Insight::RecencyHistogram,
        Insight::DiffusionClasses,
        Insight::DiffusionIndex,
        Insight::DiffusionClassesYear,
        Insight::DiffusionIndexYear,
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
            Insight::RetentionCohort => "retention_cohort",
            Insight::RetentionRate => "retention_rate",
            Insight::Visits => "visits",
            Insight::VisitsPerCustomer => "visits_per_customer",
            Insight::VisitClasses => "visit_classes",
            Insight::RepeatRate => "repeat_rate",
            Insight::RecencyHistogram => "recency_histogram",
            Insight::DiffusionClasses => "diffusion_classes",
            Insight::DiffusionIndex => "diffusion_index",
            Insight::DiffusionClassesYear => "diffusion_classes_year",
            Insight::DiffusionIndexYear => "diffusion_index_year",
            Insight::TicketQuantiles => "ticket_quantiles",
            Insight::TicketHistogram => "ticket_histogram",
            Insight::Lift => "lift",
            Insight::Compared(comparison, kind) => comparison.name(kind),
        }
    }

    /// The statistics it is computed from; of a ratio, what is divided and by what.
    pub const fn statistics(self) -> &'static [StatisticKind] {
        use StatisticKind as Kind;
        match self {
            Insight::Customers | Insight::Lift => &[Kind::Customers],
            Insight::Payments => &[Kind::Payments],
            Insight::Gross => &[Kind::Gross],
            Insight::Refunds => &[Kind::Refunds],
            Insight::RefundRate => &[Kind::Refunds, Kind::Gross],
            Insight::Sales => &[Kind::Sales],
            Insight::AverageTicket => &[Kind::Sales, Kind::Payments],
            Insight::SpendPerCustomer => &[Kind::Sales, Kind::Customers],
            Insight::NewCustomers | Insight::ReturningCustomers => &[Kind::NewReturning],
            Insight::RetentionCohort | Insight::RetentionRate => &[Kind::Cohorts],
            Insight::Visits => &[Kind::Visits],
            Insight::VisitsPerCustomer => &[Kind::Visits, Kind::Customers],
            Insight::VisitClasses | Insight::RepeatRate => &[Kind::VisitClasses],
            Insight::RecencyHistogram => &[Kind::Recency],
            Insight::DiffusionClasses | Insight::DiffusionIndex => &[Kind::Diffusion],
            Insight::DiffusionClassesYear | Insight::DiffusionIndexYear => &[Kind::DiffusionYear],
            Insight::TicketQuantiles => &[Kind::TicketLogs, Kind::Payments],
            Insight::TicketHistogram => &[Kind::TicketHistogram],
            Insight::Compared(_, Kind::Customers) => &[Kind::Customers],
            Insight::Compared(_, Kind::Payments) => &[Kind::Payments],
            Insight::Compared(_, Kind::Gross) => &[Kind::Gross],
            Insight::Compared(..) => &[Kind::Sales],
        }
    }

    /// Has a table several columns of it?
    pub const fn has_parts(self) -> bool {
        matches!(self, Insight::VisitClasses | Insight::RecencyHistogram)
            || matches!(self, Insight::DiffusionClasses | Insight::DiffusionClassesYear)
            || matches!(self, Insight::RetentionCohort | Insight::RetentionRate)
            || matches!(self, Insight::TicketQuantiles | Insight::TicketHistogram)
            || matches!(self, Insight::Compared(Comparison::Benchmark, _))
    }

    /// Can a cell have none, as there is nothing to divide by?
    pub const fn is_ratio(self) -> bool {
        self.statistics().len() > 1
            || matches!(self, Insight::RepeatRate | Insight::RetentionRate)
            || matches!(self, Insight::DiffusionIndex | Insight::DiffusionIndexYear)
            || matches!(self, Insight::Lift | Insight::Compared(..))
    }

    /// Do levels with these keys show it? Those that name merchants show what is said of one, the
    /// others what is said of many; those of pairs how many users there are, and lifts.
    pub fn is_at(self, keys: &[Key]) -> bool {
        let named = keys.contains(&Key::Merchant);
        let paired = keys.iter().any(|key| matches!(key, Key::With(_)));
        match self {
            Insight::Lift => paired,
            _ if paired => self == Insight::Customers,
            Insight::Compared(Comparison::Rank | Comparison::Benchmark, _) => named,
            Insight::Compared(Comparison::Concentration | Comparison::Above, _) => !named,
            _ => true,
        }
    }

    /// The statistics that a level with these keys needs for it, its own tables or those of others.
    pub fn statistics_at(self, keys: &[Key]) -> &'static [StatisticKind] {
        let for_others = self == Insight::Lift
            || self.compared().is_some_and(|(comparison, _)| comparison.is_of_many());
        if self.is_at(keys) || for_others { self.statistics() } else { &[] }
    }

    /// Of a statistic that cells hidden for their merchants may tell in bands, that one.
    pub fn banded(self) -> Option<StatisticKind> {
        let whole = [Insight::Payments, Insight::Gross, Insight::Sales];
        whole.contains(&self).then(|| self.statistics()[0])
    }

    /// The upper ends of its bands, with their names, if it has such; the last one has no end.
    pub const fn bands(self) -> Option<&'static [(f64, &'static str)]> {
        match self {
            Insight::Compared(Comparison::Concentration, _) => Some(&CONCENTRATION_BANDS),
            Insight::Compared(Comparison::Rank, _) => Some(&RANK_BANDS),
            _ => None,
        }
    }
}

/// The statistics by which cells are compared, in the order of columns.
const COMPARED_KINDS: [StatisticKind; 4] =
    [StatisticKind::Customers, StatisticKind::Payments, StatisticKind::Sales, StatisticKind::Gross];

/// Those of the United States' Merger Guidelines of 2023.
const CONCENTRATION_BANDS: [(f64, &str); 3] =
    [(1000.0, "low"), (1800.0, "moderate"), (f64::INFINITY, "high")];

const RANK_BANDS: [(f64, &str); 4] =
    [(0.1, "top 10 %"), (0.25, "top 25 %"), (0.5, "top 50 %"), (f64::INFINITY, "rest")];

impl Comparison {
    /// All, in the order of columns.
    const ALL: [Comparison; 8] = [
        Comparison::Share,
        Comparison::Growth,
        Comparison::GrowthYear,
        Comparison::Index,
        Comparison::Concentration,
        Comparison::Rank,
        Comparison::Benchmark,
        Comparison::Above,
    ];

    /// Is it with other merchants, of which there must be some?
    pub fn needs_peers(self) -> bool {
        matches!(self, Comparison::Rank | Comparison::Benchmark) || self.is_of_many()
    }

    /// Does it tell of the merchants in a cell, by a level that names them?
    pub fn is_of_many(self) -> bool {
        matches!(self, Comparison::Concentration | Comparison::Above)
    }

    const fn name(self, kind: StatisticKind) -> &'static str {
        use StatisticKind as Kind;
        let [customers, payments, sales, gross] = match self {
            Comparison::Share => {
                ["customers_share", "payments_share", "sales_share", "gross_share"]
            }
            Comparison::Growth => {
                ["customers_growth", "payments_growth", "sales_growth", "gross_growth"]
            }
            Comparison::GrowthYear => [
                "customers_growth_year",
                "payments_growth_year",
                "sales_growth_year",
                "gross_growth_year",
            ],
            Comparison::Index => {
                ["customers_index", "payments_index", "sales_index", "gross_index"]
            }
            Comparison::Concentration => [
                "customers_concentration",
                "payments_concentration",
                "sales_concentration",
                "gross_concentration",
            ],
            Comparison::Rank => ["customers_rank", "payments_rank", "sales_rank", "gross_rank"],
            Comparison::Benchmark => [
                "customers_peer_benchmark",
                "payments_peer_benchmark",
                "sales_peer_benchmark",
                "gross_peer_benchmark",
            ],
            Comparison::Above => {
                ["customers_above", "payments_above", "sales_above", "gross_above"]
            }
        };
        match kind {
            Kind::Customers => customers,
            Kind::Payments => payments,
            Kind::Gross => gross,
            _ => sales,
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
        for insight in Insight::ALL.into_iter().chain(Insight::PAIRED) {
            assert!(of_jobs.contains(&format!("`{}`", insight.name())), "{insight:?}");
            // Some have several columns, whose names go on.
            assert!(SCHEMA_PAGE.contains(&format!("`{}", insight.name())), "{insight:?}");
        }
        for insight in Insight::COMPARED {
            let (_, kind) = insight.compared().expect("compares");
            let what = insight.name().strip_prefix(kind.name()).expect("starts with it");
            for page in [of_jobs, SCHEMA_PAGE] {
                let names = [format!("`x{what}`"), format!("`x{what}_p25`")];
                assert!(names.iter().any(|name| page.contains(name)), "{insight:?}");
            }
        }
    }
}
