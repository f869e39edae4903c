//! Text files, record by record: a line that is not as it should be is a bad row, and no other is.

use polars::prelude::{DataFrame, NamedFrom, Series};

use crate::common::{Workshop, shown};
use crate::sources::{SHANGHAI, base, job_with, majors, rows, text, times, totals, with};

/// The common payments as lines, with a note before the wallet that the job does not use, and a
/// column `end` behind it that it does not use either.
fn lines(table: &DataFrame, note: impl Fn(usize) -> String) -> Vec<String> {
    let (users, merchants) = (text(table, "user"), text(table, "merchant"));
    let (times, amounts) = (times(table, SHANGHAI, "%Y-%m-%d %H:%M:%S"), majors(table, '.'));
    let wallets = text(table, "wallet");
    let line = |row: usize| {
        let (user, merchant, time) = (&users[row], &merchants[row], &times[row]);
        format!("{user},{merchant},{time},{},{},{},", note(row), amounts[row], wallets[row])
    };
    (0..table.height()).map(line).collect()
}

const HEADER: &str = "user,merchant,time,note,amount,wallet,end";

fn job() -> String {
    job_with("max_bad_share = 0.2\ntime_format = \"%Y-%m-%d %H:%M:%S\"")
        .replace("payments.parquet", "payments.csv")
}

#[test]
fn bad_lines_change_no_others_also_if_columns_are_not_used() {
    let base = base();
    let good =
        lines(&rows(), |row| if row % 9 == 0 { "a 5\" pipe".to_owned() } else { "ok".to_owned() });
    let time = "2025-01-02 10:00:00";
    for (name, bad) in [
        ("one field more", format!("u01,M1,{time},Foo, Inc.,1.00,card,end")),
        ("one more, and the last is empty", format!("u01,M1,{time},Foo, Inc.,1.00,card,")),
        ("a comma in an amount", format!("u01,M1,{time},ok,1,234.00,card,")),
        ("many more", format!("u01,M1,{time},ok,1.00,card,,,,,,,x")),
        ("left open", format!("u01,M1,{time},\"oops,1.00,card,end")),
        ("backslashes", format!("u01,M1,{time},\"5\\\" pipe\",1.00,card,end")),
        ("text behind a quote", format!("u01,M1,{time},\"ok\" ,1.00,card,end")),
    ] {
        let workshop = Workshop::new();
        let mut all = vec![HEADER.to_owned()];
        for (row, line) in good.iter().enumerate() {
            all.push(line.clone());
            if row % 100 == 50 || row + 1 == good.len() {
                all.push(bad.clone());
            }
        }
        workshop.text("payments.csv", &all.join("\n"));
        assert!(totals(&workshop, &job()) == base, "{name}");
    }
}

/// As it is a record, the first line of a text without a header must tell neither which others are
/// too long, nor which columns there are.
#[test]
fn the_first_record_of_a_text_without_header_decides_on_no_other() {
    let base = base();
    let table = rows();
    let mut job = job().replace("max_bad_share", "csv = { header = false }\nmax_bad_share");
    for (at, name) in [(1, "user"), (2, "merchant"), (3, "time"), (5, "amount"), (6, "wallet")] {
        let column = format!("{name} = \"column_{at}\"");
        job = job.replace(&format!("{name} = \"{name}\""), &column);
    }
    let good = lines(&table, |_| "ok".to_owned());
    let short = "u01,M1".to_owned();
    for (name, first) in [("all alike", None), ("a short one", Some(&short))] {
        let workshop = Workshop::new();
        let mut all: Vec<String> = first.into_iter().cloned().collect();
        // Some have fields that others lack, and so has none of them before the others.
        let more = |(row, line): (usize, &String)| match row % 3 {
            1 => format!("{line},more,and more"),
            _ => line.clone(),
        };
        all.extend(good.iter().enumerate().map(more));
        workshop.text("payments.csv", &all.join("\n"));
        assert!(totals(&workshop, &job) == base, "{name}");
        all.reverse();
        workshop.text("payments.csv", &all.join("\n"));
        assert!(totals(&workshop, &job) == base, "{name}, from the last to the first");
    }
}

/// As editors and other programs leave them.
#[test]
fn blank_lines_are_no_rows() {
    let base = base();
    let good = lines(&rows(), |_| "ok".to_owned());
    let (first, second) = good.split_at(600);
    let blank = "\n\r\n  \n\t \r\n".repeat(200);
    let (first, second) = (first.join("\n"), second.join("\n"));
    let job = job().replace("max_bad_share = 0.2", "max_bad_share = 0");
    for text in [
        format!("{HEADER}\n{first}\n{second}\n{blank}"),
        format!("{HEADER}\n{first}\n{blank}{second}{blank}   "),
    ] {
        let workshop = Workshop::new();
        workshop.text("payments.csv", &text);
        assert!(totals(&workshop, &job) == base);
        assert!(!workshop.path("quarantine/test.csv").exists());
    }
}

/// Whatever `where` says, as it looks at fields that cannot be trusted.
#[test]
fn bad_lines_are_told_and_no_filter_hides_them() {
    let workshop = Workshop::new();
    let mut all = vec![HEADER.to_owned()];
    all.extend(lines(&rows(), |_| "ok".to_owned()));
    all.push("secret,M1,2025-01-02 10:00:00,Foo, Inc.,1.00,card,".to_owned());
    all.push("secret,M1,2025-01-02 10:00:00,\"oops,1.00,card,".to_owned());
    let mut bytes = (all.join("\n") + "\n").into_bytes();
    bytes.extend(b"secret\xff,M1,2025-01-02 10:00:00,ok,1.00,card,\n");
    // Nobody looks at the note.
    bytes.extend(b"u01,M1,2025-01-02 10:00:00,\xff,1.00,card,\n");
    let file = std::fs::File::create(workshop.path("payments.csv")).unwrap();
    std::io::Write::write_all(&mut &file, &bytes).unwrap();
    let filter = "where = \"wallet IN ('card', 'alipay', 'apple_pay')\"\nmax_bad_share = 0.2";
    workshop.text("job.toml", &job().replace("max_bad_share = 0.2", filter));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    let bad = std::fs::read_to_string(workshop.path("quarantine/test.csv")).unwrap();
    let mut reasons: Vec<&str> =
        bad.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "a quote in its line is neither closed nor doubled",
            "its line has more fields than the first line",
            "its line is not UTF-8",
        ]
    );
}

/// Too many of them stop the job, which says why.
#[test]
fn a_file_with_other_quotes_stops_the_job() {
    let workshop = Workshop::new();
    let mut all = vec![HEADER.to_owned()];
    all.extend(lines(&rows(), |row| {
        if row % 20 == 0 { "\"a 5\\\" pipe\"".to_owned() } else { "ok".to_owned() }
    }));
    workshop.text("payments.csv", &all.join("\n"));
    workshop.text("job.toml", &job().replace("max_bad_share = 0.2\n", ""));
    let output = workshop.discretail(&["run", "job.toml"]);
    let text = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("a quote in its line is neither closed nor doubled"), "{text}");
}

/// Records that are longer than what is read at once, and line ends within.
#[test]
fn records_may_be_long_and_have_line_ends() {
    let note = |row: usize| {
        let long = if row == 700 { 9 << 20 } else { 20_000 };
        match row % 3 {
            0 => format!("\"{}, \"\"quoted\"\"\n\"", "line\r\n".repeat(long.min(900_000) / 6)),
            1 => "x".repeat(long),
            _ => String::new(),
        }
    };
    let workshop = Workshop::new();
    let all = [vec![HEADER.to_owned()], lines(&rows(), note)].concat();
    workshop.text("payments.csv", &("\u{feff}".to_owned() + &all.join("\r\n")));
    assert!(std::fs::metadata(workshop.path("payments.csv")).unwrap().len() > 3 * (4 << 20));
    assert!(totals(&workshop, &job()) == base());
}

/// Lines are held whole, so that without a limit one could take all memory.
#[test]
fn a_line_without_end_is_told_with_its_number() {
    let workshop = Workshop::new();
    let good = lines(&rows(), |_| "\"two\nlines\"".to_owned());
    let all = [vec![HEADER.to_owned()], good].concat().join("\n");
    let first = all.matches('\n').count() + 2;
    workshop.text("job.toml", &job());
    for (length, code) in [((64 << 20) - 16, 0), ((64 << 20) + 1, 2)] {
        workshop.text("payments.csv", &format!("{all}\nu01,M1,,{}", "x".repeat(length)));
        let output = workshop.discretail(&["run", "job.toml"]);
        let text = shown(&workshop, &output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        let told = format!("line {first} of payments.csv is longer than 64 MiB");
        assert_eq!(text.contains(&told), code == 2, "{text}");
        assert_eq!(text.contains("error[line-too-long]"), code == 2, "{text}");
        for left in ["ledger.sqlite", "releases"] {
            let left = workshop.path(left);
            let _ = std::fs::remove_file(&left).or_else(|_| std::fs::remove_dir_all(&left));
        }
    }
}

/// What comes out of arithmetic does not depend on how wide numbers are stored.
#[test]
fn whole_numbers_of_any_width_are_added_up_alike() {
    use polars::prelude::DataType;
    let table = rows();
    let amounts = table.column("amount").unwrap().as_materialized_series().clone();
    let job = job_with("where = \"amount * 100 > -60000\"")
        .replace("amount = \"amount\"", "amount = \"amount * 100 - 5\"");
    let stored = |dtype: DataType| {
        let workshop = Workshop::new();
        let mut table = table.clone();
        with(&mut table, amounts.cast(&dtype).unwrap());
        workshop.parquet("payments.parquet", table);
        totals(&workshop, &job)
    };
    let wide = stored(DataType::Int64);
    for dtype in [DataType::Int16, DataType::Int32] {
        assert!(stored(dtype.clone()) == wide, "{dtype}");
    }
    // Refunds of numbers without a sign.
    let positive: Vec<u32> = (0..table.height() as u32).map(|row| 100 + row).collect();
    let signed = "CASE WHEN wallet = 'card' THEN -amount ELSE amount - 200 END";
    let job = job_with("").replace("amount = \"amount\"", &format!("amount = \"{signed}\""));
    let stored = |column: Series| {
        let workshop = Workshop::new();
        let mut table = table.clone();
        with(&mut table, column);
        workshop.parquet("payments.parquet", table);
        totals(&workshop, &job)
    };
    let narrow = Series::new("amount".into(), positive);
    let wide = narrow.cast(&DataType::Int64).unwrap();
    assert!(stored(narrow) == stored(wide));
}

/// Files are fine, and the message says so.
#[test]
fn an_expression_that_fails_on_a_row_is_named() {
    for (key, job) in [
        ("where", job_with("where = \"CAST(wallet AS BOOLEAN)\"")),
        (
            "wallet",
            job_with("").replace("wallet = \"wallet\"", "wallet = \"CAST(wallet AS BOOLEAN)\""),
        ),
    ] {
        let workshop = Workshop::new();
        workshop.parquet("payments.parquet", rows());
        workshop.text("job.toml", &job);
        let output = workshop.discretail(&["run", "job.toml"]);
        let text = shown(&workshop, &output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(&format!("error[expression-failed]: `{key}` cannot")), "{text}");
        // polars panics at some, on threads of its own.
        assert_eq!(text.matches("error[").count(), 1, "{text}");
        let verbose = shown(&workshop, &workshop.discretail(&["-v", "run", "job.toml"]));
        assert!(!verbose.contains("error[bug-found]"), "{verbose}");
        assert!(!workshop.path("releases").exists());
    }
}
