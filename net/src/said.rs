//! What comes again several times a second is said when it changes, and otherwise once a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);
/// Names that are remembered; while all of them were spoken of within a minute, nothing is said of others.
const NAMES_MAX: usize = 1_024;
/// Of a name that somebody made up; what follows does not tell it from another.
const NAME_CHARS_MAX: usize = 256;

/// What was said last of whom, and when.
pub struct Said<T>(Mutex<HashMap<Box<str>, (T, Instant)>>);

impl<T> Default for Said<T> {
    fn default() -> Said<T> {
        Said(Mutex::default())
    }
}

impl<T: PartialEq> Said<T> {
    /// Whether to say `what` of `whom`; it counts as said then.
    pub fn is_news(&self, whom: &str, what: T, now: Instant) -> bool {
        let whom: String = whom.chars().take(NAME_CHARS_MAX).collect();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_young = |at: &Instant| now.saturating_duration_since(*at) < EVERY;
        if let Some((last, at)) = said.get(&*whom)
            && *last == what
            && is_young(at)
        {
            return false;
        }
        if said.len() >= NAMES_MAX && !said.contains_key(&*whom) {
            said.retain(|_, (_, at)| is_young(at));
            if said.len() >= NAMES_MAX {
                return false;
            }
        }
        said.insert(whom.into(), (what, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_no_news_for_a_minute() {
        let (said, began) = (Said::default(), Instant::now());
        assert!(said.is_news("edge-1", 1, began));
        assert!(!said.is_news("edge-1", 1, began + EVERY / 2));
        assert!(said.is_news("edge-2", 1, began), "another one");
        assert!(said.is_news("edge-1", 2, began + EVERY / 2), "another thing");
        assert!(said.is_news("edge-1", 2, began + EVERY * 2));
    }

    #[test]
    fn names_that_somebody_makes_up_fill_no_memory_and_no_log() {
        let (said, began) = (Said::default(), Instant::now());
        let news = (0..10_000).filter(|n| said.is_news(&format!("{n}"), (), began));
        assert_eq!(news.count(), NAMES_MAX);
        assert!(said.is_news("late", (), began + EVERY));
        assert_eq!(said.0.lock().unwrap().len(), 1, "what is old is forgotten");
        let long = "ü".repeat(NAME_CHARS_MAX + 1);
        assert!(said.is_news(&long, (), began + EVERY));
    }
}
