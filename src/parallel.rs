//! The same work for many items, on several threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pieces of the work that each thread takes, about: so many that all are done at the same time.
const PIECES: usize = 8;

/// A lock that no holder leaves poisoned: their panic ends the run.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `work` of all items, in their order; what comes out does not depend on threads.
pub(crate) fn map<T: Send, R: Send>(
    items: impl ExactSizeIterator<Item = T> + Send,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.clamp(1, items.len().max(1));
    if threads == 1 {
        return items.map(work).collect();
    }
    let each = items.len().div_ceil(threads * PIECES);
    let left = Mutex::new((items, 0));
    // The next items, and which piece of the work they are.
    let take = || {
        let mut left = lock(&left);
        let (items, pieces) = &mut *left;
        *pieces += 1;
        (*pieces, items.take(each).collect::<Vec<T>>())
    };
    let run = || {
        let mut done: Vec<(usize, Vec<R>)> = Vec::new();
        loop {
            let (piece, items) = take();
            if items.is_empty() {
                return done;
            }
            done.push((piece, items.into_iter().map(&work).collect()));
        }
    };
    let mut done: Vec<(usize, Vec<R>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    });
    done.sort_unstable_by_key(|(piece, _)| *piece);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_are_in_the_order_of_items() {
        for (count, threads) in [(0, 3), (1, 3), (5, 0), (7, 2), (1_000, 3), (17, 40)] {
            let found =
                map((0..count).map(|at| at * 2).collect::<Vec<_>>().into_iter(), threads, |at| {
                    at + 1
                });
            assert_eq!(found, (0..count).map(|at| at * 2 + 1).collect::<Vec<_>>());
        }
    }
}
