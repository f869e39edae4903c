//! Columns whose number follows from the job: classes of days since the last visit, and the periods
//! in which new customers come again.

use std::sync::Arc;

use arrow::datatypes::Field;

const RECENCY: &str = "recency_histogram_";

/// Where the classes begin.
const FROM: [u32; 7] = [0, 7, 14, 30, 60, 90, 180];

/// Is it a column of days since the last visit, such as `7_13`, or the last one, such as `14_up`?
pub(super) fn is_recency(column: &str) -> bool {
    let is = |place: usize| {
        [false, true].into_iter().any(|last| Some(column) == name(place, last).as_deref())
    };
    (0..FROM.len()).any(is)
}

/// The column of a class; the last one has no end.
fn name(place: usize, last: bool) -> Option<String> {
    let from = FROM.get(place)?;
    match FROM.get(place + 1).filter(|_| !last) {
        Some(next) => Some(format!("{RECENCY}{from}_{}", next - 1)),
        None => last.then(|| format!("{RECENCY}{from}_up")),
    }
}

/// Insights in columns that end in a number of periods.
pub(super) const COHORT: &str = "retention_cohort";
pub(super) const RATE: &str = "retention_rate";

/// How many periods after the first a column of such an insight is about.
pub(super) fn periods(column: &str, insight: &str) -> Option<usize> {
    let periods = column.strip_prefix(insight)?.strip_prefix('_')?;
    let known = (usize::from(insight == RATE)..=PERIODS_MAX).find(|n| n.to_string() == periods);
    known.filter(|_| [COHORT, RATE].contains(&insight))
}

const PERIODS_MAX: usize = 6;

/// The columns of those who come again and of all, of which a rate is the ratio.
pub(super) fn rate_of(column: &str) -> [String; 2] {
    let periods = periods(column, RATE).unwrap_or_default();
    [periods, 0].map(|periods| format!("{COHORT}_{periods}"))
}

/// The columns of users who spend more, as much and less than in the period before, or the year
/// before.
pub(super) const DIFFUSION: [&str; 3] =
    ["diffusion_classes_up", "diffusion_classes_flat", "diffusion_classes_down"];
pub(super) const DIFFUSION_YEAR: [&str; 3] =
    ["diffusion_classes_year_up", "diffusion_classes_year_flat", "diffusion_classes_year_down"];

/// Those of which an index is made.
pub(super) fn classes_of(index: &str) -> [&'static str; 3] {
    if index == "diffusion_index" { DIFFUSION } else { DIFFUSION_YEAR }
}

/// What is wrong with such columns of a table.
pub(super) fn fault(values: &[Arc<Field>]) -> Option<&'static str> {
    let follow = |insight: &str| {
        let own = values.iter().filter_map(|field| periods(field.name(), insight));
        let own: Vec<usize> = own.collect();
        let first = usize::from(insight == RATE);
        own.is_empty() || own.len() > 1 - first && own.iter().copied().eq(first..first + own.len())
    };
    let missing = "its periods in which customers come again do not follow one another";
    let periods = (!(follow(COHORT) && follow(RATE))).then_some(missing);
    periods.or_else(|| recency_fault(values)).or_else(|| {
        let has = |class: &&str| values.iter().any(|field| field.name() == class);
        let some = |all: [&str; 3]| (1..3).contains(&all.iter().filter(|c| has(c)).count());
        let missing = "its classes of users who spend more or less are not all";
        (some(DIFFUSION) || some(DIFFUSION_YEAR)).then_some(missing)
    })
}

/// What is wrong with the classes of a table: they begin at 0, follow one another, and the last one
/// alone has no end.
fn recency_fault(values: &[Arc<Field>]) -> Option<&'static str> {
    let columns = values.iter().map(|field| field.name().as_str()).filter(|c| is_recency(c));
    let columns: Vec<&str> = columns.collect();
    let whole = (0..columns.len()).map(|place| name(place, place + 1 == columns.len()));
    let right = whole.eq(columns.iter().map(|column| Some((*column).to_owned())));
    (columns.len() == 1 || !right).then_some("its classes of days since the last visit are not all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(classes: &[&str]) -> bool {
        are_whole(&classes.iter().map(|class| format!("{RECENCY}{class}")).collect::<Vec<_>>())
    }

    fn are_whole(names: &[String]) -> bool {
        let field = |name: &String| {
            Arc::new(Field::new(name.as_str(), arrow::datatypes::DataType::Float64, true))
        };
        fault(&names.iter().map(field).collect::<Vec<_>>()).is_none()
    }

    #[test]
    fn periods_follow_one_another() {
        let names = |insight: &str, periods: &[usize]| -> Vec<String> {
            periods.iter().map(|periods| format!("{insight}_{periods}")).collect()
        };
        for (insight, periods, whole) in [
            (COHORT, &[0, 1, 2][..], true),
            (COHORT, &[0, 1, 2, 3, 4, 5, 6], true),
            (COHORT, &[0], false),
            (COHORT, &[1, 2], false),
            (COHORT, &[0, 2], false),
            (RATE, &[1], true),
            (RATE, &[1, 2, 3], true),
            (RATE, &[2], false),
        ] {
            assert_eq!(are_whole(&names(insight, periods)), whole, "{insight} {periods:?}");
        }
        assert_eq!(rate_of("retention_rate_3"), ["retention_cohort_3", "retention_cohort_0"]);
        for other in ["retention_rate_0", "retention_rate_7", "retention_rate_01", "retention_rate"]
        {
            assert_eq!(periods(other, RATE), None, "{other}");
        }
    }

    #[test]
    fn classes_are_whole_or_not_there() {
        let all = ["0_6", "7_13", "14_29", "30_59", "60_89", "90_179", "180_up"];
        assert!(is_whole(&all) && is_whole(&[]) && is_whole(&["0_6", "7_13", "14_up"]));
        assert!(!is_whole(&["0_6", "7_13", "14_29"]) && !is_whole(&["0_6", "14_up"]));
        assert!(!is_whole(&["7_13", "14_up"]) && !is_whole(&["0_up"]));
        assert!(!is_whole(&["0_6", "7_up", "14_up"]));
        // The values beside a class are none, nor are other names.
        for other in ["recency_histogram_0_6_low", "recency_histogram_7_29", "recency_histogram_"] {
            assert!(!is_recency(other), "{other}");
        }
    }

    #[test]
    fn changes_are_whole_or_not_there() {
        let names = |all: &[&str]| all.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        for all in [DIFFUSION, DIFFUSION_YEAR] {
            assert!(are_whole(&names(&all)));
            assert!(!are_whole(&names(&all[..2])) && !are_whole(&names(&all[1..2])));
        }
        let own = |start: &str| crate::job::CHANGES.map(|class| format!("{start}_{class}"));
        assert_eq!(DIFFUSION, own("diffusion_classes"));
        assert_eq!(DIFFUSION_YEAR, own("diffusion_classes_year"));
    }

    #[test]
    fn classes_are_those_of_jobs() {
        assert_eq!(FROM, crate::job::RECENCY_CLASSES);
        let names = crate::job::recency_names(3).map(|name| format!("{RECENCY}{name}"));
        assert!(names.collect::<Vec<_>>().iter().all(|name| is_recency(name)));
    }
}
