//! Keys of the noise: one run key gives every cell of every statistic a random stream of its own.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::findings;
use crate::plan::{CellKey, KeyValue};

/// The secret from which all noise of one run is derived; serves one run, as
/// [`add_noise`](super::add_noise) takes it by value.
///
/// A key that makes the noise known cannot be made outside of this module and the tests. The
/// audit's [`KnownKey`](super::KnownKey) is of another type, and so is what it makes:
///
/// ```
/// let key = discretail::mechanism::RunKey::from_system().expect("random bits");
/// assert_eq!(format!("{key:?}"), "RunKey(secret)");
/// ```
/// ```compile_fail
/// let key = discretail::mechanism::RunKey::frozen([0; 32]);
/// ```
pub struct RunKey {
    bytes: [u8; 32],
    frozen: bool,
}

impl RunKey {
    /// A new key from the operating system.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn from_system() -> Result<RunKey> {
        let mut key = RunKey { bytes: [0; 32], frozen: false };
        getrandom::fill(&mut key.bytes)
            .map_err(|e| Error::environment(findings::randomness_missing(&e)))?;
        Ok(key)
    }

    /// The key of [`KnownKey`](super::KnownKey): the same noise each time, so no privacy.
    pub(super) fn known(bytes: [u8; 32]) -> RunKey {
        RunKey { bytes, frozen: true }
    }

    /// The same for tests of what becomes of it.
    #[cfg(test)]
    pub(crate) fn frozen(bytes: [u8; 32]) -> RunKey {
        RunKey { bytes, frozen: true }
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The key of one statistic of the level whose table is `file`.
    ///
    /// SHA-256 of a tag, the run key, and both names, each after its length.
    pub(super) fn statistic(&self, file: &str, statistic: &str) -> StatisticKey {
        let mut hasher = Sha256::new_with_prefix(b"discretail noise 1\0");
        hasher.update(self.bytes);
        for name in [file, statistic] {
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
        }
        StatisticKey(hasher.finalize().into())
    }
}

impl std::fmt::Debug for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunKey(secret)")
    }
}

impl Drop for RunKey {
    /// Wipes the key as far as safe code can: copies that the compiler made stay.
    fn drop(&mut self) {
        self.bytes = [0; 32];
        std::hint::black_box(&mut self.bytes);
    }
}

/// The secret from which the noise of one statistic is derived.
pub(super) struct StatisticKey([u8; 32]);

impl StatisticKey {
    /// The seed of one cell's noise: SHA-256 of this key and the cell.
    pub(super) fn seed(&self, cell: &CellKey) -> Seed {
        let mut text = Vec::with_capacity(128);
        text.extend(self.0);
        encode(cell, &mut text);
        Seed(Sha256::digest(&text).into())
    }
}

/// The seed of the noise of one cell's numbers.
pub(super) struct Seed([u8; 32]);

impl Seed {
    /// The random words of that cell, one number after the other.
    pub(super) fn words(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.0)
    }
}

/// Appends the cell, so that no encoding is the beginning of another: the number of keys, then of
/// each a mark of its kind and its value, texts after their length.
fn encode(cell: &CellKey, text: &mut Vec<u8>) {
    text.extend((cell.len() as u64).to_le_bytes());
    for value in cell {
        match value {
            KeyValue::Text(value) => {
                text.push(0);
                text.extend((value.len() as u64).to_le_bytes());
                text.extend(value.as_bytes());
            }
            KeyValue::Date(date) => {
                text.push(1);
                text.extend(date.to_epoch_days().to_le_bytes());
            }
            KeyValue::Number(number) => text.extend([2, *number]),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn text(value: &str) -> KeyValue {
        KeyValue::Text(value.into())
    }

    /// Cells whose values would run into each other without marks and lengths.
    fn cells() -> Vec<CellKey> {
        let date = |days| KeyValue::Date(NaiveDate::from_epoch_days(days).expect("a day"));
        let number = KeyValue::Number;
        [
            vec![],
            vec![text("")],
            vec![text(""), text("")],
            vec![text("ab")],
            vec![text("a"), text("b")],
            vec![text("ab"), text("")],
            vec![text(""), text("ab")],
            vec![text("a\0")],
            vec![text("a"), number(0)],
            vec![number(0)],
            vec![number(0), number(2)],
            vec![number(2), number(0)],
            vec![date(0)],
            vec![date(1)],
            vec![date(-1)],
            vec![date(0), number(1)],
            vec![number(1), date(0)],
            vec![text("1970-01-01")],
            vec![text("\u{1}\0\0\0\0")],
        ]
        .map(Vec::into_boxed_slice)
        .into()
    }

    #[test]
    fn no_encoding_is_the_beginning_of_another() {
        let encoded: Vec<Vec<u8>> = cells()
            .iter()
            .map(|cell| {
                let mut text = Vec::new();
                encode(cell, &mut text);
                text
            })
            .collect();
        for (a, one) in encoded.iter().enumerate() {
            for (b, other) in encoded.iter().enumerate() {
                assert!(a == b || !other.starts_with(one), "{:?}", (&cells()[a], &cells()[b]));
            }
        }
    }

    /// Chance that equal seeds come up among these: below 2⁻²⁰⁰.
    #[test]
    fn run_statistic_and_cell_each_make_another_seed() {
        let runs = [RunKey::frozen([0; 32]), RunKey::frozen([1; 32]), RunKey::frozen([2; 32])];
        let names = [("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), ("a", "bc"), ("ab", "c")];
        let mut seeds = std::collections::BTreeSet::new();
        for run in &runs {
            for (file, statistic) in names {
                let key = run.statistic(file, statistic);
                seeds.extend(cells().iter().map(|cell| key.seed(cell).0));
            }
        }
        assert_eq!(seeds.len(), runs.len() * names.len() * cells().len());
        let again = RunKey::frozen([1; 32]).statistic("a", "b").seed(&cells()[4]).0;
        assert_eq!(again, runs[1].statistic("a", "b").seed(&cells()[4]).0);
    }

    #[test]
    fn keys_of_the_system_differ_and_do_not_show() {
        let (one, other) = (RunKey::from_system(), RunKey::from_system());
        let (one, other) = (one.expect("random bits"), other.expect("random bits"));
        assert_ne!(one.bytes, other.bytes);
        assert!(!one.is_frozen());
        assert!(RunKey::frozen([7; 32]).is_frozen());
        assert_eq!(format!("{:?}", RunKey::frozen([7; 32])), "RunKey(secret)");
    }
}
