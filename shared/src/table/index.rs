//! Maps from text that are cheap when tiny and persistent when large.

use std::sync::Arc;

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

/// A persistent hash map. Keys come from the configuration only, so a fixed, fast hash is safe: whoever sends requests
/// cannot insert.
pub(super) type HashMap<K, V> = GenericHashMap<K, V, foldhash::quality::FixedState, DefaultSharedPtr>;

/// Most nodes of a path trie have a child or two, where a hash map would cost a kilobyte each.
#[derive(Clone, Debug)]
pub(super) enum Index<V> {
    Few(Vec<(Arc<str>, V)>),
    Many(HashMap<Arc<str>, V>),
}

/// Scanning so many short texts takes as long as hashing one.
const FEW: usize = 8;

impl<V> Default for Index<V> {
    fn default() -> Index<V> {
        Index::Few(Vec::new())
    }
}

impl<V: Clone> Index<V> {
    pub fn is_empty(&self) -> bool {
        match self {
            Index::Few(entries) => entries.is_empty(),
            Index::Many(map) => map.is_empty(),
        }
    }

    pub fn get(&self, key: &str) -> Option<&V> {
        match self {
            Index::Few(entries) => entries.iter().find(|(name, _)| **name == *key).map(|(_, value)| value),
            Index::Many(map) => map.get(key),
        }
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        match self {
            Index::Few(entries) => entries
                .iter_mut()
                .find(|(name, _)| **name == *key)
                .map(|(_, value)| value),
            Index::Many(map) => map.get_mut(key),
        }
    }

    /// Puts a value at a key that has none.
    pub fn insert(&mut self, key: Arc<str>, value: V) {
        match self {
            Index::Few(entries) if entries.len() < FEW => entries.push((key, value)),
            Index::Few(entries) => {
                *self = Index::Many(std::mem::take(entries).into_iter().chain([(key, value)]).collect());
            }
            Index::Many(map) => {
                map.insert(key, value);
            }
        }
    }

    pub fn remove(&mut self, key: &str) {
        match self {
            Index::Few(entries) => entries.retain(|(name, _)| **name != *key),
            Index::Many(map) => {
                map.remove(key);
                // Far below the other threshold, so that one service that comes and goes does not rebuild each time.
                if map.len() <= FEW / 2 {
                    *self = Index::Few(map.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
                }
            }
        }
    }
}
