//! `report.html`: a release as one page that needs no network.
//!
//! A function of the release's tables and manifest, so post-processing: the same release gives the
//! same bytes. All that varies stands in the page as JSON; the page's own code, beside this file,
//! makes text nodes and charts of it and never markup.

mod catalogue;
mod data;
mod numbers;
#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use catalogue::known as known_insights;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::findings;
use crate::privacy::right_guess_up;

/// The page's name in a release.
pub const FILE: &str = "report.html";

/// What the JSON of all tables may take, so that the page stays below 15 MB.
const DATA_MAX: usize = 13_000_000;

/// About how many bytes the page takes of tables that take so many.
pub fn bytes(tables: u64) -> u64 {
    let fixed = [PAGE, STYLE, LIBRARY, SCRIPT].map(str::len).iter().sum::<usize>();
    fixed as u64 + tables.min(DATA_MAX as u64)
}

/// Parts of the page, in the order of their marks.
pub(crate) const MARKS: [&str; 4] = ["/*style*/", "/*library*/", "/*data*/", "/*script*/"];

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const LIBRARY: &str = include_str!("echarts/echarts.min.js");
const SCRIPT: &str = concat!(
    "'use strict';\n",
    include_str!("text.js"),
    include_str!("tables.js"),
    include_str!("charts.js"),
    include_str!("sections.js"),
    include_str!("views.js"),
    include_str!("page.js"),
);
/// What pages share that are no release.
const SHARED: &str = concat!("'use strict';\n", include_str!("text.js"), include_str!("charts.js"));

/// The page of the release in `folder`, whose manifest is given, made on some threads.
///
/// # Errors
/// Environment: a table cannot be read, or is not as the manifest says.
pub fn page(folder: &Path, manifest: &Value, threads: usize) -> Result<String> {
    let unreadable = |why: String| Error::environment(findings::release_not_readable(folder, &why));
    let tables = data::tables(folder, manifest, DATA_MAX, threads).map_err(unreadable)?;
    let head = serde_json::to_string(&release(manifest)).expect("cannot fail because it is JSON");
    let known = serde_json::to_string(&known_insights()).expect("cannot fail because it is JSON");
    let data = format!("{{\"release\":{head},\"insights\":{known},\"tables\":[{tables}]}}");
    Ok(assemble(&data))
}

/// The page with this JSON.
fn assemble(data: &str) -> String {
    fill(PAGE, &[SCRIPT], data)
}

/// A page of the same look that is no release: `page` has the marks, `script` comes after the
/// words, numbers and colours that all pages share.
pub(crate) fn page_like(page: &str, script: &str, data: &Value) -> String {
    let data = serde_json::to_string(data).expect("cannot fail because it is JSON");
    fill(page, &[SHARED, script], &data)
}

/// A page with this JSON. In JSON `<` only occurs in strings, where it may be written otherwise;
/// then nothing in it can end its element.
fn fill(page_text: &str, scripts: &[&str], data: &str) -> String {
    let (data, script) = (data.replace('<', "\\u003c"), scripts.concat());
    let size = page_text.len() + LIBRARY.len() + data.len() + (1 << 16);
    let (mut page, mut rest) = (String::with_capacity(size), page_text);
    for (mark, part) in MARKS.into_iter().zip([STYLE, LIBRARY, &data, &script]) {
        let (before, after) = rest.split_once(mark).expect("cannot fail because the page has all");
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// What the page says of the release, beside its tables.
fn release(manifest: &Value) -> Value {
    let number = |name: &str| manifest["parameters"][name].as_f64().unwrap_or(f64::NAN);
    json!({
        "not_private": manifest["not_private"],
        "tool": manifest["tool"],
        "job": manifest["job"],
        "unit": manifest["privacy_unit"],
        "variant": manifest["variant"],
        "parameters": manifest["parameters"],
        "budget": manifest["budget"],
        "right_guess": right_guess_up(number("mu"), number("threshold_delta")),
        "mechanisms": manifest["mechanisms"].as_array().map_or(0, Vec::len),
        "surveys": manifest["surveys"].as_array().map_or(0, Vec::len),
        "merchants_least": manifest["merchant_protection"]["min_per_cell"],
        "dominance": manifest["merchant_protection"]["dominance"],
        "in_bands": !manifest["merchant_protection"]["bands"].is_null(),
        "useless": manifest["accepted_useless"].as_array().map_or(&[][..], Vec::as_slice),
        "files": data::files(manifest),
    })
}
