//! Statistics: noised sums over cells, and all that other stations ask about their kinds.

/// A noised sum over cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatisticKind {
    /// 1 for each user with a payment or refund in the cell.
    Customers,
    /// Number of payments of at least zero.
    Payments,
    /// Sum of amounts in minor units, refunds negative.
    Sales,
    /// Number of payments of at least zero in each bin of size: one number a bin.
    TicketHistogram,
    /// Sum of amounts of at least zero, in minor units.
    Gross,
    /// Sum of refunds, in minor units above zero.
    Refunds,
    /// Number of days with a payment or refund.
    Visits,
    /// 1 for each user, in the class of their number of visits: one number a class.
    VisitClasses,
    /// 1 for each user, in the class of the days between their last visit and the cell's last day:
    /// one number a class.
    Recency,
    /// 1 for each user, in one of two numbers: new in the cell, or returning.
    NewReturning,
    /// Of users who are new in the cell: 1 for each, and 1 for each of the periods after it in
    /// which they come again; one number for each period.
    Cohorts,
    /// 1 for each user who was there in the period before or in this one, in the class of what they
    /// spend against then: one number a class of [`CHANGES`].
    Diffusion,
    /// The same against the period a year before.
    DiffusionYear,
    /// Sum of the logarithms of payments above zero against what is usual at their merchants.
    TicketLogs,
}

/// What the numbers of a statistic are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Users, payments or days.
    Count,
    /// The smallest minor unit of the job's currencies.
    Money,
    /// Natural logarithms, in [`LOG_PARTS`] of one.
    Log,
}

/// How many numbers a cell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Always as many.
    Fixed(usize),
    /// One for each bin of the job's `ticket_edges`.
    TicketBins,
    /// One for each class of [`RECENCY_CLASSES`] that the level's cells are long enough for.
    RecencyClasses,
    /// One for those who are new, and one for each period after.
    Periods,
}

/// What the model expects of a cell, of the same time and series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// What all series together have then.
    Season,
    /// So much for each unit of the first of these that the level has; a season if it has none.
    Per(&'static [StatisticKind]),
    /// Of each number, a share of this one.
    Share(StatisticKind),
    /// So much for each of these, drawn towards what cells alike have.
    Mean(StatisticKind),
}

/// All that other stations ask about a kind of statistic.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The name in job files and manifests.
    pub name: &'static str,
    /// What its numbers are.
    pub unit: Unit,
    /// How many numbers a cell has.
    pub width: Width,
    /// Can a user's number be below zero?
    pub signed: bool,
    /// Has each user in each of their cells the number 1 at most once, and 0 else?
    pub one_hot: bool,
    /// Is a user's number in a coarser cell the sum of those in the finer cells of which it is
    /// made?
    pub adds_up: bool,
    /// What the model expects of a cell.
    pub expected: Expected,
    /// Quarters of a typical user's value in a cell against the norm bound, where customers have 4;
    /// 0 keeps the statistic out of the score of private keys. Only statistics of one number a cell
    /// can have more.
    pub score_part: u64,
}

impl StatisticKind {
    /// All statistics, in the order in which a level has them: those that others are expected from
    /// come first.
    pub const ALL: [StatisticKind; 14] = [
        StatisticKind::Customers,
        StatisticKind::Payments,
        StatisticKind::Sales,
        StatisticKind::TicketHistogram,
        StatisticKind::Gross,
        StatisticKind::Refunds,
        StatisticKind::Visits,
        StatisticKind::VisitClasses,
        StatisticKind::Recency,
        StatisticKind::NewReturning,
        StatisticKind::Cohorts,
        StatisticKind::Diffusion,
        StatisticKind::DiffusionYear,
        StatisticKind::TicketLogs,
    ];

    /// What is to be known of it.
    #[expect(clippy::too_many_lines, reason = "one entry for each kind")]
    pub const fn facts(self) -> Facts {
        use StatisticKind::{Customers, Gross, Payments, TicketHistogram};
        /// A count that adds up.
        const PLAIN: Facts = Facts {
            name: "",
            unit: Unit::Count,
            width: Width::Fixed(1),
            signed: false,
            one_hot: false,
            adds_up: true,
            expected: Expected::Season,
            score_part: 0,
        };
        /// Who comes twice is one user of the coarser cell.
        const USERS: Facts = Facts { one_hot: true, adds_up: false, ..PLAIN };
        /// Who spends more in one shop may spend less in its region.
        const CHANGED: Facts = Facts {
            width: Width::Fixed(CHANGES.len()),
            expected: Expected::Share(Customers),
            ..USERS
        };
        const MONEY: Facts = Facts { unit: Unit::Money, ..PLAIN };
        match self {
            Customers => Facts { name: "customers", score_part: 4, ..USERS },
            Payments => Facts {
                name: "payments",
                expected: Expected::Per(&[Customers]),
                score_part: 3,
                ..PLAIN
            },
            StatisticKind::Sales => Facts {
                name: "sales",
                signed: true,
                expected: Expected::Per(&[Payments, Customers]),
                score_part: 2,
                ..MONEY
            },
            // Bins say again what payments say, so they have no part in the score.
            TicketHistogram => Facts {
                name: "ticket_histogram",
                width: Width::TicketBins,
                expected: Expected::Share(Payments),
                ..PLAIN
            },
            Gross => {
                Facts { name: "gross", expected: Expected::Per(&[Payments, Customers]), ..MONEY }
            }
            StatisticKind::Refunds => Facts {
                name: "refunds",
                expected: Expected::Per(&[Gross, Payments, Customers]),
                ..MONEY
            },
            // A day at two merchants is one day of their region.
            StatisticKind::Visits => Facts {
                name: "visits",
                adds_up: false,
                expected: Expected::Per(&[Customers]),
                ..PLAIN
            },
            StatisticKind::VisitClasses => Facts {
                name: "visit_classes",
                width: Width::Fixed(VISIT_CLASSES.len()),
                expected: Expected::Share(Customers),
                ..USERS
            },
            StatisticKind::Recency => Facts {
                name: "recency_histogram",
                width: Width::RecencyClasses,
                expected: Expected::Share(Customers),
                ..USERS
            },
            // Who is new at a merchant need not be in its region.
            StatisticKind::NewReturning => Facts {
                name: "new_returning",
                width: Width::Fixed(2),
                expected: Expected::Share(Customers),
                ..USERS
            },
            // As new customers; several of the numbers may be 1.
            StatisticKind::Cohorts => Facts {
                name: "retention_cohort",
                width: Width::Periods,
                adds_up: false,
                expected: Expected::Share(Customers),
                ..PLAIN
            },
            StatisticKind::Diffusion => Facts { name: "diffusion", ..CHANGED },
            StatisticKind::DiffusionYear => Facts { name: "diffusion_year", ..CHANGED },
            // Levels may take different tickets for usual.
            StatisticKind::TicketLogs => Facts {
                name: "ticket_logs",
                unit: Unit::Log,
                signed: true,
                adds_up: false,
                expected: Expected::Mean(Payments),
                ..PLAIN
            },
        }
    }

    /// The name in job files and manifests.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Does it look at the days before a cell, to tell who is new?
    pub fn looks_back(self) -> bool {
        matches!(self, StatisticKind::NewReturning | StatisticKind::Cohorts)
    }

    /// Does it compare what users spend in two periods?
    pub fn compares(self) -> bool {
        matches!(self, StatisticKind::Diffusion | StatisticKind::DiffusionYear)
    }

    /// Is each of a user's numbers 0 or 1?
    pub fn is_of_users(self) -> bool {
        self.facts().one_hot || self == StatisticKind::Cohorts
    }

    /// Is it money?
    pub fn is_money(self) -> bool {
        self.facts().unit == Unit::Money
    }

    /// Is it a number of users, payments or days?
    pub fn is_count(self) -> bool {
        self.facts().unit == Unit::Count
    }
}

/// A natural logarithm of 1 is this many units.
pub const LOG_PARTS: i64 = 4096;

/// The logarithm of an amount above zero in minor units, in [`LOG_PARTS`].
///
/// It is that of the amount's first six digits, of which none lies so near the middle between two
/// numbers that another machine's logarithm could be rounded another way.
pub fn ticket_log(amount: i64) -> i64 {
    let amount = amount.max(1);
    let cut = match amount {
        ..LOG_DIGITS => 1,
        _ => 10i64.pow(amount.ilog10() - LOG_DIGITS.ilog10() + 1),
    };
    // Below 40 · 4096, so exact as a float.
    (libm::log((amount - amount % cut) as f64) * LOG_PARTS as f64).round() as i64
}

/// Amounts from this on have more digits than their logarithms look at.
pub const LOG_DIGITS: i64 = 1_000_000;

/// What a payment adds to `ticket_logs`: its logarithm against the usual one, cut to ±2.5.
pub fn centred_log(log: i64, usual: i64) -> i64 {
    (log - usual).clamp(-LOG_CENTRED_MAX, LOG_CENTRED_MAX)
}

/// The largest size of it.
pub const LOG_CENTRED_MAX: i64 = LOG_PARTS * 5 / 2;

/// The least number of visits of each class, with the end of its column's name.
pub const VISIT_CLASSES: [(u32, &str); 4] = [(1, "1"), (2, "2"), (3, "3_4"), (5, "5_up")];

/// The class of a number of visits, which is at least 1.
pub fn visit_class(visits: u32) -> usize {
    VISIT_CLASSES.iter().filter(|(least, _)| *least <= visits).count().saturating_sub(1)
}

/// The least number of days since the last visit of each class.
pub const RECENCY_CLASSES: [u32; 7] = [0, 7, 14, 30, 60, 90, 180];

/// The class of a number of days, of which there are so many `classes`: the last one has no end.
pub fn recency_class(days: u32, classes: usize) -> usize {
    RECENCY_CLASSES[..classes].iter().filter(|least| **least <= days).count().saturating_sub(1)
}

/// What the names of the columns of so many classes end in.
pub fn recency_names(classes: usize) -> impl Iterator<Item = String> {
    RECENCY_CLASSES[..classes].iter().enumerate().map(move |(place, least)| {
        match RECENCY_CLASSES[..classes].get(place + 1) {
            Some(next) => format!("{least}_{}", next - 1),
            None => format!("{least}_up"),
        }
    })
}

/// The classes of what a user spends against another period, with the end of their columns' names.
pub const CHANGES: [&str; 3] = ["up", "flat", "down"];

/// One over this of the larger amount is no change.
pub const FLAT_PARTS: i128 = 20;

/// The class of spending `now`, where it was `before`: flat if they differ by a twentieth of the
/// larger one at most, so that classes are turned around if time is.
pub fn change_class(before: i128, now: i128) -> usize {
    let flat = (now - before).abs() * FLAT_PARTS <= now.abs().max(before.abs());
    if flat { 1 } else { usize::from(now < before) * 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database's logarithm is off by some units in the last place, which are 2⁻³⁵ here at most.
    #[test]
    fn logarithms_of_tickets_are_rounded_alike_everywhere() {
        let mut nearest: f64 = 1.0;
        let mut check = |amount: i64| {
            let log = libm::log(amount as f64) * LOG_PARTS as f64;
            nearest = nearest.min((log - log.floor() - 0.5).abs());
        };
        (1..LOG_DIGITS).for_each(&mut check);
        for places in 1..=10 {
            let step = 10i64.pow(places);
            (LOG_DIGITS / 10..LOG_DIGITS).for_each(|digits| check(digits * step));
        }
        assert!(nearest > 1e-9, "{nearest:e}");
    }

    #[test]
    fn logarithms_look_at_six_digits() {
        for (amount, same) in [(1_234_567, 1_234_560), (999_999, 999_999), (9_999_999, 9_999_990)] {
            let log = (libm::log(same as f64) * 4096.0).round() as i64;
            assert_eq!(ticket_log(amount), log, "{amount}");
        }
        assert_eq!((ticket_log(i64::MIN), ticket_log(0), ticket_log(1)), (0, 0, 0));
    }

    #[test]
    fn what_is_expected_from_is_known_before() {
        for (place, kind) in StatisticKind::ALL.into_iter().enumerate() {
            let facts = kind.facts();
            let before = match facts.expected {
                Expected::Season => &[][..],
                Expected::Per(kinds) => kinds,
                Expected::Share(of) | Expected::Mean(of) => &[of],
            };
            assert!(before.iter().all(|b| StatisticKind::ALL[..place].contains(b)), "{kind:?}");
            assert!(facts.score_part == 0 || facts.width == Width::Fixed(1), "{kind:?}");
            assert!(!(facts.one_hot && (facts.adds_up || facts.signed)), "{kind:?}");
        }
        assert!(StatisticKind::ALL.is_sorted(), "levels keep them in the order of the type");
    }

    #[test]
    fn classes_are_of_1_2_3_to_4_and_from_5_visits() {
        let classes = [1, 2, 3, 4, 5, 6, 366].map(visit_class);
        assert_eq!(classes, [0, 1, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn spending_is_flat_within_a_twentieth() {
        for (before, now, class) in [
            (10_000, 10_000, "flat"),
            (10_000, 10_526, "flat"),
            (10_000, 10_527, "up"),
            (10_000, 9_500, "flat"),
            (10_000, 9_499, "down"),
            (0, 0, "flat"),
            (0, 1, "up"),
            (1, 0, "down"),
            // More was paid back than paid.
            (0, -500, "down"),
            (-500, 0, "up"),
            (-500, 500, "up"),
            (-1_000, -1_050, "flat"),
            (i128::from(i64::MAX), i128::from(i64::MIN), "down"),
        ] {
            assert_eq!(CHANGES[change_class(before, now)], class, "{before} {now}");
            let turned = CHANGES[2 - change_class(before, now)];
            assert_eq!(CHANGES[change_class(now, before)], turned, "{now} {before}");
        }
    }

    #[test]
    fn the_last_class_of_recency_has_no_end() {
        let days = [0, 6, 7, 13, 14, 29, 30, 400];
        assert_eq!(days.map(|days| recency_class(days, 3)), [0, 0, 1, 1, 2, 2, 2, 2]);
        assert_eq!(days.map(|days| recency_class(days, 7)), [0, 0, 1, 1, 2, 2, 3, 6]);
        assert_eq!(recency_names(3).collect::<Vec<_>>(), ["0_6", "7_13", "14_up"]);
        let all = ["0_6", "7_13", "14_29", "30_59", "60_89", "90_179", "180_up"];
        assert_eq!(recency_names(7).collect::<Vec<_>>(), all);
    }
}
