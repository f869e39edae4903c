//! Panics of libraries that are expected, and no bug.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives; `None` if it panics, of which nobody is told.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = EXPECTED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(before);
    done.ok()
}

/// Is this thread doing what may panic?
pub(crate) fn is_expected() -> bool {
    EXPECTED.get()
}
