//! One series over time: a Kalman filter and smoother (*Estimates* in `docs/privacy.md`).

use super::shrink::Posterior;

/// How values of one series hang together over time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// Standard deviation of d.
    pub(super) size: f64,
    /// How much of d is left after one step.
    pub(super) memory: f64,
}

/// Kalman filter and smoother of one series, given a component: the state is d, the component's own
/// deviation c enters linearly, so each quantity is kept as a constant and a factor of c.
pub(super) struct Filter<'p> {
    times: &'p [u32],
    /// After each cell: the mean of d as constant and factor of −c, and its variance.
    states: Vec<(f64, f64, f64)>,
    /// Mean and variance of c given all.
    own: (f64, f64),
}

impl<'p> Filter<'p> {
    pub(super) fn new(times: &'p [u32]) -> Filter<'p> {
        Filter { times, states: vec![(0.0, 0.0, 0.0); times.len()], own: (0.0, 0.0) }
    }

    /// How much of d is left from the cell before, and its variance then, given that before.
    fn step(&self, cell: usize, before: f64, rhythm: Rhythm) -> (f64, f64) {
        let still = rhythm.size.powi(2);
        if cell == 0 {
            return (0.0, still);
        }
        let gap = self.times[cell] - self.times[cell - 1];
        let left = if gap == 1 { rhythm.memory } else { rhythm.memory.powi(gap as i32) };
        (left, left * left * before + (1.0 - left * left) * still)
    }

    /// Filters; the logarithm of the likelihood, but for a constant.
    pub(super) fn run(
        &mut self,
        signal: &[f64],
        expected: &[f64],
        size: f64,
        width: f64,
        rhythm: Rhythm,
    ) -> f64 {
        let (mut constant, mut factor, mut variance) = (0.0, 0.0, 0.0);
        let (mut logs, mut product, mut square, mut both, mut own) = (0.0, 1.0, 0.0, 0.0, 0.0);
        for cell in 0..signal.len() {
            let a = expected[cell] * size;
            let (left, before) = self.step(cell, variance, rhythm);
            (constant, factor, variance) = (left * constant, left * factor, before);
            let spread = a * a * variance + 1.0;
            let (miss, miss_own) = (signal[cell] - a - a * constant, a - a * factor);
            let gain = variance * a / spread;
            constant += gain * miss;
            factor += gain * miss_own;
            variance /= spread;
            product *= spread;
            if product > 1e200 {
                // Logarithms take most of the time.
                logs += f64::ln(product);
                product = 1.0;
            }
            square += miss * miss / spread;
            both += miss * miss_own / spread;
            own += miss_own * miss_own / spread;
            self.states[cell] = (constant, factor, variance);
        }
        let precision = 1.0 / (width * width) + own;
        self.own = (both / precision, 1.0 / precision);
        let logs = logs + product.ln();
        -0.5 * (logs + square - both * both / precision + (1.0 + width * width * own).ln())
    }

    /// After [`Filter::run`] with the same component: the values given all of the series.
    pub(super) fn smooth(
        &self,
        expected: &[f64],
        size: f64,
        rhythm: Rhythm,
        mut value: impl FnMut(usize, Posterior),
    ) {
        let (own, own_variance) = self.own;
        let mut later: Option<(f64, f64, f64)> = None;
        for cell in (0..expected.len()).rev() {
            let (mut constant, mut factor, mut variance) = self.states[cell];
            if let Some((next_constant, next_factor, next_variance)) = later {
                let (left, predicted) = self.step(cell + 1, variance, rhythm);
                if predicted > 0.0 {
                    let pull = variance * left / predicted;
                    constant += pull * (next_constant - left * constant);
                    factor += pull * (next_factor - left * factor);
                    variance += pull * pull * (next_variance - predicted);
                }
            }
            later = Some((constant, factor, variance));
            let a = expected[cell] * size;
            // d is `constant` − c·`factor`.
            let mean = a * (1.0 + constant + own * (1.0 - factor));
            let sd = a * (variance + (1.0 - factor).powi(2) * own_variance).max(0.0).sqrt();
            value(cell, Posterior { mean, sd });
        }
    }
}
