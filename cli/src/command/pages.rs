//! Lists, all pages of them.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use crate::client::{Answer, Client, encode, items};
use crate::failure::Failure;

/// For one page.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The most that one answer lists.
const PAGE: usize = 1000;

/// Hands on every page of the list at `path` as it comes, and answers the body of the last.
pub fn each(client: &Client, path: &str, patience: Duration, mut take: impl FnMut(&Answer)) -> Result<Value, Failure> {
    let sign = if path.contains('?') { '&' } else { '?' };
    let mut from = String::new();
    loop {
        let page = client.call(Method::GET, &format!("{path}{sign}limit={PAGE}{from}"), patience)?;
        take(&page);
        match page.body["next"].as_str() {
            // A list that goes on has something on every page.
            Some(cursor) if !items(&page.body["items"]).is_empty() => from = format!("&cursor={}", encode(cursor)),
            _ => return Ok(page.body),
        }
    }
}
