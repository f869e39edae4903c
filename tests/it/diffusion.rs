//! Users who spend more or less than in the period before, from the job to a release that is
//! verified.

use insta::assert_snapshot;
use polars::prelude::DataFrame;

use crate::common::{Workshop, fitted, paid, refused, sharp};
use crate::verify::{Copy, names, with_float};

const REPORTS: &str = r#"
[[report]]
name      = "moves"
levels    = [["region", "week"]]
keys      = "public"
insights  = ["customers", "diffusion_classes", "diffusion_index"]
bounds    = { customers = "2", diffusion = "2" }
suppress_above = "never"
"#;

fn job() -> String {
    let files = "files = [\"merchants.parquet\"]";
    fitted(sharp().replace(files, &format!("{files}\nmin_per_cell = 1")) + REPORTS)
}

/// At one merchant in each region 400 users. A quarter comes in the week of 6 January alone, a
/// quarter in that of 13 January alone; of those who come in both a half spends more, and the
/// others as much.
fn payments() -> DataFrame {
    let mut rows = Vec::new();
    for (merchant, user) in ["M1", "M3"].into_iter().flat_map(|m| (0..400i64).map(move |u| (m, u)))
    {
        for (week, amount) in [(0, 900i64), (1, if user % 8 < 6 { 1_300 } else { 900 })] {
            if (user % 4 == 0 && week == 1) || (user % 4 == 1 && week == 0) {
                continue;
            }
            // From noon of 6 January in Shanghai on.
            let time = 1_736_136_000 + 86_400 * (7 * week + user % 7);
            rows.push((format!("{merchant}-{user}"), merchant, time, amount));
        }
    }
    paid(rows)
}

fn released() -> Workshop {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", payments());
    workshop.text("job.toml", &job());
    workshop.release();
    workshop
}

#[test]
fn users_who_spend_more_or_less_are_released_where_both_weeks_are_whole() {
    let workshop = released();
    let table = workshop.table("moves.region-week");
    let reasons = |name: &str| -> Vec<String> {
        let column = table.column(&format!("{name}_suppressed")).unwrap();
        let text = |row| column.get(row).unwrap().to_string().replace('"', "");
        (0..table.height()).map(text).collect()
    };
    // Weeks from 30 December, of which the first and the last are cut; two regions.
    let told = ["no-period", "no-period", "null", "null", "no-period"].repeat(2);
    for name in ["diffusion_classes_up", "diffusion_classes_down", "diffusion_index"] {
        assert_eq!(reasons(name), told, "{name}");
    }
    // In the second whole week 100 users are new, 100 are gone, and of 200 half spend more. In the
    // third one nobody is there any more. The noised values are as true as six deviations of the
    // noise: of 16 values, one is not in 3 of 10⁸ runs.
    let number = |name: &str, row| table.column(name).unwrap().f64().unwrap().get(row).unwrap();
    for (row, truths) in [(2, [200.0, 100.0, 100.0, 125.0]), (3, [0.0, 0.0, 300.0, 0.0])] {
        for region in [0, 5] {
            let row = row + region;
            let names = ["classes_up", "classes_flat", "classes_down", "index"];
            for (name, truth) in names.into_iter().zip(truths) {
                let name = format!("diffusion_{name}");
                let off = (number(&format!("{name}_unbiased"), row) - truth).abs();
                assert!(off < 6.0 * number(&format!("{name}_sd"), row), "{name} {row}: {off}");
                let ends = ["_low", "_high"].map(|end| number(&format!("{name}{end}"), row));
                let value = number(&name, row);
                assert!(ends[0] <= value && value <= ends[1], "{name} {row}");
                assert!(ends[1] - ends[0] < 120.0, "{name} {row}: {ends:?}");
            }
        }
    }
}

#[test]
fn changed_classes_and_indexes_are_found() {
    let workshop = released();
    let float = |column: &str, change: fn(f64) -> f64| {
        let copy = Copy::of(&workshop);
        copy.table("moves.region-week.parquet", |batch| {
            // The third row is the first that is compared.
            let (before, later) = (batch.slice(0, 2), batch.slice(2, batch.num_rows() - 2));
            let changed = with_float(&later, column, change);
            arrow::compute::concat_batches(&batch.schema(), [&before, &changed]).unwrap()
        });
        let failed = copy.failed(None);
        format!("{}: {}", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let ratio = "`diffusion_index` is not the ratio that it should be";
    assert!(float("diffusion_index_unbiased", |x| x + 0.1).contains(ratio));
    let grid = "`diffusion_classes_flat_unbiased` is not on its grid";
    assert!(float("diffusion_classes_flat_unbiased", |x| x + 1e-7).contains(grid));
    let below = "`diffusion_classes_down` is below zero";
    assert!(float("diffusion_classes_down", |_| -1.0).contains(below));
}

#[test]
fn levels_that_cannot_compare_what_users_spend_are_told_why() {
    let check = |changes: &[(&str, &str)]| {
        let text = changes.iter().fold(job(), |text, (from, to)| text.replace(from, to));
        refused(&Workshop::new(), &text)
    };
    let texts = [
        check(&[("[[\"region\", \"week\"]]", "[[\"region\"]]")]),
        check(&[("[[\"region\", \"week\"]]", "[[\"month\"]]")]),
        check(&[("\"diffusion_index\"", "\"diffusion_index_year\"")]),
        check(&[("\"diffusion_index\"", "\"diffusion_classes_year\"")]),
        check(&[
            ("\"diffusion_classes\", ", ""),
            ("[[\"region\", \"week\"]]", "[[\"week\"]]"),
            ("keys      = \"public\"", "keys = \"private\""),
        ]),
        check(&[("keys      = \"public\"", "keys = \"private\"")]),
        check(&[("unit    = \"user\"", "unit = \"user-week\"")]),
    ];
    assert_snapshot!(texts.join("\n"));
}
