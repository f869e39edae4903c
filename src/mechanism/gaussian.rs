//! OpenDP's discrete Gaussian, its privacy map and its conversion.

use opendp::combinators::ConcentratedMeasure;
use opendp::core::Measurement;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;

use crate::plan::Plan;

type Vector = VectorDomain<AtomDomain<i64>>;
type Gaussian = Measurement<Vector, L2Distance<f64>, ZeroConcentratedDivergence, Vec<i64>>;

/// opendp's `Display` shows only the kind of its error.
fn message(error: opendp::error::Error) -> String {
    error.message.unwrap_or_else(|| format!("{:?}", error.variant))
}

fn measurement(sigma: u64) -> Result<Gaussian, String> {
    // Exact: the plan keeps σ below 2⁵².
    let scale = sigma as f64;
    make_gaussian(VectorDomain::new(AtomDomain::default()), L2Distance::default(), scale, None)
        .map_err(message)
}

/// One run: `totals` plus independent discrete Gaussian noise of σ = `sigma` grid units.
pub(super) fn release(totals: &Vec<i64>, sigma: u64) -> Result<Vec<i64>, String> {
    measurement(sigma)?.invoke(totals).map_err(message)
}

/// OpenDP's own figure for the Gaussian part of a plan: its privacy maps, added up, and its
/// conversion to ε at `delta`.
///
/// # Errors
/// opendp's message.
pub fn opendp_epsilon(plan: &Plan, delta: f64) -> Result<(f64, f64), String> {
    let mut rho = 0.0;
    for statistic in plan.levels.iter().flat_map(|level| &level.statistics) {
        // norm < 2⁴⁸, exact as a float.
        let norm = statistic.bound.sensitivity().grid_units() as f64;
        let one = measurement(statistic.sigma)?.map(&norm).map_err(message)?;
        rho = f64::next_up(rho + one);
    }
    Ok((rho, opendp_conversion(rho, delta)?))
}

/// OpenDP's ε at `delta` for a ρ-zCDP mechanism.
pub(super) fn opendp_conversion(rho: f64, delta: f64) -> Result<f64, String> {
    let profile = ZeroConcentratedDivergence::convert(rho).map_err(message)?;
    profile.epsilon(delta).map_err(message)
}
