//! Panics of libraries that are expected, and no bug.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// How much of such work goes on, on all threads.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// What `work` gives; `None` if it panics, of which nobody is told.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = EXPECTED.replace(true);
    AT_WORK.fetch_add(1, Ordering::SeqCst);
    let done = catch_unwind(AssertUnwindSafe(work));
    AT_WORK.fetch_sub(1, Ordering::SeqCst);
    EXPECTED.set(before);
    done.ok()
}

/// Is this thread doing what may panic, or is it one of a library that does a part of that? Threads
/// of polars have names, and those of ours that work on payments have none.
pub(crate) fn is_expected() -> bool {
    let is_of_library = || std::thread::current().name().is_some_and(|name| name != "main");
    EXPECTED.get() || (AT_WORK.load(Ordering::SeqCst) > 0 && is_of_library())
}

#[cfg(test)]
mod tests {
    use std::thread::Builder;

    use super::*;

    /// Tests have threads with names.
    #[test]
    fn what_a_library_does_on_threads_of_its_own_may_panic_too() {
        let on = |name: Option<&str>| {
            let builder = name.map_or(Builder::new(), |name| Builder::new().name(name.to_owned()));
            builder.spawn(is_expected).expect("starts").join().expect("ends")
        };
        let seen = caught(|| (is_expected(), on(Some("polars-0")), on(Some("main")), on(None)));
        assert_eq!(seen, Some((true, true, false, false)));
        assert_eq!(caught(|| caught(|| panic!("expected"))), Some(None::<()>));
        assert!(!EXPECTED.get());
    }
}
