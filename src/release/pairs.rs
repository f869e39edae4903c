//! What the manifest says of cells that are pairs.

use serde::Serialize;

use crate::plan::{LevelPlan, Plan};

/// Cells that are pairs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PairsEntry {
    /// The key of the second value of a pair.
    key: String,
    /// The column of the table of merchants of whose values they are pairs.
    of: String,
    /// The table of single values.
    #[serde(skip_serializing_if = "Option::is_none")]
    singles: Option<String>,
    /// The table of all users.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<String>,
}

impl PairsEntry {
    pub(super) fn new(plan: &Plan, level: &LevelPlan) -> Option<PairsEntry> {
        let key = level.keys.iter().find(|key| key.pairs_of().is_some())?;
        let file = |level: usize| format!("{}.parquet", plan.levels[level].file);
        Some(PairsEntry {
            key: key.name().to_owned(),
            of: key.pairs_of()?.to_owned(),
            singles: level.pairs.as_ref().map(|pairs| file(pairs.singles)),
            whole: level.pairs.as_ref().map(|pairs| file(pairs.whole)),
        })
    }
}
