//! Budgets, losses and bounds: pure arithmetic, no input or output.
//!
//! Every quantity is a type with one validating constructor. Comparisons of budgets are integer
//! comparisons; every float step names the direction in which it rounds. The theorem that these
//! numbers serve is in `docs/privacy.md`.

mod bound;
mod decimal;
mod discrete;
mod gdp;
mod units;

pub use bound::{Fit, NormBound};
pub use decimal::{Decimal, DecimalError};
pub use gdp::{delta_of, epsilon_held, epsilon_of, largest_loss, right_guess_up, tail_quantile};
pub use units::{
    AllUnits, Delta, Epsilon, Mu, MuSquared, PrivacyBudget, PrivacyLoss, Rho, Sensitivity,
    UnitError,
};
