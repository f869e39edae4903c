//! The fit in SQL: users' numbers, scaled down until their norm is in bound (Lemma 1 of
//! `docs/privacy.md`), and their sums.

use std::ops::Range;

use super::roots::Roots;
use super::{Cte, Dialect};
use crate::engine::TOTAL_MAX;
use crate::plan::Gaussian;

/// Writes the steps from `NAME_cut`, with the numbers `z1`, `z2`, ..., to `NAME_fitted`, with `y1`,
/// `y2`, ...
pub(super) struct Fit<'a> {
    pub(super) dialect: Dialect,
    /// Start of the steps' names.
    pub(super) name: &'a str,
    /// The columns that tell users apart.
    pub(super) user: &'a str,
    /// The columns before the numbers, without a comma after them.
    pub(super) before: String,
    pub(super) bounded: Vec<Bounded>,
}

/// Numbers that have a bound together.
pub(super) struct Bounded {
    /// Their places, from 0 on.
    pub(super) columns: Range<usize>,
    /// Can they be below zero?
    pub(super) signed: bool,
    /// In grid units.
    norm: u64,
}

impl Bounded {
    pub(super) fn new(columns: Range<usize>, signed: bool, noise: Gaussian) -> Bounded {
        Bounded { columns, signed, norm: noise.bound.norm() }
    }

    fn square(&self) -> u128 {
        u128::from(self.norm) * u128::from(self.norm)
    }
}

impl Fit<'_> {
    /// The steps, in their order.
    pub(super) fn ctes(&self) -> Vec<Cte> {
        let roots = Roots {
            dialect: self.dialect,
            name: self.name,
            carried: format!("{}{}", self.before, self.zs()),
            squares: self.bounded.len(),
            wanted: (1..).zip(self.bounded.iter().map(Bounded::square)).collect(),
        };
        let step = |ending: &str, what: &str, sql: String| {
            Cte::new(&format!("{}_{ending}", self.name), what, sql)
        };
        let mut ctes = vec![step("norms", "squares of the user's norms", self.norms())];
        ctes.extend(roots.ctes());
        ctes.push(step("fitted", "the user's numbers within the bounds", self.fitted()));
        ctes
    }

    /// The columns `z1`, `z2`, ... of all numbers.
    fn zs(&self) -> String {
        (1..=self.width()).map(|at| format!(", z{at}")).collect()
    }

    fn width(&self) -> usize {
        self.bounded.last().map_or(0, |bounded| bounded.columns.end)
    }

    fn norms(&self) -> String {
        let squares = self.bounded.iter().zip(1..).map(|(bounded, at)| {
            let squares = squares(self.dialect, bounded.columns.clone());
            format!(",\n    SUM({squares}) OVER (PARTITION BY {}) AS s{at}", self.user)
        });
        let squares: String = squares.collect();
        format!("SELECT {}{}{squares}\n  FROM {}_cut", self.before, self.zs(), self.name)
    }

    /// y = z within the bound, else z·C/g without its fraction.
    fn fitted(&self) -> String {
        let mut fitted = String::new();
        for (bounded, at) in self.bounded.iter().zip(1..) {
            let beyond = self.dialect.wide_constant(bounded.square());
            for column in bounded.columns.clone() {
                let z = format!("z{}", column + 1);
                let size = |value: &str| {
                    let wide = self.dialect.wide(value);
                    let norm = self.dialect.wide_constant(bounded.norm.into());
                    let product = format!("{wide} * {norm}");
                    self.dialect.integer(&self.dialect.quotient(&product, &format!("g{at}")))
                };
                let below = match bounded.signed {
                    true => format!(" WHEN {z} < 0 THEN -{}", size(&format!("-{z}"))),
                    false => String::new(),
                };
                fitted += &format!(
                    ",\n    CASE WHEN s{at} <= {beyond} THEN {z}{below} ELSE {} END AS y{}",
                    size(&z),
                    column + 1
                );
            }
        }
        format!("SELECT {}{fitted}\n  FROM {}_up", self.before, self.name)
    }

    /// Of each number the sum over users, as `total_1`, ...
    pub(super) fn sums(&self) -> impl Iterator<Item = String> {
        (1..=self.width())
            .map(|at| format!("{} AS total_{at}", total(self.dialect, &format!("y{at}"))))
    }
}

/// The sum of squares of numbers of a row.
pub(super) fn squares(dialect: Dialect, columns: Range<usize>) -> String {
    let wide = |column: usize| dialect.wide(&format!("z{}", column + 1));
    let square = |column: usize| format!("{0} * {0}", wide(column));
    columns.map(square).collect::<Vec<_>>().join(" + ")
}

/// A sum over users, cut as totals are (Lemma 2 of `docs/privacy.md`).
pub(super) fn total(dialect: Dialect, value: &str) -> String {
    format!("LEAST(GREATEST({}, -{TOTAL_MAX}), {TOTAL_MAX})", dialect.sum(value))
}
