//! The measurement: our sampler with OpenDP's privacy map, and OpenDP's conversion.

use opendp::combinators::ConcentratedMeasure;
use opendp::core::{Function, Measurement};
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::error::ErrorVariant;
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;

use super::keys::{Seed, StatisticKey};
use super::sampler::discrete_gaussian;
use crate::plan::{CellKey, Plan};

type Vector = VectorDomain<AtomDomain<i64>>;
type Gaussian = Measurement<Vector, L2Distance<f64>, ZeroConcentratedDivergence, Vec<i64>>;

/// σ stays below this, so that it is exact as a float.
const SIGMA_LIMIT: u64 = 1 << 52;

/// opendp's `Display` shows only the kind of its error.
fn message(error: opendp::error::Error) -> String {
    error.message.unwrap_or_else(|| format!("{:?}", error.variant))
}

/// OpenDP's discrete Gaussian: its privacy map prices ours, and the tests compare the samples.
pub(super) fn make_opendp(sigma: u64) -> Result<Gaussian, String> {
    if !(1..SIGMA_LIMIT).contains(&sigma) {
        return Err(format!("a standard deviation of {sigma} grid units"));
    }
    let scale = sigma as f64;
    make_gaussian(VectorDomain::new(AtomDomain::default()), L2Distance::default(), scale, None)
        .map_err(message)
}

/// A measurement that adds noise of σ = `sigma` grid units to the cells with these seeds.
///
/// Its function is ours, its privacy map OpenDP's. The map holds for cells with independent
/// seeds, and for one invocation: the next would add the same noise.
fn make_seeded(sigma: u64, seeds: Vec<Seed>) -> Result<Gaussian, String> {
    let opendp = make_opendp(sigma)?;
    let noisy = move |totals: &Vec<i64>| {
        let width = totals.len().checked_div(seeds.len()).unwrap_or(0);
        if totals.len() != seeds.len() * width {
            // `zip` would pass over cells without a seed.
            return Err(ErrorVariant::FailedFunction.into());
        }
        let mut noised = Vec::with_capacity(totals.len());
        for (numbers, seed) in totals.chunks_exact(width.max(1)).zip(&seeds) {
            // The numbers of a cell one after the other from the stream of that cell.
            let mut words = seed.words();
            for &total in numbers {
                let noisy = i128::from(total) + discrete_gaussian(&mut words, sigma);
                // A cut of the noised value; none that could ever be seen, as |total| ≤ 2⁶².
                noised.push(noisy.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
            }
        }
        Ok(noised)
    };
    Measurement::new(
        opendp.input_domain.clone(),
        opendp.input_metric.clone(),
        opendp.output_measure.clone(),
        Function::new_fallible(noisy),
        opendp.privacy_map.clone(),
    )
    .map_err(message)
}

/// One run: `totals` of `cells` plus independent discrete Gaussian noise of σ = `sigma` grid
/// units, each drawn from the stream of its cell.
pub(super) fn release(
    key: &StatisticKey,
    cells: &[CellKey],
    totals: &[i64],
    sigma: u64,
) -> Result<Vec<i64>, String> {
    let seeds = cells.iter().map(|cell| key.seed(cell)).collect();
    make_seeded(sigma, seeds)?.invoke(&totals.to_vec()).map_err(message)
}

/// OpenDP's own figure for the Gaussian part of a plan: its privacy maps, added up, and its
/// conversion to ε at `delta`.
///
/// # Errors
/// opendp's message.
pub fn opendp_epsilon(plan: &Plan, delta: f64) -> Result<(f64, f64), String> {
    let mut rho = 0.0;
    for mechanism in plan.mechanisms() {
        // norm < 2⁴⁸, exact as a float.
        let norm = mechanism.bound.sensitivity().grid_units() as f64;
        let one = make_opendp(mechanism.sigma)?.map(&norm).map_err(message)?;
        rho = f64::next_up(rho + one);
    }
    Ok((rho, opendp_conversion(rho, delta)?))
}

/// OpenDP's ε at `delta` for a ρ-zCDP mechanism.
pub(super) fn opendp_conversion(rho: f64, delta: f64) -> Result<f64, String> {
    let profile = ZeroConcentratedDivergence::convert(rho).map_err(message)?;
    profile.epsilon(delta).map_err(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mechanism::RunKey;
    use crate::plan::KeyValue;

    #[test]
    fn errors_of_opendp_keep_their_words() {
        let error = make_opendp(1 << 20).expect("a measurement").map(&-1.0).expect_err("negative");
        assert_eq!(error.to_string(), "FailedMap", "why `message` is there");
        let text = message(error);
        assert!(text.contains("must be non-negative"), "{text}");
    }

    /// The same key, the same noise: nothing of it comes from elsewhere.
    #[test]
    fn releases_draw_nothing_from_opendps_generator() {
        let cells: Vec<CellKey> = (0..200u8).map(|n| [KeyValue::Number(n)].into()).collect();
        let noisy = || {
            let key = RunKey::frozen([3; 32]).statistic("table", "customers");
            release(&key, &cells, &[0; 400], 1 << 20).expect("draws")
        };
        let first = noisy();
        assert_eq!(first, noisy());
        let distinct: std::collections::BTreeSet<&i64> = first.iter().collect();
        assert!(distinct.len() > 390, "{}", distinct.len());
    }
}
