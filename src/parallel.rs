//! The same work for many items, on several threads.

/// `work` of 0..count, in this order; what comes out does not depend on threads.
pub(super) fn map<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let each = count.div_ceil(threads.max(1)).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let part = |start: usize| {
            scope.spawn(move || (start..count.min(start + each)).map(work).collect::<Vec<T>>())
        };
        let parts: Vec<_> = (0..count).step_by(each).map(part).collect();
        let join = |part: std::thread::ScopedJoinHandle<'_, Vec<T>>| {
            part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        parts.into_iter().flat_map(join).collect()
    })
}
