//! Bad input: every mistake named, with its line; exit 2; nothing written, nothing charged.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use crate::common::{JOB, Workshop, command, payments, shown};

/// Runs a changed [`JOB`]; the run must fail with exit 2 and leave nothing behind.
fn refused(name: &str, workshop: &Workshop, changes: &[(&str, &str)]) {
    let mut job = JOB.to_owned();
    for (from, to) in changes {
        assert!(job.contains(from), "{name}: {from}");
        job = job.replacen(from, to, 1);
    }
    workshop.text("job.toml", &job);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(2), "{name}: {}", shown(workshop, &output));
    assert!(!workshop.path("ledger.sqlite").exists(), "{name}: charged");
    assert!(!workshop.path("releases").exists(), "{name}: written");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for token in ["u07", "u14"] {
        assert!(!stderr.contains(token), "{name}: a token in {stderr}");
    }
    assert_snapshot!(name, shown(workshop, &output));
}

#[test]
fn privacy_parameters() {
    for (name, epsilon) in [
        ("epsilon_zero", "\"0\""),
        ("epsilon_negative", "-1"),
        ("epsilon_nan", "\"NaN\""),
        ("epsilon_toml_nan", "nan"),
        ("epsilon_huge", "\"1e400\""),
        ("epsilon_toml_huge", "1e400"),
        ("epsilon_list", "[1]"),
    ] {
        let change = format!("epsilon = {epsilon}");
        refused(name, &Workshop::new(), &[("epsilon = \"1\"", &change)]);
    }
    refused("delta_zero", &Workshop::new(), &[("\"1e-6\"", "\"0\"")]);
    refused("unit_unknown", &Workshop::new(), &[("unit    = \"user\"", "unit = \"household\"")]);
}

#[test]
fn job_files() {
    let workshop = Workshop::new;
    refused("toml_wrong", &workshop(), &[("[privacy]", "[privacy")]);
    refused("section_missing", &workshop(), &[("[privacy]", "[privacies]")]);
    refused("key_misspelt", &workshop(), &[("timezone  =", "timezon  =")]);
    refused("zone_misspelt", &workshop(), &[("Asia/Shanghai", "Asia/Shangai")]);
    refused("period_reversed", &workshop(), &[("2025-01-31", "2024-12-31")]);
    refused("level_key_unknown", &workshop(), &[("\"region\", \"week\"", "\"regoin\", \"week\"")]);
    refused("insight_unknown", &workshop(), &[("\"average_ticket\"]", "\"repeat_rate\"]")]);
    refused("bound_missing", &workshop(), &[("payments = \"10\", ", "")]);
    refused("bound_zero", &workshop(), &[("payments = \"10\"", "payments = \"0\"")]);
    refused(
        "key_set_missing",
        &workshop(),
        &[("wallet = [\"alipay\", \"apple_pay\", \"card\"]", "")],
    );
    refused("currency_unknown", &workshop(), &[("\"CNY\"", "\"CNZ\"")]);
    refused("currencies_without_column", &workshop(), &[("\"CNY\"", "[\"CNY\", \"USD\"]")]);
    let sql = "amount = \"amount - AVG(amount) OVER (PARTITION BY merchant)\"";
    refused("sql_of_other_rows", &workshop(), &[("amount = \"amount\"", sql)]);
    refused("sql_wrong", &workshop(), &[("amount = \"amount\"", "amount = \"amount +\"")]);
    let tiny = [("\"1\"", "\"0.000001\""), ("\"1e-6\"", "\"1e-15\"")];
    let vast = ("\"500.00\"", "\"1000000000.00\"");
    refused("too_small_a_budget", &workshop(), &[tiny[0], tiny[1], vast]);
}

#[test]
fn many_mistakes_at_once() {
    refused(
        "many_mistakes",
        &Workshop::new(),
        &[
            ("version   = 1", "version   = 2"),
            ("\"test\"", "\"my test\""),
            ("recipient = \"partner\"", "recipent = \"partner\""),
            ("Asia/Shanghai", "Mars/Olympus"),
            ("first_day = 2025-01-01", "first_day = \"2025-01-01\""),
            ("currency  = \"CNY\"", "currency  = \"yuan\""),
            ("amount = \"amount\"", "amount = \"SUM(amount)\""),
            ("unit    = \"user\"", "unit    = \"card\""),
            ("epsilon = \"1\"", "epsilon = \"-1\""),
            ("delta_max   = \"1e-5\"", "delta_max   = \"2\""),
            ("[\"region\", \"week\"]", "[\"region\", \"region\"]"),
            ("keys     = \"public\"", "keys     = \"secret\""),
            ("customers = \"2\"", "customers = \"two\""),
        ],
    );
}

#[test]
fn files() {
    let workshop = Workshop::new();
    let files = "files     = [\"payments.parquet\"]";
    refused("glob_of_nothing", &workshop, &[(files, "files = [\"nothing/*.parquet\"]")]);
    refused("file_missing", &workshop, &[(files, "files = [\"nothing.parquet\"]")]);
    refused("remote_path", &workshop, &[(files, "files = [\"s3://bucket/x.parquet\"]")]);
    workshop.text("empty.parquet", "");
    refused("file_empty", &workshop, &[(files, "files = [\"empty.parquet\"]")]);
    workshop.text("text.parquet", "this is no Parquet file, but long enough to look at");
    refused("file_of_another_format", &workshop, &[(files, "files = [\"text.parquet\"]")]);
    workshop.text("data.bin", "x");
    refused("format_unclear", &workshop, &[(files, "files = [\"data.bin\"]")]);
    workshop.text("data.csv", "user\n1\n");
    let mixed = "files = [\"payments.parquet\", \"data.csv\"]";
    refused("formats_mixed", &workshop, &[(files, mixed)]);
    std::fs::create_dir(workshop.path("empty_folder")).expect("makes");
    refused("folder_of_nothing", &workshop, &[(files, "files = [\"empty_folder\"]")]);
    refused("registry_missing", &workshop, &[("merchants.parquet", "nothing.parquet")]);
    // Cut in the middle: the footer is gone.
    let whole = std::fs::read(workshop.path("payments.parquet")).expect("reads");
    let half = std::fs::File::create(workshop.path("half.parquet")).expect("creates");
    std::io::Write::write_all(&mut &half, &whole[..whole.len() / 2]).expect("writes");
    refused("file_cut_off", &workshop, &[(files, "files = [\"half.parquet\"]")]);
}

#[test]
fn columns() {
    let workshop = Workshop::new();
    refused("column_missing", &workshop, &[("amount = \"amount\"", "amount = \"amout\"")]);
    refused(
        "amount_of_wrong_type",
        &workshop,
        &[("amount = \"amount\"", "amount = \"amount > 5\"")],
    );
    refused("user_of_wrong_type", &workshop, &[("user = \"user\"", "user = \"amount * 0.5\"")]);
    refused("time_text_without_format", &workshop, &[("time = \"time\"", "time = \"merchant\"")]);
    let filter = ("first_day =", "where = \"amount\"\nfirst_day =");
    refused("where_of_wrong_type", &workshop, &[filter]);
    let with_text = ("first_day =", "where = \"amount > wallet\"\nfirst_day =");
    refused("where_unfit", &workshop, &[with_text]);
    // Another type in the second of two files.
    let mut other = payments();
    let texts = vec!["1"; other.height()];
    other.with_column(Series::new("amount".into(), texts).into_column()).expect("a column");
    workshop.parquet("payments2.parquet", other);
    refused("schema_differs", &workshop, &[("payments.parquet", "payments*.parquet")]);
    let mut mixed = payments();
    let codes: Vec<&str> = (0..mixed.height()).map(|i| ["CNY", "USD"][i % 2]).collect();
    mixed.with_column(Series::new("Currency".into(), codes).into_column()).expect("a column");
    workshop.parquet("mixed.parquet", mixed);
    refused("currency_not_mapped", &workshop, &[("payments.parquet", "mixed.parquet")]);
}

/// Root may read everything, so the program is run as nobody.
#[test]
fn a_folder_without_permission() {
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("locked")).expect("makes");
    workshop.parquet("locked/payments.parquet", payments());
    let lock = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(workshop.path("locked"), mode).expect("changes");
    };
    // The build's folder may be root's alone.
    let program = workshop.path("discretail");
    std::fs::copy(command(workshop.folder.path()).get_program(), &program).expect("copies");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(workshop.folder.path(), open).expect("changes");
    for (name, files) in [
        ("locked_file", "locked/payments.parquet"),
        ("locked_folder", "locked"),
        ("locked_pattern", "locked/*.parquet"),
    ] {
        workshop.text("job.toml", &JOB.replacen("payments.parquet", files, 1));
        lock(0o000);
        let mut run = std::process::Command::new(&program);
        run.args(["run", "job.toml"]).current_dir(workshop.folder.path());
        if is_root() {
            std::os::unix::process::CommandExt::uid(&mut run, 65_534);
        }
        let output = run.output().expect("starts");
        lock(0o755);
        let text = shown(&workshop, &output);
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        assert!(!workshop.path("ledger.sqlite").exists(), "{name}: charged");
        assert_snapshot!(name, text);
    }
}

/// Whoever owns a new file.
fn is_root() -> bool {
    let file = tempfile::tempfile().expect("a file");
    std::os::unix::fs::MetadataExt::uid(&file.metadata().expect("its owner")) == 0
}

/// The common payments with bad values in the first rows: one row of each kind.
fn with_bad_rows() -> DataFrame {
    let mut table = payments();
    let height = table.height();
    let good = |name: &str| -> Vec<Option<String>> {
        let column = table.column(name).expect("a column").str().expect("texts").clone();
        column.iter().map(|text| text.map(str::to_owned)).collect()
    };
    let (mut users, mut merchants, mut wallets) = (good("user"), good("merchant"), good("wallet"));
    (users[0], users[1]) = (None, Some("  ".to_owned()));
    (merchants[2], merchants[3]) = (None, Some("M9".to_owned()));
    (wallets[4], wallets[5]) = (None, Some("cash".to_owned()));
    let number = |name: &str| -> Vec<Option<i64>> {
        table.column(name).expect("a column").i64().expect("numbers").iter().collect()
    };
    let (mut times, amounts) = (number("time"), number("amount"));
    (times[6], times[7]) = (None, Some(1_000_000_000));
    let major = |i: usize| match i {
        8 => None,
        9 => Some("12.345".to_owned()),
        10 => Some("10000000000.01".to_owned()),
        11 => Some("twelve".to_owned()),
        _ => amounts[i].map(|minor| format!("{:.2}", minor as f64 / 100.0)),
    };
    let amounts: Vec<Option<String>> = (0..height).map(major).collect();
    for column in [
        Series::new("user".into(), users),
        Series::new("merchant".into(), merchants),
        Series::new("wallet".into(), wallets),
        Series::new("time".into(), times),
        Series::new("amount".into(), amounts),
    ] {
        table.with_column(column.into_column()).expect("a column");
    }
    table
}

#[test]
fn bad_rows_go_to_quarantine_with_their_reasons() {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", with_bad_rows());
    // Twelve of 1,200 are exactly 1 %.
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let file = workshop.path("quarantine/test.csv");
    let mut lines: Vec<String> =
        std::fs::read_to_string(&file).expect("a file").lines().map(str::to_owned).collect();
    lines[1..].sort();
    assert_snapshot!("quarantine", lines.join("\n"));
    let mode = |path: &str| {
        let metadata = std::fs::metadata(workshop.path(path)).expect("there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("quarantine"), mode("quarantine/test.csv")), (0o700, 0o600));
    // Nothing of them is shown.
    assert_snapshot!("quarantine_run", shown(&workshop, &output));
}

#[test]
fn too_many_bad_rows_stop_the_job_before_it_is_charged() {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", with_bad_rows());
    workshop.text("job.toml", &JOB.replace("[merchants]", "max_bad_share = 0.0099\n[merchants]"));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!("bad_rows_too_many", shown(&workshop, &output));
    assert!(!workshop.path("releases").exists());
    assert!(workshop.path("quarantine/test.csv").exists());
    // The reservation was given back: the whole budget is there.
    let plan = workshop.discretail(&["plan", "job.toml"]);
    assert!(String::from_utf8_lossy(&plan.stdout).contains("100.00 % is left"));
}
