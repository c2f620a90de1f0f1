//! Where the head of a request is from its parsing to its end: in one place, since it is handed on often, and with room for
//! fields that the worker had for one before.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use http::header::HeaderMap;
use http::{Request, request};

/// So many maps a worker keeps, and none that has grown larger.
const SPARE_MAX: usize = 64;
const FIELDS_MAX: usize = 48;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
pub struct RequestParts(Box<request::Parts>);

impl RequestParts {
    /// Without fields.
    pub fn new() -> RequestParts {
        let mut parts = Box::new(Request::new(()).into_parts().0);
        if let Some(spare) = SPARE.with_borrow_mut(Vec::pop) {
            parts.headers = spare;
        }
        RequestParts(parts)
    }
}

impl Default for RequestParts {
    fn default() -> RequestParts {
        RequestParts::new()
    }
}

impl Deref for RequestParts {
    type Target = request::Parts;

    fn deref(&self) -> &request::Parts {
        &self.0
    }
}

impl DerefMut for RequestParts {
    fn deref_mut(&mut self) -> &mut request::Parts {
        &mut self.0
    }
}

impl Drop for RequestParts {
    fn drop(&mut self) {
        let mut headers = std::mem::take(&mut self.0.headers);
        if (1..=FIELDS_MAX).contains(&headers.capacity()) {
            headers.clear();
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_MAX {
                    spare.push(headers);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderValue};

    use super::*;

    #[test]
    fn the_next_head_finds_the_room_and_none_of_the_fields() {
        let mut parts = RequestParts::new();
        for value in ["a", "b"] {
            parts.headers.append(header::COOKIE, HeaderValue::from_static(value));
        }
        let room = parts.headers.capacity();
        drop(parts);
        let next = RequestParts::new();
        assert_eq!((next.headers.capacity(), next.headers.len()), (room, 0));
        assert!(next.headers.get(header::COOKIE).is_none());
        let other = RequestParts::new();
        assert_eq!(other.headers.capacity(), 0, "there was one");
    }

    #[test]
    fn what_has_grown_large_is_not_kept() {
        let mut parts = RequestParts::new();
        parts.headers.reserve(FIELDS_MAX * 2);
        drop(parts);
        assert_eq!(RequestParts::new().headers.capacity(), 0);
    }

    #[test]
    fn a_worker_keeps_only_so_many() {
        let many: Vec<_> = (0..SPARE_MAX + 1).map(|_| RequestParts::new()).collect();
        for mut parts in many {
            parts.headers.reserve(1);
        }
        assert_eq!(SPARE.with_borrow(Vec::len), SPARE_MAX);
    }
}
