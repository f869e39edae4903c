//! Ctrl-C, for as long as the engine hears it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Asked between any two blocks of records, so that a run ends soon however its payments are
/// spread over users and partitions.
pub(super) struct Stop<'c> {
    cancelled: &'c AtomicBool,
    is_deaf: AtomicBool,
}

impl<'c> Stop<'c> {
    pub(super) fn new(cancelled: &'c AtomicBool) -> Self {
        Stop { cancelled, is_deaf: AtomicBool::new(false) }
    }

    /// From now on Ctrl-C is not heard: the price is paid.
    pub(super) fn ignore(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// Ctrl-C.
    pub(super) fn check(&self) -> Result<()> {
        let is_asked = self.cancelled.load(Ordering::Relaxed);
        if is_asked && !self.is_deaf.load(Ordering::Relaxed) {
            return Err(Error::cancelled());
        }
        Ok(())
    }
}
