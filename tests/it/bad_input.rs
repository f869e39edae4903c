//! Bad jobs, bad files and bad rows: every mistake is named, and nothing is written or charged.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, NullArray,
    RecordBatch, StringArray, StructArray, Time64MicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use insta::assert_snapshot;
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use crate::common::{JOB, Workshop, command, payments, registry, shown};

/// Runs the job and checks that it is invalid and leaves no trace.
pub(crate) fn refused(workshop: &Workshop, job: &str) -> String {
    workshop.text("job.toml", job);
    let output = workshop.discretail(&["run", "job.toml"]);
    let text = shown(workshop, &output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "{text}");
    for trace in ["ledger.sqlite", "releases", "quarantine"] {
        assert!(!workshop.path(trace).exists(), "{trace} was made: {text}");
    }
    text
}

/// Runs `check`, which shows the same mistakes of the job file as `run`.
fn faults(job: &str) -> String {
    let workshop = Workshop::new();
    let text = refused(&workshop, job);
    let checked = shown(&workshop, &workshop.discretail(&["check", "job.toml"]));
    assert_eq!(checked, text, "check and run differ");
    text
}

fn with(name: &str, column: Series) -> Workshop {
    let workshop = Workshop::new();
    let mut table = payments();
    table.with_column(column.with_name(name.into()).into_column()).unwrap();
    workshop.parquet("payments.parquet", table);
    workshop
}

// Job files

#[test]
fn a_slip_is_told_once_and_with_what_to_write() {
    let mut texts = String::new();
    for (from, to) in [
        ("user = \"user\"", "user = 5"),
        ("user = \"user\"", "user = \"user id\""),
        ("amount = \"amount\"", "amount = \"Amount (CNY)\""),
        ("[\"payments.parquet\"]", "[\"\"]"),
        ("\"ledger.sqlite\"", "\"\""),
    ] {
        let text = faults(&JOB.replace(from, to));
        assert_eq!(text.matches("error[").count(), 1, "{text}");
        texts += &text;
    }
    assert_snapshot!(texts);
}

#[test]
fn a_job_gets_every_mistake_at_once() {
    assert_snapshot!(faults(
        r#"version   = 2
job       = "../escape"
recipent  = "partner"

[payments]
files     = ["payments.parquet"]
format    = "xlsx"
csv       = { separator = ";;", decimal = "·", header = "yes" }
timezone  = "Asia/Shangai"
first_day = "2025-01-01"
last_day  = 2025-01-31
currency  = "RMB"
time_format = "%Q"
times_without_zone = "zulu"
max_bad_share = 2
where     = "amount >"
columns   = { user = "user", merchant = "merchant", time = "time", amount = "SUM(amount)", wallet = "wallet" }

[merchants]
files = ["merchants.parquet"]

[keys]
wallet = ["alipay", "alipay", ""]
walet  = ["card"]

[privacy]
unit    = "day"
epsilon = 0
delta   = "1e-30"

[ledger]
file        = "ledger.sqlite"
population  = "people"
epsilon_max = "lots"
delta_max   = "1e-5"

[[report]]
name     = "market"
levels   = [[], ["regon", "week"], ["wallet", "wallet"], []]
keys     = "publik"
insights = ["customers", "payment", "sales"]
bounds   = { customers = "0.5", sales = ["500.00", "1"] }
cell_cap = { customers = "3" }

[[report]]
name      = "found"
levels    = [["merchant"]]
keys      = "private"
cells_max = 0
insights  = []
bounds    = { sales = "300" }
weights   = [1, 2]
"#
    ));
}

#[test]
fn sections_may_be_missing() {
    assert_snapshot!(faults("version = 1\n"));
}

#[test]
fn reports_are_checked_without_payments() {
    assert_snapshot!(faults(
        "version = 1\njob = \"a\"\nrecipient = \"b\"\n[[report]]\nname = \"r\"\n\
         levels = [[\"region\"]]\nkeys = \"public\"\ninsights = [\"custmers\"]\nbound = 1\n\
         suppress_above = \"half\"\n"
    ));
}

#[test]
fn wrong_toml_is_shown_where_it_is() {
    assert_snapshot!(faults(&JOB.replace("timezone  =", "timezone")));
}

#[test]
fn keys_twice_are_wrong_toml() {
    assert_snapshot!(faults(&JOB.replace("[ledger]", "delta = \"1e-5\"\n[ledger]")));
}

#[test]
fn unknown_keys_get_a_suggestion() {
    let job = JOB.replace("currency  =", "curency   =").replace("cells_max", "max_cells");
    assert_snapshot!(faults(&job.replace("population ", "populaton ")));
}

#[test]
fn reports_name_known_keys() {
    let job = JOB.replace("[\"region\", \"week\"]", "[\"regoin\", \"year\"]");
    assert_snapshot!(faults(&job));
}

#[test]
fn what_levels_need_is_there() {
    let keys = "[keys]\nwallet = [\"alipay\", \"apple_pay\", \"card\"]\n";
    let merchants = "[merchants]\nfiles = [\"merchants.parquet\"]\n";
    let level = "[\"region\", \"week\"]";
    let last = "last_day  = 2025-01-31";
    let mut texts = String::new();
    for day in ["2024-12-31", "2035-01-09"] {
        texts += &faults(&JOB.replace(last, &format!("last_day  = {day}")));
    }
    texts += &faults(&JOB.replace(keys, ""));
    texts += &faults(&JOB.replace(merchants, "").replace(level, "[\"merchant\"]"));
    texts += &faults(&JOB.replace(merchants, ""));
    // 3,660 days of 24 hours, for 300 wallets: 26 million.
    let wallets: Vec<String> = (0..300).map(|wallet| format!("w{wallet}")).collect();
    let many = JOB.replace(last, "last_day  = 2035-01-08");
    let many = many.replace(level, "[\"wallet\", \"day\", \"hour\"]");
    texts += &faults(&many.replace(keys, &format!("[keys]\nwallet = {wallets:?}\n")));
    assert_snapshot!(texts);
}

/// Where thresholds may fail with a chance of 0.0045, no ε of 0.001 is left.
#[test]
fn budgets_are_enough_for_something() {
    let small = JOB.replace("epsilon = \"1\"", "epsilon = \"0.001\"");
    let job = small.replace("\"1e-6\"", "\"0.01\"").replace("\"1e-5\"", "\"0.01\"");
    let mut texts = faults(&job);
    let ledger = small.replace("\"4\"", "\"0.001\"").replace("\"1e-5\"", "\"0.01\"");
    texts += &refused(&Workshop::new(), &ledger);
    let workshop = Workshop::new();
    let init = ["ledger", "init", "ledger.sqlite", "--population", "people"];
    let budget = ["--epsilon-max", "0.001", "--delta-max", "0.01"];
    texts += &shown(&workshop, &workshop.discretail(&[&init[..], &budget].concat()));
    assert!(!workshop.path("ledger.sqlite").exists());
    assert_snapshot!(texts);
}

#[test]
fn lists_have_something_in_them() {
    let public = "levels   = [[], [\"region\", \"week\"], [\"wallet\"]]";
    let mut texts = String::new();
    for (line, replaced) in [
        (public, "levels   = []"),
        ("[[report]]", "[[report]]\nshare_of = []"),
        ("[[report]]", "[[report]]\nweights = []"),
        ("customers = \"3\"", "customers = []"),
        ("\"payments.parquet\"", ""),
        ("[payments]", "[payments]\nticket_edges = []"),
    ] {
        texts += &faults(&JOB.replacen(line, replaced, 1));
    }
    assert_snapshot!(texts);
}

#[test]
fn no_job_is_called_latest() {
    assert_snapshot!(faults(&JOB.replace("\"test\"", "\"latest\"")));
}

#[test]
fn what_nothing_looks_at_is_told() {
    let mut texts = String::new();
    for (line, replaced) in [
        ("[[report]]", "[[report]]\nlook_back = 30"),
        ("[[report]]", "[[report]]\ncells_max = 8"),
        ("sales = \"500.00\" }", "sales = \"500.00\", visits = 3, refunds = \"9\" }"),
        ("cells_max = 8", "cells_max = 8\ncell_caps = { payments = 2 }"),
        ("[\"merchants.parquet\"]", "[\"merchants.parquet\"]\nticket_groups = \"category\""),
        ("currency  = \"CNY\"", "currency  = \"CNY\"\nticket_edges = [5, 10]"),
        ("[ledger]", "[ledger]\nsame_time_as = \"time\""),
        ("[keys]", "[keys]\nshop = [\"M1\"]"),
    ] {
        let shop =
            JOB.replace("wallet = \"wallet\" }", "wallet = \"wallet\", shop = \"merchant\" }");
        texts += &faults(&shop.replacen(line, replaced, 1));
    }
    assert_snapshot!(texts);
}

/// What the job itself does not tell, the files do: before anything is charged.
#[test]
fn how_text_files_are_written_is_said_of_text_files() {
    let csv = "[payments]\ncsv = { separator = \";\" }";
    let mut texts = faults(&JOB.replace("[payments]", csv));
    texts += &faults(&JOB.replace("[payments]", &format!("{csv}\nformat = \"ipc\"")));
    let workshop = Workshop::new();
    workshop.parquet("folder/1.parquet", payments());
    for files in ["folder", "*ments*"] {
        let job = JOB.replace("[payments]", csv).replace("payments.parquet", files);
        texts += &refused(&workshop, &job);
    }
    assert_snapshot!(texts);
    // Text files take it.
    let (workshop, job) = self::csv("");
    workshop.text("job.toml", &job.replace("[payments]", "[payments]\ncsv = { header = true }"));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
}

#[test]
fn days_that_are_looked_back_on_are_fewer_than_the_job_has() {
    let new = JOB
        .replace("\"average_ticket\"]", "\"returning_customers\"]")
        .replace("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[\"week\"]]");
    let mut texts = faults(&new);
    let stated =
        |days: &str| new.replacen("[[report]]", &format!("[[report]]\nlook_back = {days}"), 1);
    texts += &faults(&stated("31"));
    texts += &faults(&stated("0"));
    texts += &faults(&stated("30").replace("[[\"week\"]]", "[[\"hour\"]]"));
    assert_snapshot!(texts);
}

#[test]
fn what_is_shared_out_is_a_key_of_a_level() {
    let report = "[[report]]\nname = \"shares\"\nlevels = [[\"wallet\"]]\nkeys = \"public\"\n\
                  insights = [\"payments_share\"]\nshare_of = [\"walet\"]\n";
    assert_snapshot!(faults(&format!("{JOB}\n{report}")));
}

#[test]
fn columns_have_no_name_of_a_part_of_the_time() {
    for name in ["day", "week", "month", "quarter", "weekday", "hour"] {
        let job = JOB.replace("wallet = \"wallet\" }", &format!("{name} = \"wallet\" }}"));
        let text = faults(&job);
        assert!(text.contains("error[column-name-reserved]: `"), "{name}: {text}");
    }
    let job = JOB.replace("\"wallet\" }", "\"wallet\", day = \"wallet\" }");
    assert_snapshot!(faults(&job));
}

#[test]
fn expectations_are_numbers_that_can_be() {
    let mut texts = String::new();
    for expect in [
        "users = 100",
        "users = \"0\"\npayments = \"many\"\nsales = \"1.005\"",
        "users = 100\npayments = 99",
        "users = 1.5\npayments = 1e16\nsales = -3\nvisitors = 5",
    ] {
        let job = JOB.replace("[privacy]", &format!("[expect]\n{expect}\n\n[privacy]"));
        texts += &faults(&job);
    }
    assert_snapshot!(texts);
}

#[test]
fn privacy_parameters_are_decimals_in_range() {
    let mut texts = String::new();
    for value in
        ["0", "-1", "\"-1\"", "nan", "\"NaN\"", "1e400", "\"1e400\"", "inf", "\"\"", "true"]
    {
        texts += &format!("=== {value}\n");
        texts += &faults(&JOB.replace("epsilon = \"1\"", &format!("epsilon = {value}")));
    }
    for value in ["0", "\"1e-16\"", "\"0.5\"", "nan"] {
        texts += &format!("=== delta {value}\n");
        texts += &faults(&JOB.replace("delta   = \"1e-6\"", &format!("delta = {value}")));
    }
    assert_snapshot!(texts);
}

/// Else a release could not be written once it is paid.
#[test]
fn names_of_tables_fit_a_file_system() {
    let names = [1, 2, 3, 4, 5].map(|n| format!("a_code_of_{}_level_{n}", "merchants_".repeat(3)));
    let columns: String = names.iter().map(|name| format!(", {name} = \"wallet\"")).collect();
    let job = JOB.replace("wallet = \"wallet\" }", &format!("wallet = \"wallet\"{columns} }}"));
    let level = |count: usize| format!("[\"wallet\", \"day\"], {:?}", &names[..count]);
    let job = |count: usize| job.replace("[\"wallet\", \"day\"]", &level(count));
    assert_snapshot!(faults(&job(5)));
    let workshop = Workshop::new();
    workshop.text("job.toml", &job(4));
    let output = workshop.discretail(&["check", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
}

#[test]
fn sql_looks_at_one_row() {
    let mut texts = String::new();
    for sql in [
        "SUM(amount)",
        "amount - AVG(amount) OVER (PARTITION BY merchant)",
        "ROW_NUMBER() OVER (ORDER BY amount)",
        "LAG(amount) OVER (ORDER BY time)",
        "(SELECT MAX(amount) FROM self)",
        "COUNT(*)",
        "100",
        "amount +",
        "nosuch(amount)",
        "EXTRACT(EPOCH FROM time AT TIME ZONE 'UTC')",
        "amount COLLATE \"C\"",
        "DATE(MAX(time))",
    ] {
        let columns = format!("amount = {sql:?}");
        texts += &format!("=== {sql}\n{}", faults(&JOB.replace("amount = \"amount\"", &columns)));
    }
    assert_snapshot!(texts);
}

#[test]
fn currencies_are_picked_or_split() {
    let two = "currency  = [\"CNY\", \"JPY\"]";
    let mut texts = faults(&JOB.replace("currency  = \"CNY\"", two));
    let job = JOB.replace("columns   = {", "columns   = { currency = \"wallet\",");
    texts += &faults(&job.replace("currency  = \"CNY\"", two));
    texts += &faults(&JOB.replace("currency  = \"CNY\"", "currency  = []"));
    assert_snapshot!(texts);
}

#[test]
fn an_unmapped_column_of_currencies_is_an_error() {
    let workshop = with("Currency", Series::new("".into(), vec!["CNY"; 1200]));
    assert_snapshot!(refused(&workshop, JOB));
}

#[test]
fn the_table_of_merchants_is_checked() {
    let mut texts = String::new();
    let workshop = Workshop::new();
    let table = registry();
    let twice = table.vstack(&table.head(Some(1))).unwrap();
    workshop.parquet("twice.parquet", twice);
    workshop.parquet("empty.parquet", table.head(Some(0)));
    let mut blank = table.clone();
    blank
        .with_column(Series::new("region".into(), [Some("n"), None, Some("s"), None]).into_column())
        .unwrap();
    workshop.parquet("blank.parquet", blank);
    workshop.parquet("no-id.parquet", table.drop("merchant_id").unwrap());
    workshop.text("garbage.parquet", "no parquet\n");
    workshop.text("merchants.xlsx", "a sheet\n");
    for file in ["twice", "empty", "blank", "no-id", "garbage", "missing"] {
        let job = JOB.replace("merchants.parquet", &format!("{file}.parquet"));
        texts += &format!("=== {file}\n{}", refused(&workshop, &job));
    }
    workshop.text("two.csv", "merchant_id,region,category,region\nM1,north,food,south\n");
    std::fs::create_dir(workshop.path("folder.parquet")).unwrap();
    workshop.parquet("folder.parquet/part.parquet", registry());
    let packed = std::fs::File::create(workshop.path("packed.csv")).unwrap();
    std::io::Write::write_all(&mut &packed, b"\x1f\x8b\x08\x00rest").unwrap();
    let head = "merchant_id,region,category\nM1,north,food\n";
    workshop.text("long.csv", &format!("{head}M2,north,fuel,more\n"));
    workshop.text("quotes.csv", &format!("{head}M2,north,\"5\" shop\nM3,south,\"food\"\n"));
    let odd = include_bytes!("files/run_end_encoded.arrow");
    let file = std::fs::File::create(workshop.path("odd.arrow")).unwrap();
    std::io::Write::write_all(&mut &file, odd).unwrap();
    for file in [
        "merchants.xlsx",
        "two.csv",
        "folder.parquet",
        "packed.csv",
        "long.csv",
        "quotes.csv",
        "odd.arrow",
        "merchants*.parquet",
    ] {
        texts += &refused(&workshop, &JOB.replace("merchants.parquet", file));
    }
    assert_snapshot!(texts);
}

// Files

#[test]
fn files_are_there_and_readable() {
    let workshop = Workshop::new();
    workshop.text("empty.parquet", "");
    workshop.text("garbage.parquet", "this is no Parquet file of u07\n");
    workshop.text("payments.xlsx", "a sheet\n");
    workshop.text("blank.csv", "\n");
    workshop.text("other.csv", "user\n");
    std::fs::create_dir(workshop.path("folder")).unwrap();
    workshop.parquet("hidden/_temporary/part.parquet", payments());
    std::fs::create_dir(workshop.path("links")).unwrap();
    for name in ["gone.parquet", "links/gone.parquet"] {
        std::os::unix::fs::symlink("nowhere", workshop.path(name)).unwrap();
    }
    let pipe = std::process::Command::new("mkfifo").arg(workshop.path("pipe.parquet")).status();
    assert!(pipe.unwrap().success());
    let whole = std::fs::read(workshop.path("payments.parquet")).unwrap();
    let half = std::fs::File::create(workshop.path("half.parquet")).unwrap();
    std::io::Write::write_all(&mut &half, &whole[..whole.len() / 2]).unwrap();
    let mut texts = String::new();
    for files in [
        "\"empty.parquet\"",
        "\"nothing-*.parquet\"",
        "\"nothing.parquet\"",
        "\"folder\"",
        "\"fold*\"",
        "\"hidden\"",
        "\"pipe.parquet\"",
        "\"p*e.parquet\"",
        "\"gone.parquet\"",
        "\"links\"",
        "\"***\"",
        "\"s3://bucket/payments.parquet\"",
        "\"payments.xlsx\"",
        "\"payments.parquet\", \"other.csv\"",
        "\"garbage.parquet\"",
        "\"half.parquet\"",
        "\"blank.csv\"",
        "",
        "\"nothing.parquet\", \"empty.parquet\", \"void.parquet\"",
    ] {
        let job = JOB.replace("\"payments.parquet\"", files);
        texts += &format!("=== {files}\n{}", refused(&workshop, &job));
    }
    assert!(!texts.contains("u07"), "a record is quoted");
    assert_snapshot!(texts);
}

/// A file that is larger than the addresses that the process may have; most of it is a hole.
#[test]
fn memory_that_runs_out_is_no_fault_of_the_files() {
    let (workshop, _) = csv("");
    let file = std::fs::OpenOptions::new().write(true).open(workshop.path("payments.csv"));
    file.unwrap().set_len(64 << 30).unwrap();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -v 8000000; exec \"$0\" run job.toml"]);
    limited.arg(command(workshop.folder.path()).get_program());
    let output = limited.current_dir(workshop.folder.path()).output().unwrap();
    let text = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(!workshop.path("ledger.sqlite").exists());
    assert_snapshot!(text);
}

#[test]
fn columns_are_there() {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", payments().drop("amount").unwrap());
    let job = JOB.replace("wallet = \"wallet\"", "wallet = \"LOWER(walet)\"");
    assert_snapshot!(refused(&workshop, &job));
}

#[test]
fn files_have_the_same_columns() {
    let workshop = Workshop::new();
    let table = payments();
    workshop.parquet("parts/1.parquet", table.clone());
    let job = JOB.replace("payments.parquet", "parts");
    let mut other = table.clone();
    other.rename("amount", "amt".into()).unwrap();
    workshop.parquet("parts/2.parquet", other);
    let mut texts = refused(&workshop, &job);
    let floats = Series::new("amount".into(), vec![1.5; 1200]);
    let mut other = table;
    other.with_column(floats.into_column()).unwrap();
    workshop.parquet("parts/2.parquet", other);
    texts += &refused(&workshop, &job);
    assert_snapshot!(texts);
}

/// Columns of many types, written with the arrow crate.
fn odd_types() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)]), Some([None])]);
    let field = Arc::new(Field::new("a", DataType::Int64, false));
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("whole", Arc::new(Int64Array::from(vec![1, 2]))),
        ("text", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("float", Arc::new(Float64Array::from(vec![1.5, 2.5]))),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"a"[..], b"b"]))),
        ("noon", Arc::new(Time64MicrosecondArray::from(vec![1, 2]))),
        ("nothing", Arc::new(NullArray::new(2))),
        ("list", Arc::new(list)),
        ("nested", Arc::new(StructArray::from(vec![(field, inner)]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

#[test]
fn wrong_types_are_named_in_plain_words() {
    let workshop = Workshop::new();
    let batch = odd_types();
    let file = std::fs::File::create(workshop.path("odd.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut texts = String::new();
    for (user, time, amount) in [
        ("float", "flag", "flag"),
        ("flag", "bytes", "bytes"),
        ("bytes", "noon", "noon"),
        ("list", "list", "list"),
        ("nothing", "nothing", "nothing"),
        ("nested", "nested", "nested"),
        ("text", "text", "text || 'x'"),
        ("text + noon", "whole", "flag + noon"),
    ] {
        let job = JOB
            .replace("payments.parquet", "odd.parquet")
            .replace("user = \"user\"", &format!("user = \"{user}\""))
            .replace("merchant = \"merchant\"", "merchant = \"text\"")
            .replace("wallet = \"wallet\"", "wallet = \"text\"")
            .replace("time = \"time\"", &format!("time = \"{time}\""))
            .replace("amount = \"amount\"", &format!("amount = \"{amount}\""));
        let job = job.replace("[payments]", "[payments]\nwhere = \"whole + 1\"");
        texts += &format!("=== {user}, {time}, {amount}\n{}", refused(&workshop, &job));
    }
    assert_snapshot!(texts);
}

/// polars would end the whole program on its rows, after the ledger has the job.
#[test]
fn expressions_name_a_field_of_nested_columns() {
    let workshop = Workshop::new();
    let batch = odd_types();
    let file = std::fs::File::create(workshop.path("payments.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let job = JOB
        .replace("user = \"user\"", "user = \"text\"")
        .replace("merchant = \"merchant\"", "merchant = \"text\"")
        .replace("wallet = \"wallet\"", "wallet = \"text\"")
        .replace("time = \"time\"", "time = \"nested.a\"")
        .replace("amount = \"amount\"", "amount = \"SQRT(nested)\"");
    assert_snapshot!(refused(&workshop, &job));
}

#[test]
fn names_of_zones_are_no_part_of_a_time_format() {
    let job = JOB.replace("[payments]", "[payments]\ntime_format = \"%Y-%m-%d %H:%M:%S %Z\"");
    assert_snapshot!(faults(&job));
}

/// As `nobody`, since permissions do not bind root.
fn as_nobody(workshop: &Workshop) -> Option<std::process::Output> {
    let binary = workshop.path("discretail");
    std::fs::copy(command(workshop.folder.path()).get_program(), &binary).unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(workshop.folder.path(), open).unwrap();
    let mut child = std::process::Command::new("setpriv");
    child.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(binary);
    child.args(["run", "job.toml"]).current_dir(workshop.folder.path());
    let output = child.output().ok()?;
    // Not root, or a sandbox that does not let us drop privileges: nothing to test.
    (!String::from_utf8_lossy(&output.stderr).starts_with("setpriv:")).then_some(output)
}

#[test]
fn folders_without_permission_are_named() {
    let mut texts = String::new();
    for files in ["locked", "locked/payments.parquet", "locked/*.parquet", "**/*.parquet"] {
        let workshop = Workshop::new();
        workshop.parquet("locked/payments.parquet", payments());
        workshop.text("job.toml", &JOB.replace("payments.parquet", files));
        let locked = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(workshop.path("locked"), locked).unwrap();
        let Some(output) = as_nobody(&workshop) else { return };
        texts += &format!("=== {files}\n{}", shown(&workshop, &output));
    }
    assert_snapshot!(texts);
}

#[test]
fn texts_need_a_time_format() {
    let texts = Series::new("".into(), vec!["2025-01-01"; 1200]);
    assert_snapshot!(refused(&with("time", texts), JOB));
}

// Rows

macro_rules! column {
    ($values:expr) => {
        Series::new("".into(), $values)
    };
}

const HEADER: &str = "user,merchant,time,amount,wallet,currency\n";
const GOOD: &str = "u1,M1,2025-01-02 10:00:00,12.34,card,CNY\n";

/// A workshop with CSV payments: 1,000 good rows and `bad`.
fn csv(bad: &str) -> (Workshop, String) {
    let workshop = Workshop::new();
    workshop.text("payments.csv", &format!("{HEADER}{}{bad}", GOOD.repeat(1000)));
    let job = JOB
        .replace("payments.parquet", "payments.csv")
        .replace("columns   = {", "columns   = { currency = \"currency\",")
        .replace("[payments]", "[payments]\ntime_format = \"%Y-%m-%d %H:%M:%S\"");
    workshop.text("job.toml", &job);
    (workshop, job)
}

fn mode(workshop: &Workshop, name: &str) -> u32 {
    std::fs::metadata(workshop.path(name)).unwrap().permissions().mode() & 0o777
}

const BAD_ROWS: &str = "\
,M1,2025-01-02 10:00:00,1.00,card,CNY
\"  \",M1,2025-01-02 10:00:00,1.00,card,CNY
secret-token,,2025-01-02 10:00:00,1.00,card,CNY
secret-token,M9,2025-01-02 10:00:00,1.00,card,CNY
secret-token,M1,,1.00,card,CNY
secret-token,M1,yesterday,1.00,card,CNY
secret-token,M1,2024-12-31 23:59:59,1.00,card,CNY
secret-token,M1,2025-02-01 00:00:00,1.00,card,CNY
secret-token,M1,2025-01-02 10:00:00,,card,CNY
secret-token,M1,2025-01-02 10:00:00,12.345,card,CNY
secret-token,M1,2025-01-02 10:00:00,\"1,234.00\",card,CNY
secret-token,M1,2025-01-02 10:00:00,ten,card,CNY
secret-token,M1,2025-01-02 10:00:00,NaN,card,CNY
secret-token,M1,2025-01-02 10:00:00,10000000000.01,card,CNY
secret-token,M1,2025-01-02 10:00:00,-1e20,card,CNY
secret-token,M1,2025-01-02 10:00:00,1.00,,CNY
secret-token,M1,2025-01-02 10:00:00,1.00,cash,CNY
secret-token,M1,2025-01-02 10:00:00,1.00,card,
secret-token,M1
";

#[test]
fn every_bad_row_has_a_reason() {
    let (workshop, job) = csv(BAD_ROWS);
    workshop.text("job.toml", &job.replace("[payments]", "[payments]\nmax_bad_share = 0.02"));
    let output = workshop.discretail(&["run", "job.toml", "--json"]);
    let text = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("secret-token"), "{text}");
    assert_eq!(mode(&workshop, "quarantine"), 0o700);
    assert_eq!(mode(&workshop, "quarantine/test.csv"), 0o600);
    assert_snapshot!(std::fs::read_to_string(workshop.path("quarantine/test.csv")).unwrap());
}

/// A file where the folder should be; without it, the job runs and pays once.
#[test]
fn a_quarantine_that_cannot_be_made_stops_the_job_before_anything_is_charged() {
    let (workshop, job) = csv("");
    workshop.text("job.toml", &job);
    workshop.text("quarantine", "");
    let output = workshop.discretail(&["run", "job.toml"]);
    let text = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(!workshop.path("releases").exists());
    std::fs::remove_file(workshop.path("quarantine")).unwrap();
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    let events = crate::crash::events(&workshop.path("ledger.sqlite"), "test");
    assert_eq!(events.iter().filter(|event| *event == "spent").count(), 1, "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("published"));
    assert_snapshot!(text);
}

#[test]
fn too_many_bad_rows_stop_the_job_before_anything_is_charged() {
    let (workshop, _) = csv(BAD_ROWS);
    let output = workshop.discretail(&["run", "job.toml"]);
    let mut text = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!workshop.path("releases").exists());
    // The default is 1 %.
    let plan = workshop.discretail(&["plan", "job.toml", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    let (workshop_2, _) = csv("");
    let fresh = workshop_2.discretail(&["plan", "job.toml", "--json"]);
    let fresh: serde_json::Value = serde_json::from_slice(&fresh.stdout).unwrap();
    assert_eq!(plan["left_mu_squared_units"], fresh["left_mu_squared_units"]);
    assert_eq!(plan["left_threshold_delta"], fresh["left_threshold_delta"]);
    let verbose = workshop.discretail(&["-v", "run", "job.toml", "--json"]);
    let verbose = shown(&workshop, &verbose);
    text += verbose.lines().nth(2).unwrap_or_default();
    assert!(!verbose.contains("secret-token"), "{verbose}");
    // The mended job runs under the same id, and the quarantine of the bad run is gone.
    let (mended, job) = csv("");
    std::fs::copy(mended.path("payments.csv"), workshop.path("payments.csv")).unwrap();
    workshop.text("job.toml", &job);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    assert!(!workshop.path("quarantine/test.csv").exists());
    assert_snapshot!(text);
}

/// Some rows are left out, and all others are bad.
#[test]
fn rows_that_are_all_bad_stop_the_job_before_anything_is_charged() {
    let (workshop, job) = csv("");
    let bad = ",M1,2025-01-02 10:00:00,1.00,card,CNY\nu1,M9,2025-01-02 10:00:00,1.00,card,CNY\n";
    let out = "u1,M1,2025-03-02 10:00:00,1.00,card,CNY\n";
    workshop.text("payments.csv", &format!("{HEADER}{}{bad}{out}", bad.repeat(2)));
    workshop.text("job.toml", &job.replace("[payments]", "[payments]\nmax_bad_share = 1"));
    let output = workshop.discretail(&["run", "job.toml"]);
    let text = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!workshop.path("releases").exists());
    let events = crate::crash::events(&workshop.path("ledger.sqlite"), "test");
    assert_eq!(events, ["reserved", "voided"]);
    let file = std::fs::read_to_string(workshop.path("quarantine/test.csv")).unwrap();
    assert_eq!(file.lines().count(), 7, "{file}");
    assert_snapshot!(text);
}

#[test]
fn one_bad_row_in_a_hundred_is_not_more_than_one_percent() {
    for (bad, code) in [(10, 0), (11, 2)] {
        let (workshop, _) = csv(&",M1,2025-01-02 10:00:00,1.00,card,CNY\n".repeat(bad));
        let payments = format!(
            "{HEADER}{}{}",
            GOOD.repeat(1000 - bad),
            ",M1,2025-01-02 10:00:00,1.00,card,CNY\n".repeat(bad)
        );
        workshop.text("payments.csv", &payments);
        let output = workshop.discretail(&["run", "job.toml"]);
        assert_eq!(output.status.code(), Some(code), "{bad}: {}", shown(&workshop, &output));
    }
}

/// The reasons of bad rows with this column, ten in a thousand.
fn reasons(name: &str, good: Series, bad: Series) -> Vec<String> {
    let mut column = good.new_from_index(0, 1190);
    let rest: Vec<u32> = (0..10).map(|i| i % bad.len() as u32).collect();
    let rest = polars::prelude::UInt32Chunked::from_vec("".into(), rest);
    column.append(&bad.take(&rest).unwrap()).unwrap();
    let workshop = with(name, column);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    let file = std::fs::read_to_string(workshop.path("quarantine/test.csv")).unwrap();
    let reason = |line: &str| line.split(',').next().unwrap().to_owned();
    let mut all: Vec<String> = file.lines().skip(1).map(reason).collect();
    assert_eq!(all.len(), 10, "{file}");
    all.sort();
    all.dedup();
    all
}

#[test]
fn bad_values_of_typed_columns_have_reasons() {
    const UNREADABLE: &str = "amount is null or not a whole number of minor units";
    const LARGE: &str = "amount is beyond 10^12 minor units";
    let float = |bad: f64| reasons("amount", column!([12.34]), column!([bad]));
    for bad in [f64::NAN, f64::INFINITY, 0.010_001, 12.345] {
        assert_eq!(float(bad), [UNREADABLE], "{bad}");
    }
    assert_eq!(float(1e13), [LARGE]);
    assert_eq!(reasons("amount", column!([5i64]), column!([10i64.pow(12) + 1])), [LARGE]);
    assert_eq!(reasons("amount", column!([5i64]), column!([i64::MIN])), [LARGE]);
    assert_eq!(reasons("amount", column!([5u64]), column!([u64::MAX])), [LARGE]);
    assert_eq!(reasons("amount", column!([Some(5i64)]), column!([None::<i64>])), [UNREADABLE]);
    let seconds = 1_735_704_000i64;
    let float_time = |bad: f64| reasons("time", column!([seconds as f64]), column!([bad]));
    assert_eq!(float_time(f64::NAN), ["time is null or cannot be read"]);
    let null_user = reasons("user", column!([Some(7i64)]), column!([None::<i64>]));
    assert_eq!(null_user, ["user is null or blank"]);
    let blank_user = reasons("user", column!([Some("u")]), column!([Some(""), Some(" "), None]));
    assert_eq!(blank_user, ["user is null or blank"]);
}

#[test]
fn a_conversion_that_fails_makes_bad_rows_and_quotes_nothing() {
    let mut times: Vec<&str> = vec!["2025-01-02 10:00:00"; 1195];
    times.extend(["secret-token"; 5]);
    let workshop = with("time", Series::new("".into(), times));
    let strptime = r#"time = "STRPTIME(time, '%Y-%m-%d %H:%M:%S')""#;
    workshop.text("job.toml", &JOB.replace("time = \"time\"", strptime));
    let output = workshop.discretail(&["run", "job.toml"]);
    let text = shown(&workshop, &output);
    assert!(!text.contains("secret-token"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn rows_of_other_times_are_left_out_whatever_is_wrong_with_them() {
    let (workshop, _) = csv(&"\
,M1,2024-12-31 23:59:59,1.00,card,CNY
secret-token,M9,2025-02-01 00:00:00,1.00,cash,CNY
secret-token,M1,2031-02-01 00:00:00,ten,,
"
    .repeat(1000));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    assert!(!workshop.path("quarantine/test.csv").exists());
}

#[test]
fn a_period_without_any_row_stops_the_job_before_anything_is_charged() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &JOB.replace("2025-01", "2026-01"));
    let output = workshop.discretail(&["run", "job.toml"]);
    let text = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!workshop.path("releases").exists());
    assert_snapshot!(text);
    workshop.text("job.toml", JOB);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
}

/// Bounds are stated or open: then the price would be paid for surveys.
#[test]
fn files_without_rows_stop_the_job_before_anything_is_charged() {
    let workshop = Workshop::new();
    let none: DataFrame = payments().head(Some(0));
    workshop.parquet("none.parquet", none);
    workshop.text("none.csv", HEADER);
    let file = |name: &str| JOB.replace("payments.parquet", name);
    let open = file("none.parquet").replace("bounds  ", "#");
    let lines = csv("").1.replace("payments.csv", "none.csv");
    let chosen = JOB.replace("[payments]", "[payments]\nwhere = \"wallet = 'cash'\"");
    let mut texts = String::new();
    for job in [&file("none.parquet"), &open, &lines, &chosen] {
        workshop.text("job.toml", job);
        let text = shown(&workshop, &workshop.discretail(&["run", "job.toml"]));
        assert!(text.starts_with("exit: 2"), "{text}");
        assert!(!workshop.path("releases").exists());
        let ledger = workshop.discretail(&["ledger", "show", "ledger.sqlite", "--json"]);
        let ledger: serde_json::Value = serde_json::from_slice(&ledger.stdout).unwrap();
        assert_eq!(ledger["total"]["left"], ledger["total"]["budget"]);
        texts += &text;
    }
    assert_snapshot!(texts);
    // Beside a file that has some, one without is fine.
    workshop.text("job.toml", &JOB.replace("\"payments.p", "\"none.parquet\", \"payments.p"));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
}
