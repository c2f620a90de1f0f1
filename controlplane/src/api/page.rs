//! Lists, a page at a time.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::answer::json;

#[derive(Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What `?cursor=` goes on from.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Of all that follows the cursor, in order; `next` makes the cursor that goes on after an item.
    pub fn of(mut following: impl Iterator<Item = T>, limit: usize, next: impl Fn(&T) -> String) -> Page<T> {
        let items: Vec<T> = following.by_ref().take(limit).collect();
        let more = following.next().is_some();
        let next = items.last().filter(|_| more).map(next);
        Page { items, next }
    }

    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(show).collect(),
            next: self.next,
        }
    }
}

impl<T: Serialize> Page<T> {
    pub fn answer(&self) -> Response {
        json(StatusCode::OK, self)
    }
}
