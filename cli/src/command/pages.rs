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
pub fn each(
    client: &Client,
    path: &str,
    patience: Duration,
    mut take: impl FnMut(&Answer) -> Result<(), Failure>,
) -> Result<Value, Failure> {
    let sign = if path.contains('?') { '&' } else { '?' };
    let mut from = String::new();
    loop {
        let page = client.call(Method::GET, &format!("{path}{sign}limit={PAGE}{from}"), patience)?;
        take(&page)?;
        match page.body["next"].as_str() {
            // A list that goes on has something on every page.
            Some(cursor) if !items(&page.body["items"]).is_empty() => from = format!("&cursor={}", encode(cursor)),
            _ => return Ok(page.body),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use clap::Parser;

    use super::*;
    use crate::args::Remote;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        remote: Remote,
    }

    /// Answers one request after another, and tells what was asked.
    fn control_plane(answers: &'static [&'static str]) -> (Remote, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = thread::spawn(move || {
            let answer = |body: &&str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
                String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned()
            };
            answers.iter().map(answer).collect()
        });
        (Only::parse_from(["test", "--url", &url]).remote, asked)
    }

    #[test]
    fn a_list_goes_on_from_page_to_page() {
        let pages: &[&str] = &[
            r#"{"items": [1, 2], "next": "a b"}"#,
            r#"{"items": [3], "next": "c"}"#,
            r#"{"items": [], "next": "c", "head": 7}"#,
        ];
        let (remote, asked) = control_plane(pages);
        let client = Client::new(&remote).unwrap();
        let mut found = Vec::new();
        let take = |page: &Answer| {
            found.extend(items(&page.body["items"]).iter().filter_map(Value::as_u64));
            Ok(())
        };
        let last = each(&client, "/v1/things?x=1", PATIENCE, take).unwrap();
        assert_eq!((found, &last["head"]), (vec![1, 2, 3], &Value::from(7)));
        assert_eq!(
            asked.join().unwrap(),
            [
                "/v1/things?x=1&limit=1000",
                "/v1/things?x=1&limit=1000&cursor=a%20b",
                "/v1/things?x=1&limit=1000&cursor=c"
            ]
        );
    }
}
