//! Merchants among others: are bands those of intervals, and places and quarters what they can be?
//!
//! Who is compared with whom the table of merchants knows, so values are not computed again.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;

use super::lattice::{Column, Faults};
use super::manifest::{KeySet, Manifest};
use super::table::{Bands, QUARTERS};

/// What the manifest says of peers that cannot be.
pub(super) fn manifest_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = Vec::new();
    for set in &manifest.key_sets {
        let Some(peers) = &set.peers else { continue };
        let file = &set.file;
        if peers.min < 3 {
            faults.push(format!("`{file}` compares merchants with fewer than two others"));
        }
        let names = |set: &KeySet| set.keys.iter().any(|key| key == "merchant");
        let named = peers.merchants_of.as_ref();
        if named.is_some_and(|other| !manifest.key_set(other).is_some_and(names)) {
            faults.push(format!("`{file}` says that merchants are named by a table without them"));
        }
    }
    faults
}

/// Is the band that of the interval, and is the value within the outermost bands?
pub(super) fn check_band(column: &Column, bands: Bands, set: &KeySet, faults: &mut Faults) {
    let insight = column.insight;
    let says = |peers: &super::manifest::Peers| match bands {
        Bands::Rank => !peers.alike_in.is_empty(),
        Bands::Concentration => peers.merchants_of.is_some(),
    };
    if !set.peers.as_ref().is_some_and(says) {
        faults.add(0, format!("`{insight}` is of merchants of whom the manifest says nothing"));
    }
    let [lows, highs] = ["_low", "_high"].map(|suffix| column.numbers(suffix));
    let shown = column.array("_band").as_dictionary::<Int32Type>();
    let names = shown.values().as_string::<i32>();
    let most = bands.ends().last().map_or(0.0, |(end, _)| *end);
    for (row, place) in column.rows() {
        let band =
            shown.keys().is_valid(row).then(|| names.value(shown.keys().value(row) as usize));
        let ends = lows[row].zip(highs[row]);
        if band != ends.map(|(low, high)| bands.of(low, high)) {
            faults.add(place, format!("`{insight}_band` is not that of its interval"));
        }
        // Refunds can make a part larger than the whole.
        let signed = insight.starts_with("sales") && bands == Bands::Concentration;
        if ends.is_some_and(|(low, high)| low <= 0.0 || !signed && high > most) {
            faults.add(place, format!("`{insight}` is beyond its first or last band"));
        }
    }
    if bands == Bands::Rank {
        check_unnoised(column, faults);
    }
}

/// A quarter: no less than the one before it in the row.
pub(super) fn check_quarter(column: &Column, set: &KeySet, faults: &mut Faults) {
    let insight = column.insight;
    if set.peers.as_ref().is_none_or(|peers| peers.alike_in.is_empty()) {
        faults.add(0, format!("`{insight}` is of peers of whom the manifest says nothing"));
    }
    check_unnoised(column, faults);
    let Some(at) = QUARTERS.iter().position(|end| insight.ends_with(end)) else { return };
    let Some(before) = at.checked_sub(1) else { return };
    let before = insight.replace(QUARTERS[at], QUARTERS[before]);
    if column.batch.column_by_name(&before).is_none() {
        faults.add(0, format!("`{insight}` has no `{before}` before it"));
        return;
    }
    let before = Column { insight: &before, ..*column };
    let pairs = before.numbers("").into_iter().zip(column.numbers(""));
    for ((_, place), (less, more)) in column.rows().zip(pairs) {
        if less.zip(more).is_some_and(|(less, more)| less > more) {
            faults.add(place, format!("`{insight}` is below the quarter before it"));
        }
    }
}

/// A number of merchants: of cells whose merchants are known, and of those that have how much.
pub(super) fn check_above(column: &Column, set: &KeySet, faults: &mut Faults) {
    let insight = column.insight;
    let kind = insight.strip_suffix("_above").unwrap_or_default();
    let least = set.above.get(kind).and_then(|text| text.parse::<f64>().ok());
    let named = set.peers.as_ref().is_some_and(|peers| peers.merchants_of.is_some());
    if !named || least.is_none_or(|least| least <= 0.0) {
        faults.add(0, format!("`{insight}` is of merchants of whom the manifest says nothing"));
    }
    check_unnoised(column, faults);
    for ((_, place), low) in column.rows().zip(column.numbers("_low")) {
        if low.is_some_and(|low| low < 0.0) {
            faults.add(place, format!("`{insight}` may be less than no merchant"));
        }
    }
}

/// Of what is no sum there is no noised value.
fn check_unnoised(column: &Column, faults: &mut Faults) {
    let insight = column.insight;
    let noised = ["_unbiased", "_sd"].map(|suffix| column.numbers(suffix));
    for (row, place) in column.rows() {
        if noised.iter().any(|values| values[row].is_some()) {
            faults.add(place, format!("`{insight}` has a noised value, of which there is none"));
        }
    }
}
