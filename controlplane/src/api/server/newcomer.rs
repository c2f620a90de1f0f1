//! Connections on which nobody was let in yet. They do not last, and one address has only a part of all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of one address. A whole fleet behind one may well come back at once; it is let in within moments.
pub const PER_ADDRESS_MAX: usize = 4_096;

#[derive(Default)]
pub struct Newcomers(Mutex<HashMap<IpAddr, usize>>);

/// One connection; in the extensions of its requests.
pub struct Newcomer {
    all: Arc<Newcomers>,
    address: IpAddr,
    is_counted: AtomicBool,
}

impl Newcomers {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: there are too many from there.
    pub fn count(self: &Arc<Newcomers>, address: IpAddr) -> Option<Arc<Newcomer>> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Arc::new(Newcomer {
            all: self.clone(),
            address,
            is_counted: AtomicBool::new(true),
        }))
    }
}

impl Newcomer {
    /// A request of it was let in.
    pub fn admitted(&self) {
        if self.is_counted.swap(false, Ordering::Relaxed) {
            let mut counts = self.all.counts();
            if let Some(count) = counts.get_mut(&self.address) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&self.address);
                }
            }
        }
    }

    pub fn is_admitted(&self) -> bool {
        !self.is_counted.load(Ordering::Relaxed)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.admitted();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_part_until_it_is_let_in_or_gone() {
        let all = Arc::new(Newcomers::default());
        let address = IpAddr::from([192, 0, 2, 1]);
        let here: Vec<Arc<Newcomer>> = std::iter::from_fn(|| all.count(address)).collect();
        assert_eq!(here.len(), PER_ADDRESS_MAX);
        let other = all.count([192, 0, 2, 2].into());
        assert!(other.is_some_and(|other| !other.is_admitted()));
        here[0].admitted();
        here[0].admitted();
        assert!(here[0].is_admitted());
        let next = all.count(address);
        assert!(next.is_some() && all.count(address).is_none());
        drop((here, next));
        assert!(all.counts().is_empty());
    }
}
