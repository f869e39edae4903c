//! Faults of a job file.

use std::fmt::Display;
use std::path::Path;

use super::Finding;

fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let score = |k: &&str| strsim::normalized_damerau_levenshtein(name, k);
    let best = known.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(&best) > 0.5).then_some(best)
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

pub(super) fn did_you_mean(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return "check its spelling; its letters and their case count".to_owned();
    }
    match closest(name, known) {
        Some(best) => format!("did you mean `{best}`? known: {}", list(known)),
        None => format!("known: {}", list(known)),
    }
}

/// The job file cannot be read at all.
pub fn job_unreadable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("job-unreadable", format!("cannot read the job file {}: {cause}", path.display()))
        .hint("give the path of a job file; `discretail --help` shows one")
}

/// The job file is not TOML.
pub fn toml_wrong(message: &str) -> Finding {
    Finding::new("toml-wrong", format!("not valid TOML: {}", message.trim().replace('\n', ", ")))
        .hint("mend this first: other mistakes show once the file can be read")
}

/// A key that must be there is not.
pub fn key_missing(section: &str, key: &str, example: &str) -> Finding {
    Finding::new("key-missing", format!("{section} lacks `{key}`")).hint(format!("add `{example}`"))
}

/// A key that means nothing.
pub fn key_unknown(section: &str, key: &str, known: &[&str]) -> Finding {
    Finding::new("key-unknown", format!("{section} has no key `{key}`"))
        .hint(did_you_mean(key, known))
}

/// A value of the wrong TOML type.
pub fn value_type_wrong(key: &str, wanted: &str, found: &str) -> Finding {
    Finding::new("value-type-wrong", format!("`{key}` must be {wanted}, not {found}"))
}

/// A value outside its range; `rule` completes "must be …".
pub fn value_out_of_range(key: &str, value: &str, rule: &str) -> Finding {
    Finding::new("value-out-of-range", format!("`{key}` is {value}, but must be {rule}"))
}

/// A privacy parameter that is none.
pub fn privacy_parameter_invalid(key: &str, value: &str, cause: &dyn Display) -> Finding {
    Finding::new("privacy-parameter-invalid", format!("`{key}` = {value} {cause}"))
        .hint("write a plain decimal, such as epsilon = \"1\" and delta = \"1e-9\"")
}

/// A job format that this program does not know.
pub fn version_unsupported(found: &str) -> Finding {
    Finding::new("version-unsupported", format!("`version` is {found}, but this program reads 1"))
        .hint("write `version = 1`")
}

/// A unit of privacy that there is not.
pub fn unit_unknown(found: &str, names: &[&str]) -> Finding {
    let hint = format!("write one of {}", names.join(", "));
    Finding::new("unit-unknown", format!("no privacy unit is called \"{found}\"")).hint(hint)
}

/// Customers of cells that hold several of a user's units.
pub fn unit_across_periods(level: &str, unit: &str) -> Finding {
    let message = format!(
        "level {level} counts customers over several periods of the unit {unit}, so users would \
         count once in each"
    );
    Finding::new("unit-across-periods", message)
        .hint("add a time key that lies within a period, leave customers out, or use a longer unit")
}

/// A job whose keys cannot be shown again.
pub fn keys_from_unusable(job: &str, why: &str) -> Finding {
    Finding::new("keys-from-unusable", format!("the keys of job `{job}` cannot be used: {why}"))
        .hint("name jobs of the same ledger whose releases are where they were published")
}

/// Keys of an earlier release for a report that shows all keys anyway.
pub fn keys_from_public(job: &str) -> Finding {
    let text = format!(
        "the keys of job `{job}` cannot be used: the report's own keys are public, and all are shown anyway"
    );
    Finding::new("keys-from-unusable", text).hint(
        "leave `keys_from` out; or, where keys are to come from the payments, write `keys = \"private\"` or \
         \"discovered\" in place of \"public\"",
    )
}

/// An earlier release that can tell neither bounds nor values.
pub fn previous_unusable(job: &str, why: &str) -> Finding {
    Finding::new("previous-unusable", format!("the release of job `{job}` cannot be used: {why}"))
        .hint("put it back as it was released; or name others in `previous`, in place of it or of `latest`, or none: then the run makes \
             surveys of its own for a part of the budget; `latest` passes over a release whose folder is moved away")
}

/// What the latest releases are is being decided.
pub fn earlier_under_way(job: &str) -> Finding {
    let text = format!(
        "job `{job}` of the same recipient is under way, and \"latest\" may mean its release"
    );
    Finding::new("earlier-under-way", text)
        .hint("run the job again when it has ended, or name the releases that are meant: how long a run takes must not decide what another goes by")
}

/// An insight that a level cannot carry.
pub fn insight_unfit(insight: &str, level: &str, why: &str, hint: &str) -> Finding {
    Finding::new("insight-unfit", format!("level {level} cannot show `{insight}`: {why}"))
        .hint(hint)
}

/// A level that cannot be one of pairs.
pub fn pairs_unfit(key: &str, level: &str, why: &str, hint: &str) -> Finding {
    Finding::new("pairs-unfit", format!("level {level} cannot have the key `{key}`: {why}"))
        .hint(hint)
}

/// Quantiles of tickets in several currencies.
pub fn quantiles_of_currencies() -> Finding {
    let message =
        "no level can show `ticket_quantiles`: tickets of several currencies have no order";
    Finding::new("insight-unfit", message)
        .hint("pick one currency in [payments], or leave `ticket_quantiles` out")
}

/// What `csv` is for.
pub const CSV_FILES: &str = "files of text (CSV), and these are of another format";

/// A key that nothing in the job looks at; `what` it is for.
pub fn key_idle(key: &str, what: &str) -> Finding {
    Finding::new("key-idle", format!("`{key}` is stated, but nothing looks at it"))
        .hint(format!("it is for {what}; ask for that, or leave `{key}` out"))
}

/// A level that names merchants, in a job that promises not to tell of so few.
pub fn merchants_named(level: &str, least: u32) -> Finding {
    let message =
        format!("level {level} shows single merchants, but `min_per_cell` is {least} merchants");
    Finding::new("merchants-named", message)
        .hint("put levels with the key `merchant` in a job for those who may see them, or set `min_per_cell = 1`")
}

/// A rule on dominance that the job cannot keep.
pub fn dominance_unfit(why: &str, hint: &str) -> Finding {
    let message = format!("`dominance` cannot be judged, or would be got around: {why}");
    Finding::new("dominance-unfit", message).hint(hint)
}

/// A level of which nothing may be shown.
pub fn merchants_too_few(level: &str, least: u32) -> Finding {
    let message = format!(
        "level {level} would show nothing: each of its cells, or a difference with another one, tells of \
         fewer than {least} merchants"
    );
    Finding::new("merchants-too-few", message).hint(
        "use coarser keys, or fewer levels whose differences tell; where single merchants may be seen, \
         `min_per_cell = 1` in [merchants]",
    )
}

/// Too many small groups of merchants to look at all differences.
pub fn merchants_unclear(least: u32) -> Finding {
    let message = format!(
        "so many groups of fewer than {least} merchants that not all differences can be looked at"
    );
    Finding::new("merchants-unclear", message)
        .hint("lower `min_per_cell` to 3, or use coarser keys")
}

/// A release that this job cannot take the place of.
pub fn revises_unusable(job: &str, why: &str) -> Finding {
    Finding::new("revises-unusable", format!("the release of job `{job}` cannot be revised: {why}"))
        .hint("name the newest published release of the same ledger, period and recipient, or leave `revises` out")
}

/// Nobody can tell whether a release is revised already.
pub fn revises_unknown(job: &str, later: &str, folder: &Path) -> Finding {
    let text = format!(
        "the release of job `{job}` cannot be revised: whether job `{later}` has revised it cannot be known, as its \
         release is not in {}, or not what it was",
        folder.display()
    );
    Finding::new("revises-unusable", text)
        .hint("put that release back, or a link to it; its manifest.json is enough")
}

/// A run goes on that may revise the same release.
pub fn revision_under_way(job: &str) -> Finding {
    let text =
        format!("job `{job}` of the same recipient is under way, and may revise the same release");
    Finding::new("earlier-under-way", text).hint(
        "run the job again when it has ended: of one release there is one revision, so that everybody finds the newest",
    )
}

/// A column with the name of a time key.
pub fn column_name_reserved(name: &str) -> Finding {
    let message = format!("`{name}` in `columns` has the name of a part of the payment's time");
    Finding::new("column-name-reserved", message)
        .hint("give it another name, and use that in `levels`; the column itself may keep its own")
}

/// A time zone that is not in the IANA data base.
pub fn timezone_unknown(name: &str, known: &[&str]) -> Finding {
    let hint = match closest(name, known) {
        Some(best) => format!("did you mean \"{best}\"?"),
        None => "write an IANA name such as \"Asia/Shanghai\"".to_owned(),
    };
    Finding::new("timezone-unknown", format!("no time zone is called \"{name}\"")).hint(hint)
}

/// A currency that ISO 4217 does not list.
pub fn currency_unknown(code: &str) -> Finding {
    Finding::new("currency-unknown", format!("ISO 4217 has no currency \"{code}\""))
        .hint("write its three capital letters, such as \"CNY\"")
}

/// Several currencies, but a level would add them up.
pub fn currency_not_split(level: &str) -> Finding {
    Finding::new(
        "currency-not-split",
        format!("level {level} would add up amounts of several currencies"),
    )
    .hint("add \"currency\" to the level, or pick one: `currency = \"CNY\"` in [payments]")
}

/// Several currencies, but no column that tells them apart.
pub fn currency_column_missing() -> Finding {
    Finding::new("currency-column-missing", "several currencies, but no currency column")
        .hint("add `currency = \"...\"` to `columns`, or pick one currency")
}

/// A period that ends before it starts, or is too long.
pub fn period_invalid(first: &dyn Display, last: &dyn Display, days_max: i64) -> Finding {
    Finding::new(
        "period-invalid",
        format!("the period {first} to {last} must have at least 1 and at most {days_max} days"),
    )
    .hint("mend `first_day` or `last_day`; both days belong to the period")
}

/// SQL that cannot be parsed.
pub fn sql_wrong(key: &str, text: &str, cause: &dyn Display) -> Finding {
    let name = |c: char| c.is_alphanumeric() || " ()[]_-.".contains(c);
    let hint = match text.starts_with(char::is_alphabetic) && text.chars().all(name) {
        true => format!(
            "if that is the name of a column, it needs double quotes inside: {key} = '\"{text}\"'; \
             else write an expression"
        ),
        false => "name a column, in double quotes if it has odd letters, or write an expression"
            .to_owned(),
    };
    Finding::new("sql-wrong", format!("`{key}` is not an SQL expression: {cause}")).hint(hint)
}

/// A conversion to another time zone, which polars' SQL does not know.
pub fn sql_time_zone(key: &str) -> Finding {
    Finding::new("sql-wrong", format!("`{key}` has AT TIME ZONE, which is not supported"))
        .hint("leave it out: days and hours are those of `timezone` in any case")
}

/// SQL with more operators than can be gone into, or that comes to too many parts.
pub fn sql_too_large(key: &str, found: &str, limit: usize) -> Finding {
    let text = format!("`{key}` is too large: it has {found}; there is room for {limit}");
    Finding::new("sql-too-large", text).hint(
        "write `column IN (...)` for many values of one column, which may be as many as you like; or make a \
         column of it where the files are written, and name that",
    )
}

/// SQL that is nested deeper than the parser goes.
pub fn sql_too_deep(key: &str, depth: usize, limit: usize) -> Finding {
    let text = format!(
        "`{key}` cannot be read: its brackets, CASE, NOT and signs are {depth} deep, and there is room for {limit} \
         levels, of which operators between them take some"
    );
    Finding::new("sql-too-large", text).hint(
        "write it flatter: one CASE with many WHEN in place of one in the other, and brackets only where they \
         change something; or make a column of it where the files are written, and name that",
    )
}

/// SQL that is the same for every row.
pub fn sql_constant(key: &str) -> Finding {
    Finding::new("sql-constant", format!("`{key}` names no column, so it is the same in every row"))
        .hint("name a column, in double quotes if its name is a number or has odd letters")
}

/// SQL whose value for one row depends on other rows.
pub fn sql_not_row_by_row(key: &str) -> Finding {
    Finding::new(
        "sql-not-row-by-row",
        format!("`{key}` looks at more than one row, so one user could change another's values"),
    )
    .hint("use expressions of one row only: no aggregates, windows, ranks or sub-queries")
}

/// An insight that this program does not know.
pub fn insight_unknown(name: &str, known: &[&str]) -> Finding {
    Finding::new("insight-unknown", format!("no insight is called \"{name}\""))
        .hint(did_you_mean(name, known))
}

/// A level's key that is neither time, nor registry attribute, nor column.
pub fn level_key_unknown(name: &str, known: &[&str]) -> Finding {
    Finding::new("level-key-unknown", format!("no key is called \"{name}\""))
        .hint(did_you_mean(name, known))
}

/// The same in a job without a table of merchants, whose columns are keys too.
pub fn level_key_unregistered(name: &str, known: &[&str]) -> Finding {
    let hint = did_you_mean(name, known);
    level_key_unknown(name, known).hint(format!(
        "{hint}; if it is a column of a table of merchants, add [merchants] with `files`"
    ))
}

/// Values are stated for something that is no column.
pub fn key_set_unknown(name: &str, known: &[&str]) -> Finding {
    Finding::new("key-set-unknown", format!("[keys] has `{name}`, which is no column of `columns`"))
        .hint(did_you_mean(name, known))
}

/// A key twice in one level, or a level or report twice.
pub fn duplicate(what: &str, name: &str) -> Finding {
    Finding::new("name-duplicate", format!("{what} `{name}` appears twice"))
        .hint("remove or rename one of them")
}

/// A public level whose key set nobody has stated.
pub fn key_set_missing(name: &str) -> Finding {
    Finding::new(
        "key-set-missing",
        format!("`keys = \"public\"`, but the values of `{name}` are not stated"),
    )
    .hint(format!("add `{name} = [...]` to [keys], from public knowledge, or use private keys"))
}

/// A key set that is of no use.
pub fn key_set_invalid(name: &str, why: &str) -> Finding {
    Finding::new("key-set-invalid", format!("the key set `{name}` {why}"))
        .hint("list each value of the column once, from public knowledge")
}

/// A bound or cap that is out of range.
pub fn bound_invalid(statistic: &str, value: &str, rule: &str) -> Finding {
    Finding::new("bound-invalid", format!("the bound {value} of `{statistic}` must be {rule}"))
}

/// As many bounds as levels, or one.
pub fn bound_count_wrong(statistic: &str, found: usize, levels: usize) -> Finding {
    Finding::new(
        "bound-count-wrong",
        format!("`{statistic}` has {found} values for {levels} levels"),
    )
    .hint("give one value for all levels, or one for each")
}

/// The table of merchants is missing, but needed.
pub fn registry_missing(key: &str) -> Finding {
    Finding::new("registry-missing", format!("`{key}` needs a public table of merchants"))
        .hint("add [merchants] with `files`")
}

/// The table of merchants cannot be used.
pub fn registry_invalid(path: &str, why: &str) -> Finding {
    Finding::new("registry-invalid", format!("the table of merchants {path} {why}"))
        .hint("mend the table, or `files`, `format` and `id` in [merchants]")
}

/// Too many cells for one level.
pub fn cells_too_many(level: &str, cells: u128, limit: u128) -> Finding {
    // Counts end there.
    let cells = if cells == u128::MAX { "2^128 or more".to_owned() } else { cells.to_string() };
    Finding::new("cells-too-many", format!("level {level} has {cells} cells, more than {limit}"))
        .hint("use fewer keys or a shorter period in one level")
}

/// The same of a level whose keys are not public.
pub fn homes_too_many(level: &str, groups: u128, limit: u128) -> Finding {
    let groups = if groups == u128::MAX { "2^128 or more".to_owned() } else { groups.to_string() };
    let message = format!(
        "level {level} has {groups} combinations of homes and merchants, more than {limit}"
    );
    Finding::new("cells-too-many", message).hint("use fewer keys of homes in one level")
}

/// Noise that is expected to be more than what it is added to.
pub fn useless(statistic: &str, level: &str, error: f64, epsilon: Option<f64>) -> Finding {
    // To tenths, rounded up: what is useless is above 100 %.
    let percent = (error * 1000.0).ceil() / 10.0;
    let enough = epsilon.map_or("no `epsilon` up to 20 would do".to_owned(), |epsilon| {
        format!("raise `epsilon` to about {:.2}", (epsilon * 100.0).ceil() / 100.0)
    });
    Finding::new(
        "prediction-useless",
        format!(
            "noise would drown `{statistic}` of {level}: its errors are expected to be {percent} % of all that it \
             counts, so that zeros would be nearer to the truth"
        ),
    )
    .hint(format!(
        "{enough}; use a coarser level, fewer levels or insights, or a smaller bound; or run it with --accept-useless"
    ))
}

/// `error` where it can mean nothing.
pub fn error_unusable(why: &str) -> Finding {
    Finding::new("error-unusable", format!("`error` cannot be asked for: {why}"))
        .hint("give `weights`, or nothing, and see with `plan` what errors are expected")
}

/// `error` where nothing is known of how large values are.
pub fn error_unpredictable(statistic: &str, level: &str) -> Finding {
    let why = format!("nothing tells beforehand how large `{statistic}` of {level} is");
    Finding::new("error-unusable", format!("`error` cannot be asked for: {why}"))
        .hint("say in `[expect]` what is public, or name a `previous` release")
}

/// `error` that no privacy budget reaches, as bounds take more than that.
pub fn error_out_of_reach(statistic: &str, level: &str, least: f64) -> Finding {
    Finding::new(
        "error-unreachable",
        format!(
            "no budget reaches that error of `{statistic}` of {level}: its bound alone takes {:.1} %",
            least * 100.0
        ),
    )
    .hint("raise the bound, or leave it to the run; or ask for a larger error")
}

/// The same where the run chooses the bound.
pub fn error_out_of_any_reach(statistic: &str, level: &str, least: f64) -> Finding {
    Finding::new(
        "error-unreachable",
        format!(
            "no budget reaches that error of `{statistic}` of {level}: the least that noise on a computer leaves of it is {:.1e} %",
            least * 100.0
        ),
    )
    .hint("ask for a larger error")
}

/// `error` that costs more than the job may.
pub fn error_too_dear(statistic: &str, level: &str, share: f64, epsilon: Option<f64>) -> Finding {
    let enough = epsilon.map_or("no `epsilon` up to 20 would do".to_owned(), |epsilon| {
        format!("raise `epsilon` to about {:.2}", (epsilon * 100.0).ceil() / 100.0)
    });
    Finding::new(
        "error-unreachable",
        format!(
            "the errors that are asked for cost more than the job may: that of `{statistic}` of {level} takes \
             {:.1} % of its budget",
            share * 100.0
        ),
    )
    .hint(format!("{enough}; or ask for larger errors, coarser levels or fewer insights"))
}

/// (ε, δ) so small that no noise can be calibrated.
pub fn budget_too_small(epsilon: &dyn Display, delta: &dyn Display, statistics: usize) -> Finding {
    Finding::new(
        "budget-too-small",
        format!("ε {epsilon} and δ {delta} leave too little for {statistics} statistics"),
    )
    .hint("raise `epsilon` or ask for fewer levels; private keys take nine tenths of `delta` off it, so lower one that is as large")
}
