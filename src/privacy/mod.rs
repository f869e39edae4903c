//! Budgets, losses and bounds: pure arithmetic, no input or output.
//!
//! Every quantity is a type with one validating constructor. Comparisons of budgets are integer
//! comparisons; every float step names the direction in which it rounds. The theorem that these
//! numbers serve is in `docs/privacy.md`.

mod bound;
mod conversion;
mod decimal;
mod units;

pub use bound::{Fit, NormBound};
pub use conversion::{delta_of, epsilon_of, largest_loss, tail_quantile};
pub use decimal::{Decimal, DecimalError};
pub use units::{Delta, Epsilon, MuSquared, PrivacyBudget, PrivacyLoss, Rho, UnitError};
