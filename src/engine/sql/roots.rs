//! ⌈√S⌉ of wide numbers, exactly: a float is the first guess, and whole numbers put it right.

use super::{Cte, Dialect};

/// Writes the steps from `NAME_norms`, with the squares `s1`, `s2`, ..., to `NAME_up`, where `g1`,
/// `g2`, ... are their roots, rounded up.
pub(super) struct Roots<'a> {
    pub(super) dialect: Dialect,
    /// Start of the steps' names.
    pub(super) name: &'a str,
    /// The columns before the squares, without a comma after them.
    pub(super) carried: String,
    /// How many squares there are.
    pub(super) squares: usize,
    /// Of which of them, counted from 1, roots are needed, and only where the square is above this.
    pub(super) wanted: Vec<(usize, u128)>,
}

impl Roots<'_> {
    /// The steps, in their order.
    pub(super) fn ctes(&self) -> [Cte; 3] {
        let step = |ending: &str, what: &str, sql: String| {
            Cte::new(&format!("{}_{ending}", self.name), what, sql)
        };
        [
            step("roots", "about the norms of who is beyond a bound", self.roots()),
            step("better", "the same to one unit", self.better()),
            step("up", "norms rounded up", self.up()),
        ]
    }

    /// A column for each root, made from its place and whether it is needed.
    fn select(&self, from: &str, made: impl Fn(usize, String) -> String) -> String {
        let column = |&(at, above): &(usize, u128)| {
            let needed = format!("s{at} > {}", self.dialect.wide_constant(above));
            format!(",\n    {}", made(at, needed))
        };
        let roots: String = self.wanted.iter().map(column).collect();
        let squares: String = (1..=self.squares).map(|at| format!(", s{at}")).collect();
        format!("SELECT {}{squares}{roots}\n  FROM {}_{from}", self.carried, self.name)
    }

    /// ⌊√S⌋ by floats, off by the more the larger it is.
    fn roots(&self) -> String {
        let one = self.dialect.wide("1");
        self.select("norms", |at, needed| {
            let root = format!("FLOOR(SQRT({}))", self.dialect.double(&format!("s{at}")));
            format!("CASE WHEN {needed} THEN {} ELSE {one} END AS r{at}", self.dialect.wide(&root))
        })
    }

    /// A step of Newton's: what is missing to S is exact, as it is of whole numbers.
    fn better(&self) -> String {
        let one = self.dialect.wide("1");
        self.select("roots", |at, needed| {
            let missing = self.dialect.double(&format!("s{at} - r{at} * r{at}"));
            let root = self.dialect.double(&format!("r{at}"));
            let step = self.dialect.wide(&format!("FLOOR({missing} / (2 * {root}))"));
            format!("CASE WHEN {needed} THEN r{at} + {step} ELSE {one} END AS b{at}")
        })
    }

    /// g = ⌈√S⌉, the least of the numbers around whose square is not below S.
    fn up(&self) -> String {
        let one = self.dialect.wide("1");
        self.select("better", |at, needed| {
            let below = |root: &str| format!("CASE WHEN {root} * {root} < s{at} THEN 1 ELSE 0 END");
            let [less, same, more] =
                [format!("(b{at} - 1)"), format!("b{at}"), format!("(b{at} + 1)")];
            let sum = [below(&less), below(&same), below(&more)].join(" + ");
            let root = self.dialect.wide(&format!("b{at} - 1 + {sum}"));
            format!("CASE WHEN {needed} THEN {root} ELSE {one} END AS g{at}")
        })
    }
}
