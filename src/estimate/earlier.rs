//! What a level's cells and those of earlier releases say together. Source: *Estimates* in
//! `docs/privacy.md`.

use super::correction::Correction;
use super::joint::Observed;
use super::model::Report;
use super::panel::Panel;

impl Report<'_> {
    /// The noised values of a level's cells and of those of earlier releases, before the
    /// correction.
    pub(super) fn observed(&self, panel: &Panel, at: (usize, usize)) -> Observed {
        let statistic = self.statistic(at);
        let (mut values, mut sds) = (self.noisy(at, 0), self.noise_sds(at));
        for earlier in &self.plan.levels[at.0].earlier {
            // Where it has no such statistic, its values say nothing.
            let cells = earlier.cells.keys.len();
            let known = earlier.cells.statistics.get(&statistic.kind);
            match known {
                Some(known) => {
                    values.extend(&known.values);
                    sds.extend(&known.sds);
                }
                None => {
                    values.resize(values.len() + cells, 0.0);
                    sds.resize(values.len(), statistic.noise.sd() * 1e6);
                }
            }
        }
        let in_order = |values: &[f64]| in_order(panel, values);
        Observed { values: in_order(&values), sds: in_order(&sds) }
    }

    /// What the values of a panel's cells are multiplied with to make good for what the fit takes,
    /// in the panel's order. Those of earlier releases come with all of it put back by one factor;
    /// that it takes more of some cells than of others is about the same in all months, so they
    /// are multiplied with as much more than that as those of this release are.
    pub(super) fn factors(
        &self,
        panel: &Panel,
        at: (usize, usize),
        correction: &Correction,
    ) -> Vec<f64> {
        let noisy = self.noisy(at, 0);
        let is_own = |cell: &&u32| (**cell as usize) < noisy.len();
        let own = |cell: &u32| correction.factor(*cell as usize);
        // Cells had other scales.
        let lasting = |cell: &u32| correction.factor_but_scale(*cell as usize);
        if self.plan.levels[at.0].earlier.is_empty() {
            return panel.cells.iter().map(own).collect();
        }
        let all = (0..noisy.len()).map(|cell| correction.factor_but_scale(cell));
        let (low, high) =
            all.clone().fold((f64::MAX, 1.0), |(l, h): (f64, f64), f| (l.min(f), h.max(f)));
        let raw: f64 = noisy.iter().sum();
        let corrected: f64 = noisy.iter().zip(all).map(|(y, factor)| y * factor).sum();
        // Noise alone may come to anything.
        let whole = (corrected / raw).clamp(low.min(high), high);
        let whole = if whole.is_finite() { whole } else { 1.0 };
        let mut factors = Vec::with_capacity(panel.cells.len());
        for series in 0..panel.series() {
            let cells = &panel.cells[panel.range(series)];
            let known: Vec<f64> = cells.iter().filter(is_own).map(lasting).collect();
            let usual = known.iter().sum::<f64>() / known.len().max(1) as f64 / whole;
            let usual = if known.is_empty() { 1.0 } else { usual };
            factors.extend(cells.iter().map(|cell| if is_own(&cell) { own(cell) } else { usual }));
        }
        factors
    }
}

/// Values of a level's cells, and behind them of those of earlier releases, in the order of the
/// panel's.
pub(super) fn in_order(panel: &Panel, values: &[f64]) -> Vec<f64> {
    panel.cells.iter().map(|&cell| values[cell as usize]).collect()
}
