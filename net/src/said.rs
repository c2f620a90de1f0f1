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

/// What is tried again several times a second: that it fails is said when it begins and once a minute, and its end once.
#[derive(Debug, Default)]
pub struct Trouble {
    /// While it lasts.
    said: Option<Instant>,
}

impl Trouble {
    /// A try failed. Whether to say so; it counts as said then.
    pub fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.said.is_none_or(|at| now.saturating_duration_since(at) >= EVERY);
        if is_news {
            self.said = Some(now);
        }
        is_news
    }

    /// A try did not fail. Whether to say that it is over.
    pub fn ends(&mut self) -> bool {
        self.said.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_when_it_begins_once_a_minute_and_when_it_is_over() {
        let (mut trouble, began) = (Trouble::default(), Instant::now());
        assert!(!trouble.ends(), "none has been");
        let tries = (0..1_500).map(|n| began + Duration::from_millis(100) * n);
        let said: Vec<u64> = tries
            .filter(|now| trouble.is_news(*now))
            .map(|now| (now - began).as_secs())
            .collect();
        assert_eq!(said, [0, 60, 120]);
        assert!(trouble.ends());
        assert!(!trouble.ends(), "its end is said once");
        assert!(trouble.is_news(began + Duration::from_secs(121)), "another one");
    }

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
