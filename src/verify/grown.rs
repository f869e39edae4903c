//! Growth against earlier releases: is it what the tables of both show?
//!
//! Their folders are where the ledger says, if they are still there, and as they were released.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::compared::{decimals, is_whole, wanted};
use super::files;
use super::lattice::{CLOSE, KeyCell, key_cell};
use super::manifest::{KeySet, Manifest};
use super::parts;
use super::table::{COMPARED, Table, schema_faults};
use crate::ledger::Report;

/// How many growths are those of two releases, and what is wrong with the rest.
pub(super) fn check(folder: &Path, manifest: &Manifest, ledger: &Report) -> (u64, Vec<String>) {
    let (mut held, mut faults) = (0, Vec::new());
    let own = Release { folder, manifest };
    for set in manifest.key_sets.iter().filter(|set| is_public(set)) {
        let asked = COMPARED.iter().filter(|(name, ..)| name.contains("_growth"));
        let asked: Vec<(&str, &str)> = asked.map(|(name, needs, _)| (*name, needs[0])).collect();
        let names: BTreeSet<&str> = asked.iter().flat_map(|(name, of)| [*name, *of]).collect();
        let Some(rows) = own.rows(set, &set.keys, &names) else { continue };
        if !asked.iter().any(|(name, _)| rows.columns.contains_key(*name)) {
            continue;
        }
        let kinds: BTreeSet<&str> = asked.iter().map(|(_, of)| *of).collect();
        let source = manifest.source(&set.file);
        let named = manifest.estimates_from.iter().filter(|earlier| earlier.file == source);
        let known = named.map(|earlier| {
            let folder = ledger.job(&earlier.from.job)?.folder.as_deref()?;
            let manifest = Manifest::read(&folder.join("manifest.json")).ok()?;
            let same = manifest.digest == earlier.from.manifest_sha256;
            same.then(|| Earlier::read(folder, &manifest, set, &kinds))?
        });
        let known: Vec<Option<Earlier>> = known.collect();
        for (name, of) in asked {
            let (growth, values) = (rows.columns.get(name), rows.columns.get(of));
            let Some((growth, values)) = growth.zip(values) else { continue };
            for (key, row) in &rows.places {
                let Some((growth, value)) = growth[*row].zip(values[*row]) else { continue };
                match before(manifest, set, (name, of), key, &rows, &known) {
                    Before::Own | Before::Gone => {}
                    Before::Value(before)
                        if (growth * before - value).abs() <= CLOSE * value.abs() =>
                    {
                        held += 1;
                    }
                    Before::Value(_) => faults.push(fault(set, name, "is not what both show")),
                    Before::Nothing => {
                        faults.push(fault(set, name, "is against what no earlier release shows"));
                    }
                }
            }
        }
    }
    faults.sort_unstable();
    faults.dedup();
    (held, faults)
}

fn fault(set: &KeySet, name: &str, what: &str) -> String {
    format!("`{name}` of `{}` {what}", set.file)
}

fn is_public(set: &KeySet) -> bool {
    set.selection == "public" && !set.unshown
}

/// What a cell is compared with.
enum Before {
    /// A cell of the same table.
    Own,
    /// What an earlier release shows.
    Value(f64),
    /// None of them shows anything,
    Nothing,
    /// as far as is known, as one of them is not there.
    Gone,
}

fn before(
    manifest: &Manifest,
    set: &KeySet,
    (name, of): (&str, &str),
    key: &[KeyCell],
    own: &Rows,
    known: &[Option<Earlier>],
) -> Before {
    let job = &manifest.job;
    let mut other = key.to_vec();
    let period = wanted(set, name, key);
    if let Some((place, unit, start, wanted)) = period {
        other[place] = KeyCell::Number(wanted.to_epoch_days().into());
        let days = (job.first_day.0, job.last_day.0);
        if !is_whole(unit, start, days) {
            return Before::Nothing;
        }
        if is_whole(unit, wanted, days) && own.places.contains_key(&other) {
            return Before::Own;
        }
    }
    let holds = |earlier: &Earlier| match period {
        Some((_, unit, _, wanted)) => is_whole(unit, wanted, earlier.days),
        None => earlier.days.1.succ_opt() == Some(job.first_day.0),
    };
    for earlier in known {
        // It may have been the one.
        let Some(earlier) = earlier else { return Before::Gone };
        if holds(earlier)
            && let Some(&row) = earlier.rows.places.get(&other)
        {
            let value = earlier.rows.columns.get(of).and_then(|values| values[row]);
            return value.map_or(Before::Nothing, Before::Value);
        }
    }
    Before::Nothing
}

/// What an earlier release shows of a table's cells.
struct Earlier {
    days: (chrono::NaiveDate, chrono::NaiveDate),
    rows: Rows,
}

impl Earlier {
    /// `None` if a table is not as it was released.
    fn read(
        folder: &Path,
        manifest: &Manifest,
        own: &KeySet,
        names: &BTreeSet<&str>,
    ) -> Option<Earlier> {
        let mut all = Rows::default();
        let sorted = |set: &KeySet| {
            let mut keys = set.keys.clone();
            keys.sort_unstable();
            keys
        };
        let release = Release { folder, manifest };
        let sets = manifest.key_sets.iter().filter(|set| is_public(set));
        for set in sets.filter(|set| sorted(set) == sorted(own)) {
            let rows = release.rows(set, &own.keys, names)?;
            // Other reports show other statistics of the same cells.
            let same = all.places.is_empty() || all.places == rows.places;
            all.places = if same { rows.places } else { all.places };
            if same {
                rows.columns.into_iter().for_each(|(name, column)| {
                    all.columns.entry(name).or_insert(column);
                });
            }
        }
        Some(Earlier { days: (manifest.job.first_day.0, manifest.job.last_day.0), rows: all })
    }
}

struct Release<'m> {
    folder: &'m Path,
    manifest: &'m Manifest,
}

/// The rows of a table by key, and columns of them.
#[derive(Default)]
struct Rows {
    places: HashMap<Vec<KeyCell>, usize>,
    columns: BTreeMap<String, Vec<Option<f64>>>,
}

impl Release<'_> {
    /// Those columns of a table which it has, with its keys in this order; `None` if it is not as
    /// it was released, or as tables are now.
    fn rows(&self, set: &KeySet, keys: &[String], names: &BTreeSet<&str>) -> Option<Rows> {
        let mut rows = Rows::default();
        let all = self.manifest.files.iter();
        for file in all.filter(|file| parts::table_of(&file.name) == set.file) {
            let path = self.folder.join(&file.name);
            if files::digest_of(&path).ok()? != file.sha256 {
                return None;
            }
            let key = parts::key_of(&file.name, set).ok()?;
            let table = Table::open(&path, key).ok()?;
            if !schema_faults((&set.file, &file.name), &table, self.manifest).is_empty() {
                return None;
            }
            for batch in table.rows {
                let batch = batch.ok()?;
                let columns: Option<Vec<_>> =
                    keys.iter().map(|key| batch.column_by_name(key)).collect();
                let columns = columns?;
                for row in 0..batch.num_rows() {
                    let key = columns.iter().map(|column| key_cell(column, row)).collect();
                    let place = rows.places.len();
                    rows.places.insert(key, place);
                }
                for name in names {
                    let Some(column) = batch.column_by_name(name) else { continue };
                    rows.columns.entry((*name).to_owned()).or_default().extend(decimals(column));
                }
            }
        }
        Some(rows)
    }
}
