//! Which merchants dominate cells, by the noised values of a level that is not shown.

use crate::mechanism::NoisyTotals;
use crate::plan::Plan;

/// The plan with the cells hidden, too, of which few merchants may have too much; `None`: the job
/// has no such rule.
pub(super) fn judged(plan: &Plan, totals: &NoisyTotals) -> Option<Plan> {
    let (_, (level, statistic)) = plan.dominance()?;
    let (own, noisy) = (&plan.levels[level], &totals.levels[level]);
    let grouping = own.cells.merchants.as_ref()?;
    let noise = own.statistics[statistic].noise;
    let values = &noisy.values[statistic];
    // Cells stand merchant by merchant; each with as many times, and values of other keys.
    let cells = values.len() / grouping.groups.len().max(1);
    let sum = |group: &[i64]| noise.to_natural(group.iter().map(|&value| value as f64).sum());
    let of_group: Vec<f64> = values.chunks_exact(cells.max(1)).map(sum).collect();
    let sums: Vec<f64> = grouping.group_of.iter().map(|&group| of_group[group as usize]).collect();
    Some(plan.with_dominance(&sums, noise.sd() * (cells as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use crate::estimate::{Reason, Values, estimate};
    use crate::fixture::{Market, Row, settled};
    use crate::mechanism::{RunKey, add_noise};
    use crate::plan::KeyValue;

    /// Merchants M0 to M9 in R0 (4 of kind a), R1 (a: M1, b: M4, M7) and R2 (a: M5, M8; b: M2).
    fn hidden(rule: &str, levels: &str, payments: [u32; 10]) -> Vec<String> {
        let rows = (0..10)
            .flat_map(|merchant| (0..payments[merchant as usize]).map(move |n| (merchant, n)));
        let row = |(merchant, n): (u32, u32)| Row {
            user: 1000 * merchant + n,
            merchant,
            minute: n % 100 * 1440 + 600,
            amount: 700,
            wallet: 0,
        };
        let market = Market::with_kinds();
        market.set_payments(&rows.map(row).collect::<Vec<_>>());
        let report = |levels: &str| {
            format!(
                "levels = {levels}\nkeys = \"public\"\ninsights = [\"payments\"]\n\
                 bounds = {{ payments = 1 }}"
            )
        };
        let reports = [report(levels), report("[[\"merchant\", \"month\"]]")];
        let plan = market.try_plan_with(rule, &reports).expect("a plan");
        let (_, plan, exact) = settled(&market.engine(1, 3), &plan);
        let noisy = add_noise(&plan, exact, RunKey::frozen([7; 32]), 1).expect("noise");
        let estimates = estimate(&plan, noisy, 1);
        let mut all = Vec::new();
        for (place, level) in plan.levels.iter().enumerate().filter(|(_, level)| !level.unshown) {
            let table = estimates.table(place, 0);
            let (rows, text) = (table.rows().to_vec(), |key: &[KeyValue]| format!("{key:?}"));
            let table = table.slices(&rows).get(0);
            for (row, key) in table.keys.iter().enumerate() {
                let is_hidden = table.columns[0].suppressed[row] == Some(Reason::Merchants);
                let Values::Counts(values) = &table.columns[0].values else { panic!("counts") };
                assert_eq!(is_hidden, values[row].unbiased.is_none(), "{key:?}");
                if is_hidden {
                    let names = text(key);
                    let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
                    all.push(format!("{}: {}", level.file, names.join(" ")));
                }
            }
        }
        all
    }

    const EVEN: [u32; 10] = [300; 10];

    #[test]
    fn cells_with_a_large_merchant_are_hidden_and_as_many_more_as_would_tell() {
        let rule = "min_per_cell = 2\ndominance = { top = 1, share = \"60%\", by = \"payments\" }";
        assert_eq!(hidden(rule, "[[\"region\"]]", EVEN), [""; 0]);
        // M1 has three quarters of R1. Of three regions alone, no other tells of it.
        let mut large = EVEN;
        large[1] = 1800;
        assert_eq!(hidden(rule, "[[\"region\"]]", large), ["r0.region: R1"]);
        // With the total it would be what is left of it: R2, of three, is hidden beside it.
        let both = hidden(rule, "[[\"region\"], []]", large);
        assert_eq!(both, ["r0.region: R1", "r0.region: R2"]);
        // Two together have more than 60 % of all regions of three, and not of R0, which has four.
        let two = rule.replace("top = 1", "top = 2");
        assert_eq!(hidden(&two, "[[\"region\"]]", EVEN), ["r0.region: R1", "r0.region: R2"]);
    }

    #[test]
    fn where_noise_tells_nothing_all_is_hidden() {
        let rule = "dominance = { top = 1, share = \"60%\", by = \"payments\" }";
        let all = ["r0.region: R0", "r0.region: R1", "r0.region: R2"];
        assert_eq!(hidden(rule, "[[\"region\"]]", [1; 10]), all);
    }
}
