//! ε, δ, sensitivity, μ and ρ: exact where they are budgets, named rounding where they are not.

use super::decimal::{Decimal, DecimalError};

/// Why a privacy parameter was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// The text is not a plain decimal number.
    NotADecimal(DecimalError),
    /// The number lies outside the accepted range, which the field gives in words.
    OutOfRange(&'static str),
}

impl std::fmt::Display for UnitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UnitError::NotADecimal(cause) => write!(f, "{cause}"),
            UnitError::OutOfRange(range) => write!(f, "must be {range}"),
        }
    }
}

/// ε of (ε, δ), in millionths, so that a job file's decimal is kept exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epsilon(u64);

impl Epsilon {
    /// What [`Epsilon::parse`] accepts.
    pub const RANGE: &'static str = "a decimal of at least 0.000001 and at most 20";
    const SCALE: u32 = 6;

    /// Reads a decimal such as `1` or `0.25`.
    ///
    /// # Errors
    /// Not a decimal, outside [`Epsilon::RANGE`], or finer than a millionth.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let millionths = Decimal::parse(text)
            .map_err(UnitError::NotADecimal)?
            .scaled(Self::SCALE)
            .and_then(|v| u64::try_from(v).ok())
            .filter(|v| (1..=20_000_000).contains(v))
            .ok_or(UnitError::OutOfRange(Self::RANGE))?;
        Ok(Epsilon(millionths))
    }

    /// The value as a float, correctly rounded.
    pub fn value(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl std::fmt::Display for Epsilon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.value())
    }
}

/// δ of (ε, δ), in units of 10⁻¹⁸.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delta(u64);

impl Delta {
    /// What [`Delta::parse`] accepts.
    pub const RANGE: &'static str = "a decimal of at least 1e-15 and at most 0.01";
    const SCALE: u32 = 18;

    /// No δ at all: the loss of a job whose keys are all public.
    pub const ZERO: Delta = Delta(0);

    /// Reads a decimal such as `1e-9`.
    ///
    /// # Errors
    /// Not a decimal, outside [`Delta::RANGE`], or finer than 10⁻¹⁸.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let units = Decimal::parse(text)
            .map_err(UnitError::NotADecimal)?
            .scaled(Self::SCALE)
            .and_then(|v| u64::try_from(v).ok())
            .filter(|v| (1_000..=10_000_000_000_000_000).contains(v))
            .ok_or(UnitError::OutOfRange(Self::RANGE))?;
        Ok(Delta(units))
    }

    /// From a number of units of 10⁻¹⁸ in a file; `None` beyond 1.
    pub fn stored(units: u64) -> Option<Self> {
        (units <= 10u64.pow(Self::SCALE)).then_some(Delta(units))
    }

    /// From a number of units of 10⁻¹⁸. Not for others to call, as nothing is checked: for parts
    /// of a valid δ.
    pub(crate) fn from_units(units: u64) -> Self {
        Delta(units)
    }

    /// The number of units of 10⁻¹⁸.
    pub fn units(self) -> u64 {
        self.0
    }

    /// The value as a float, correctly rounded.
    pub fn value(self) -> f64 {
        self.0 as f64 / 1e18
    }

    /// The part of this δ that a job with private keys lets the thresholds use: 9/20, rounded
    /// down, near the best split (`docs/privacy.md`, *Splitting δ*).
    pub fn threshold_share(self) -> Self {
        // u128: the product, at most 9 × 10¹⁶, fits in 64 bits too, but leave no doubt.
        Delta((u128::from(self.0) * 9 / 20) as u64)
    }

    /// `self − other`, or `None` if that is negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Delta)
    }

    /// `self + other`, or `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Delta)
    }

    /// `self · factor`, or `None` unless that is below 1.
    pub fn times(self, factor: u32) -> Option<Self> {
        let units = self.0.checked_mul(factor.into());
        units.filter(|&units| units < 10u64.pow(Self::SCALE)).map(Delta)
    }
}

impl std::fmt::Display for Delta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:e}", self.value())
    }
}

/// The largest L2 norm by which one user can move the totals of a statistic, in grid units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sensitivity(u64);

impl Sensitivity {
    /// Sensitivities stay below this, so that squares of sums fit in 128 bits.
    pub const LIMIT: u64 = 1 << 48;

    /// `None` unless 0 < `grid_units` < [`Sensitivity::LIMIT`].
    pub fn new(grid_units: u64) -> Option<Self> {
        (0 < grid_units && grid_units < Self::LIMIT).then_some(Sensitivity(grid_units))
    }

    /// The number of grid units.
    pub fn grid_units(self) -> u64 {
        self.0
    }
}

/// μ of Gaussian differential privacy, as a float that is never below the true value.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Mu(f64);

impl Mu {
    /// The value.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// ρ of zero-concentrated differential privacy, as a float that is never below the true value.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rho(f64);

impl Rho {
    /// The value.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// μ² = (sensitivity / σ)², in units of 2⁻⁶⁰, always rounded up. ρ = μ²/2. Composition adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MuSquared(u128);

impl MuSquared {
    /// Binary digits after the point.
    pub const FRACTION_BITS: u32 = 60;

    /// From a number of units of 2⁻⁶⁰. Any number is a μ², and sums are checked.
    pub fn from_units(units: u128) -> Self {
        MuSquared(units)
    }

    /// The number of units of 2⁻⁶⁰.
    pub fn units(self) -> u128 {
        self.0
    }

    /// ⌈sensitivity²/variance · 2⁶⁰⌉ units, exactly: the price of real Gaussian noise. The
    /// variance is in squares of grid units, positive, below 2¹²⁴, and above sensitivity²/2⁶⁰.
    pub fn of_gaussian_up(sensitivity: Sensitivity, variance: u128) -> Self {
        let numerator = u128::from(sensitivity.0) * u128::from(sensitivity.0);
        let denominator = variance;
        assert!(denominator > 0 && denominator < 1 << 124, "limited by the plan");
        assert!(numerator / denominator < 1 << 60, "limited by the plan");
        let mut units = numerator / denominator;
        let mut rest = numerator % denominator;
        // Long division, one binary digit after the point at a time: rest < 2¹²⁴, so no overflow.
        for _ in 0..Self::FRACTION_BITS {
            rest <<= 1;
            units <<= 1;
            if rest >= denominator {
                rest -= denominator;
                units |= 1;
            }
        }
        MuSquared(units + u128::from(rest > 0))
    }

    /// The value as a float that is never below the true one.
    pub fn value_up(self) -> f64 {
        let nearest = self.0 as f64 / (1u64 << 60) as f64;
        if self.0 == 0 { 0.0 } else { nearest.next_up() }
    }

    /// μ, never below the true value.
    pub fn mu_up(self) -> Mu {
        let root = self.value_up().sqrt();
        Mu(if self.0 == 0 { 0.0 } else { root.next_up() })
    }

    /// ρ = μ²/2, never below the true value.
    pub fn rho_up(self) -> Rho {
        Rho(self.value_up() / 2.0)
    }

    /// `self + other`, or `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(MuSquared)
    }

    /// `self − other`, or `None` if that is negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(MuSquared)
    }
}

/// A job's loss for all privacy units of a user, where the unit is a user within a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllUnits {
    /// The most units of one user.
    pub periods: u32,
    /// Σ of what they cost together (Lemma 5 of `docs/privacy.md`).
    pub mu_squared: MuSquared,
}

/// A price, spent or to be spent: the Gaussian part and the δ of the thresholds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrivacyLoss {
    /// Σ μ² over the job's statistics.
    pub mu_squared: MuSquared,
    /// Σ of the thresholds' δ; zero when all keys are public.
    pub threshold_delta: Delta,
}

impl PrivacyLoss {
    /// The loss of both together, or `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(PrivacyLoss {
            mu_squared: self.mu_squared.checked_add(other.mu_squared)?,
            threshold_delta: self.threshold_delta.checked_add(other.threshold_delta)?,
        })
    }
}

/// A limit on loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivacyBudget {
    /// Limit of Σ μ².
    pub mu_squared: MuSquared,
    /// Limit of Σ of the thresholds' δ.
    pub threshold_delta: Delta,
}

impl PrivacyBudget {
    /// Does `loss` fit? Integer comparison, no tolerance.
    pub fn allows(self, loss: PrivacyLoss) -> bool {
        loss.mu_squared <= self.mu_squared && loss.threshold_delta <= self.threshold_delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsilon_and_delta_refuse_what_is_no_parameter() {
        for text in ["0", "-1", "NaN", "1e400", "inf", "", "1e-7", "21", "0x1", "1,5"] {
            assert!(Epsilon::parse(text).is_err(), "epsilon {text:?}");
        }
        for text in ["0", "-1e-9", "NaN", "1e400", "1e-16", "0.02", "1"] {
            assert!(Delta::parse(text).is_err(), "delta {text:?}");
        }
        assert_eq!(Epsilon::parse("0.25").map(|e| e.value()), Ok(0.25));
        assert_eq!(Delta::parse("1e-9").map(|d| d.units()), Ok(1_000_000_000));
    }

    #[test]
    fn stored_deltas_are_at_most_one() {
        let one = 10u64.pow(18);
        assert_eq!(Delta::stored(one).map(Delta::value), Some(1.0));
        assert_eq!(Delta::stored(0), Some(Delta::ZERO));
        assert_eq!(Delta::stored(one + 1), None);
        assert_eq!(Delta::stored(u64::MAX), None);
    }

    #[test]
    fn deltas_of_many_periods_are_below_one() {
        let tenth = Delta::from_units(10u64.pow(17));
        assert_eq!(tenth.times(9).map(Delta::value), Some(0.9));
        assert_eq!(tenth.times(10), None);
        assert_eq!(
            Delta::from_units(10u64.pow(18) - 1).times(1).map(Delta::units),
            Some(10u64.pow(18) - 1)
        );
        assert_eq!(Delta::from_units(1 << 62).times(5), None);
    }

    #[test]
    fn mu_squared_is_the_exact_ratio_rounded_up() {
        let units = |sensitivity, variance| {
            let sensitivity = Sensitivity::new(sensitivity).expect("valid");
            MuSquared::of_gaussian_up(sensitivity, variance).units()
        };
        assert_eq!(units(1, 1), 1 << 60);
        assert_eq!(units(1, 4), 1 << 58);
        // 1/9 · 2⁶⁰ = 128102389400760775.1…, rounded up
        assert_eq!(units(1, 9), 128_102_389_400_760_776);
        assert_eq!(units(1, (1 << 124) - 1), 1);
        let most = u128::from(Sensitivity::LIMIT - 1);
        assert_eq!(units(Sensitivity::LIMIT - 1, most * most), 1 << 60);
    }

    #[test]
    fn sensitivities_are_validated() {
        assert_eq!(Sensitivity::new(0), None);
        assert_eq!(Sensitivity::new(Sensitivity::LIMIT), None);
        assert_eq!(Sensitivity::new(7).map(Sensitivity::grid_units), Some(7));
    }

    #[test]
    fn float_views_of_mu_squared_are_never_below() {
        for units in [1u128, 3, (1 << 60) - 1, (1 << 60) + 1, 123_456_789_012_345_678_901] {
            let mu2 = MuSquared::from_units(units);
            // Exact: a power of two changes the exponent only, and `as` truncates.
            assert!((mu2.value_up() * (1u64 << 60) as f64) as u128 >= units);
            // ⌊2³⁰ μ⌋ + 1 is above 2³⁰ √(units/2⁶⁰) exactly.
            let mu = (mu2.mu_up().value() * (1u64 << 30) as f64) as u128 + 1;
            assert!(mu * mu > units && (mu - 2).pow(2) <= units, "{units}");
        }
    }

    /// By whole numbers: μ between 1/2 and 2 is m·2^e with m below 2⁵³, and μ² is m²·2^2e.
    #[test]
    fn mu_is_never_below_its_square() {
        for step in 0..4_000u128 {
            let units = (1 << 58) + step * 3_458_764_513_820_567 / 4;
            let mu = MuSquared::from_units(units).mu_up().value();
            let exponent = if mu < 1.0 { 53 } else { 52 };
            let mantissa = (mu * 2f64.powi(exponent)) as u128;
            assert!(mantissa.pow(2) >= units << (2 * exponent - 60), "{units}");
        }
    }

    #[test]
    fn budget_comparison_has_no_tolerance() {
        let budget =
            PrivacyBudget { mu_squared: MuSquared(10), threshold_delta: Delta::from_units(5) };
        let loss = |mu2, delta| PrivacyLoss {
            mu_squared: MuSquared(mu2),
            threshold_delta: Delta::from_units(delta),
        };
        assert!(budget.allows(loss(10, 5)));
        assert!(!budget.allows(loss(11, 5)));
        assert!(!budget.allows(loss(10, 6)));
    }
}
