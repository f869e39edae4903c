//! The noise against its law, the price against opendp's, the choice of keys.

use crate::engine::{ExactTotals, LevelTotals};
use crate::fixture::Market;
use crate::mechanism::gaussian::opendp_conversion;
use crate::mechanism::{RunKey, add_noise, opendp_epsilon, select};
use crate::plan::{CellKey, KeyValue, Plan, Score};
use crate::privacy::{Delta, Epsilon, epsilon_held, epsilon_of, largest_loss};

pub(super) fn report(keys: &str, levels: &str) -> String {
    format!(
        "levels = {levels}\nkeys = \"{keys}\"\ncells_max = 5\n\
         insights = [\"customers\", \"payments\", \"sales\"]\n\
         bounds = {{ customers = 2, payments = 10, sales = \"300.00\" }}"
    )
}

fn system() -> RunKey {
    RunKey::from_system().expect("random bits")
}

/// Totals of zero for every public cell.
pub(super) fn zeros(plan: &Plan) -> ExactTotals {
    let levels = plan.levels.iter().map(|level| {
        let keys = level.cells.public_keys(&plan.job).expect("public");
        let sums = vec![vec![0; keys.len()]; level.statistics.len()];
        LevelTotals { keys, sums }
    });
    ExactTotals { levels: levels.collect() }
}

#[test]
fn price_agrees_with_opendp() {
    let market = Market::new(&[]);
    let plan =
        market.plan(&[report("public", "[[], [\"region\"]]"), report("private", "[[\"wallet\"]]")]);
    let delta = plan.job.privacy.delta.checked_sub(plan.loss.threshold_delta).expect("positive");
    let (rho, epsilon) = opendp_epsilon(&plan, delta.value()).expect("opendp prices it");
    let ours = plan.loss.mu_squared.rho_up().value();
    assert!(rho <= ours && rho >= ours * (1.0 - 4e-9), "{rho} {ours}");
    let held = epsilon_held(plan.loss, plan.job.privacy.delta).expect("thresholds leave a part");
    assert!(held <= plan.job.privacy.epsilon.value());
    // The few per cent that the Gaussian curve saves against the conversion of ρ.
    assert!(epsilon > held * 1.02 && epsilon < held * 1.2, "{epsilon} {held}");
}

#[test]
fn opendp_never_states_less_than_ours() {
    for epsilon in ["0.001", "0.1", "0.5", "1", "2", "4", "8", "20"] {
        for delta in ["1e-15", "1e-12", "1e-9", "1e-6", "1e-4", "0.01"] {
            let (e, d) = (Epsilon::parse(epsilon), Delta::parse(delta));
            let (e, d) = (e.expect("valid"), d.expect("valid"));
            let loss = largest_loss(e, d, Delta::ZERO).expect("something is left");
            let ours = epsilon_of(loss.mu_up(), d.value());
            // OpenDP's ρ is below ours by what the grid costs us.
            let rho = loss.rho_up().value() * (1.0 - 4e-9);
            let opendp = opendp_conversion(rho, d.value()).expect("converts");
            assert!(opendp >= ours, "{epsilon} {delta}: {opendp} {ours}");
        }
    }
}

/// What the Gaussian curve saves at ε = 1 against the conversion of ρ, in per cent of the noise.
#[test]
fn noise_is_less_than_by_way_of_zcdp() {
    for (delta, saved) in [("1e-6", 6.8), ("1e-9", 4.9)] {
        let (epsilon, delta) = (Epsilon::parse("1"), Delta::parse(delta));
        let (epsilon, delta) = (epsilon.expect("valid"), delta.expect("valid"));
        let ours = largest_loss(epsilon, delta, Delta::ZERO).expect("something is left");
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let rho = (low + high) / 2.0;
            let fits = opendp_conversion(rho, delta.value()).expect("converts") <= 1.0;
            (low, high) = if fits { (rho, high) } else { (low, rho) };
        }
        // σ = C/μ, and ρ = μ²/2.
        let percent = 100.0 * (1.0 - (2.0f64 * low).sqrt() / ours.mu_up().value());
        assert!((percent - saved).abs() < 0.05, "{delta}: {percent}");
    }
}

/// False alarms: at most 1e-9 in all. The noise divided by σ is normal to within 2⁻¹⁶, so over
/// n draws the mean is within z/√n and the mean square within 1 ± z·√(2/n), z = 6.5 for a tail of
/// 4e-11 on each side (the mean square by its normal approximation at n = 28,800); the tails beyond
/// 2 σ are binomial with p = 0.0455, the same z: six sides of each statistic.
#[test]
fn noise_has_its_mean_variance_and_tails() {
    let market = Market::new(&[]);
    let plan = market.plan(&[report("public", "[[\"merchant\", \"day\", \"hour\"]]")]);
    let noisy = add_noise(&plan, zeros(&plan), system(), 2).expect("draws");
    for (statistic, values) in plan.levels[0].statistics.iter().zip(&noisy.levels[0].values) {
        let scaled: Vec<f64> =
            values.iter().map(|&v| v as f64 / statistic.noise.sigma as f64).collect();
        let n = scaled.len() as f64;
        assert_eq!(scaled.len(), 10 * 120 * 24);
        let mean = scaled.iter().sum::<f64>() / n;
        let square = scaled.iter().map(|x| x * x).sum::<f64>() / n;
        let beyond = scaled.iter().filter(|x| x.abs() > 2.0).count() as f64 / n;
        assert!(mean.abs() < 6.5 / n.sqrt(), "mean {mean}");
        assert!((square - 1.0).abs() < 6.5 * (2.0 / n).sqrt(), "mean square {square}");
        let p = 0.045_500_263_896_358_4;
        assert!((beyond - p).abs() < 6.5 * (p * (1.0 - p) / n).sqrt(), "beyond 2 sigma {beyond}");
    }
}

/// False alarms: at most 1e-9. Correlations of n independent pairs are within z/√n, z = 6.5, for
/// three pairs of statistics and one of neighbours.
#[test]
fn noise_is_independent_between_statistics_and_cells() {
    let market = Market::new(&[]);
    let plan = market.plan(&[report("public", "[[\"merchant\", \"day\", \"hour\"]]")]);
    let noisy = add_noise(&plan, zeros(&plan), system(), 2).expect("draws");
    let columns: Vec<Vec<f64>> = plan.levels[0]
        .statistics
        .iter()
        .zip(&noisy.levels[0].values)
        .map(|(s, values)| values.iter().map(|&v| v as f64 / s.noise.sigma as f64).collect())
        .collect();
    let correlation = |a: &[f64], b: &[f64]| {
        let n = a.len().min(b.len());
        a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / n as f64
    };
    let limit = 6.5 / (columns[0].len() as f64 - 1.0).sqrt();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(correlation(&columns[a], &columns[b]).abs() < limit, "statistics {a} and {b}");
    }
    assert!(correlation(&columns[0], &columns[0][1..]).abs() < limit, "neighbouring cells");
    // Chunks and threads: no value of σ 2^16 and more is drawn twice in a row of 28,800 more often
    // than by chance; equal runs would betray a shared generator.
    let runs = noisy.levels[0].values[0].windows(2).filter(|w| w[0] == w[1]).count();
    assert!(runs <= 8, "{runs} equal neighbours");
}

#[test]
fn keys_are_shown_from_the_threshold_on() {
    let keys: Vec<CellKey> = ["a", "b", "c"]
        .iter()
        .map(|name| vec![KeyValue::Text((*name).into())].into_boxed_slice())
        .collect();
    // Two bins a cell without a weight stand between the two that count.
    let values = vec![vec![99, 90, 101], vec![9, 8, 7, 6, 5, 4], vec![-1, 5, 0]];
    let score = Score { weights: vec![1, 0, 2], threshold: 100 };
    let level = select(keys.clone(), values.clone(), &[1, 2, 1], &score, &[]);
    assert_eq!(level.keys, keys[1..]);
    assert_eq!(level.values, vec![vec![90, 101], vec![7, 6, 5, 4], vec![5, 0]]);
    let level = select(keys.clone(), values, &[1, 2, 1], &score, &keys[..1]);
    assert_eq!(level.keys, keys);
}

#[test]
fn more_cells_than_a_chunk_come_back_in_their_order() {
    let market = Market::new(&[]);
    let plan = market.plan(&[report("public", "[[\"merchant\", \"day\", \"hour\"]]")]);
    let mut totals = zeros(&plan);
    // Far apart against the noise, so the order shows.
    for sums in &mut totals.levels[0].sums {
        for (place, value) in sums.iter_mut().enumerate() {
            *value = place as i64 * (1 << 40);
        }
    }
    let keys = totals.levels[0].keys.clone();
    let noisy = add_noise(&plan, totals, system(), 3).expect("draws");
    assert_eq!(noisy.levels[0].keys, keys);
    for values in &noisy.levels[0].values {
        assert!(values.is_sorted());
    }
}
