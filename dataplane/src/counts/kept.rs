use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of what nobody uses any more, such as a service that was deleted: longer than it takes whoever collects metrics to see
/// the last of it, or a deployment to bring it back.
const UNUSED_FOR: Duration = Duration::from_secs(15 * 60);

/// Counters by whom they are of. Whoever counts keeps a handle of them.
pub struct Kept<K, T> {
    most: usize,
    make: Box<dyn Fn() -> T + Send + Sync>,
    by_key: Mutex<BTreeMap<K, Entry<T>>>,
    others: Arc<T>,
}

struct Entry<T> {
    counts: Arc<T>,
    /// Since nobody else has been seen with a handle.
    unused_since: Option<Instant>,
}

impl<K: Ord + Clone, T> Kept<K, T> {
    /// Those beyond `most` are counted together.
    pub fn new(most: usize, make: impl Fn() -> T + Send + Sync + 'static) -> Kept<K, T> {
        Kept {
            most,
            others: Arc::new(make()),
            make: Box::new(make),
            by_key: Mutex::default(),
        }
    }

    /// To be kept by whoever counts: this one locks.
    pub fn of(&self, key: &K) -> Arc<T> {
        self.of_at(key, Instant::now())
    }

    fn of_at(&self, key: &K, now: Instant) -> Arc<T> {
        let mut by_key = self.lock();
        if let Some(entry) = by_key.get_mut(key) {
            entry.unused_since = None;
            return entry.counts.clone();
        }
        if by_key.len() >= self.most {
            prune(&mut by_key, now);
        }
        if by_key.len() >= self.most {
            return self.others.clone();
        }
        let counts = Arc::new((self.make)());
        let entry = Entry {
            counts: counts.clone(),
            unused_since: None,
        };
        by_key.insert(key.clone(), entry);
        counts
    }

    /// In the order of their keys.
    pub fn all(&self) -> Vec<(K, Arc<T>)> {
        self.all_at(Instant::now())
    }

    fn all_at(&self, now: Instant) -> Vec<(K, Arc<T>)> {
        let mut by_key = self.lock();
        prune(&mut by_key, now);
        let all = by_key.iter().map(|(key, entry)| (key.clone(), entry.counts.clone()));
        all.collect()
    }

    /// Those that are counted together.
    pub fn others(&self) -> &T {
        &self.others
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, Entry<T>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prune<K: Ord, T>(by_key: &mut BTreeMap<K, Entry<T>>, now: Instant) {
    by_key.retain(|_, entry| {
        if Arc::strong_count(&entry.counts) > 1 {
            entry.unused_since = None;
            return true;
        }
        let since = *entry.unused_since.get_or_insert(now);
        now.saturating_duration_since(since) < UNUSED_FOR
    });
}

#[cfg(test)]
mod tests {
    use super::super::Cells;
    use super::*;

    fn kept(most: usize) -> Kept<u32, Cells<1>> {
        Kept::new(most, || Cells::new(1))
    }

    fn keys(all: &[(u32, Arc<Cells<1>>)]) -> Vec<u32> {
        all.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn those_beyond_the_most_are_counted_together() {
        let kept = kept(2);
        let handles: Vec<_> = (0..5).map(|key| kept.of(&key)).collect();
        handles.iter().for_each(|handle| handle.add(0, 1));
        kept.of(&1).add(0, 1);
        let all = kept.all();
        assert_eq!(keys(&all), [0, 1]);
        assert_eq!((all[0].1.sum(0), all[1].1.sum(0), kept.others().sum(0)), (1, 2, 3));
    }

    #[test]
    fn what_nobody_uses_goes_after_a_while_and_makes_room() {
        let (kept, began) = (kept(1), Instant::now());
        let handle = kept.of_at(&0, began);
        handle.add(0, 7);
        assert_eq!(keys(&kept.all_at(began + UNUSED_FOR * 2)), [0], "it is in use");
        drop(handle);
        let unused = began + UNUSED_FOR * 3;
        assert_eq!(keys(&kept.all_at(unused)), [0]);
        // It comes back in time, with what it had.
        assert_eq!(kept.of_at(&0, unused + UNUSED_FOR / 2).sum(0), 7);
        assert_eq!(keys(&kept.all_at(unused + UNUSED_FOR)), [0]);
        kept.of_at(&1, unused + UNUSED_FOR * 2);
        assert_eq!(keys(&kept.all_at(unused + UNUSED_FOR * 2)), [1]);
    }
}
