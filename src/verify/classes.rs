//! Columns of classes whose number follows from the job: those of days since the last visit.

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

/// What is wrong with the classes of a table: they begin at 0, follow one another, and the last one alone
/// has no end.
pub(super) fn fault(values: &[Arc<Field>]) -> Option<&'static str> {
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
        let field = |class: &&str| {
            let name = format!("{RECENCY}{class}");
            Arc::new(Field::new(name, arrow::datatypes::DataType::Float64, true))
        };
        fault(&classes.iter().map(field).collect::<Vec<_>>()).is_none()
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
    fn classes_are_those_of_jobs() {
        assert_eq!(FROM, crate::job::RECENCY_CLASSES);
        let names = crate::job::recency_names(3).map(|name| format!("{RECENCY}{name}"));
        assert!(names.collect::<Vec<_>>().iter().all(|name| is_recency(name)));
    }
}
