//! Which merchants dominate cells, by the noised values of a level that is not shown.

use crate::mechanism::NoisyTotals;
use crate::plan::{Plan, Turnover};

/// The plan with the cells hidden, too, of which few merchants may have too much; `None`: the job
/// has no such rule.
pub(super) fn judged(plan: &Plan, totals: &NoisyTotals) -> Option<Plan> {
    let (_, place) = plan.dominance()?;
    let whole = turnover(plan, totals, place, None)?;
    let of_level = |&place: &(usize, usize)| {
        let times = plan.levels[place.0].cells.times.groups.len();
        (0..times).filter_map(move |time| turnover(plan, totals, place, Some(time)))
    };
    let times: Vec<Turnover> = plan.dominance_by_time().iter().flat_map(of_level).collect();
    Some(plan.with_dominance(&whole, &times))
}

/// What each merchant has, at one time of a level or at all.
fn turnover(
    plan: &Plan,
    totals: &NoisyTotals,
    (level, statistic): (usize, usize),
    time: Option<usize>,
) -> Option<Turnover> {
    let (own, noisy) = (&plan.levels[level], &totals.levels[level]);
    let grouping = own.cells.merchants.as_ref()?;
    let noise = own.statistics[statistic].noise;
    let values = &noisy.values[statistic];
    // Cells stand merchant by merchant, of each time by time, each with as many values of other
    // keys.
    let cells = values.len() / grouping.groups.len().max(1);
    let rest = cells / own.cells.times.groups.len().max(1);
    let range = time.map_or(0..cells, |time| time * rest..(time + 1) * rest);
    let count = range.len();
    let sum = |group: &[i64]| {
        let own = group[range.clone()].iter();
        noise.to_natural(own.map(|&value| value as f64).sum())
    };
    let of_group: Vec<f64> = values.chunks_exact(cells.max(1)).map(sum).collect();
    let sums = grouping.group_of.iter().map(|&group| of_group[group as usize]).collect();
    Some(Turnover { sums, sd: noise.sd() * (count as f64).sqrt() })
}

#[cfg(test)]
mod tests {
    use crate::estimate::{Reason, Values, estimate};
    use crate::fixture::{Market, Row, settled};
    use crate::mechanism::{RunKey, add_noise};
    use crate::plan::KeyValue;

    /// Merchants M0 to M9 in R0 (4 of kind a), R1 (a: M1, b: M4, M7) and R2 (a: M5, M8; b: M2).
    fn hidden(rule: &str, levels: &str, payments: [u32; 10]) -> Vec<String> {
        hidden_at(rule, levels, payments, |_, n| n % 100)
    }

    /// The same with the day of each payment of a merchant.
    fn hidden_at(
        rule: &str,
        levels: &str,
        payments: [u32; 10],
        day: fn(u32, u32) -> u32,
    ) -> Vec<String> {
        let rows = (0..10)
            .flat_map(|merchant| (0..payments[merchant as usize]).map(move |n| (merchant, n)));
        let row = |(merchant, n): (u32, u32)| Row {
            user: 1000 * merchant + n,
            merchant,
            minute: day(merchant, n) * 1440 + 600,
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
    fn cells_that_one_has_at_some_time_are_hidden_where_noise_lets_see_it() {
        let rule = "min_per_cell = 2\ndominance = { top = 1, share = \"60%\", by = \"payments\" }";
        // All have as much in the whole period, but M1 all of its own in February: there it has
        // 300 of 450 of R1.
        let one = |merchant, n| if merchant == 1 { 31 + n % 28 } else { n % 120 };
        assert_eq!(hidden_at(rule, "[[\"region\"]]", EVEN, one), ["r0.region: R1"]);
        // With a tenth of all that noise hides it, and the whole period says nothing against R1.
        assert_eq!(hidden_at(rule, "[[\"region\"]]", [60; 10], one), [""; 0]);
    }

    #[test]
    fn where_noise_tells_nothing_all_is_hidden() {
        let rule = "dominance = { top = 1, share = \"60%\", by = \"payments\" }";
        let all = ["r0.region: R0", "r0.region: R1", "r0.region: R2"];
        assert_eq!(hidden(rule, "[[\"region\"]]", [1; 10]), all);
    }
}
