//! A small and strict client of the REST interface.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::wire::{Body, Connection, Head, Request};

#[derive(Clone, Debug)]
pub struct Api {
    at: SocketAddr,
    token: Option<String>,
}

impl Api {
    pub fn new(at: SocketAddr) -> Api {
        Api { at, token: None }
    }

    pub fn with_token(mut self, token: &str) -> Api {
        self.token = Some(token.to_owned());
        self
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, path, &self.at.to_string());
        match &self.token {
            Some(token) => request.with("authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends a request on a connection of its own; an error is the transport's.
    pub async fn try_send(&self, request: &Request) -> std::io::Result<Reply> {
        let mut connection = Connection::connect(self.at).await?;
        // The longest wait that a test asks for, and time to spare.
        connection.reader.patience = Duration::from_secs(100);
        let (head, bytes) = connection.exchange(request).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let asked = format!("{} {}", request.method, request.target);
        Ok(Reply {
            asked,
            status: head.status,
            head,
            text,
            body,
        })
    }

    pub async fn send(&self, request: &Request) -> Reply {
        let sent = self.try_send(request).await;
        sent.unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.target))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(&self.request("GET", path)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(&self.request("DELETE", path)).await
    }

    /// PUT without a body.
    pub async fn put_bare(&self, path: &str) -> Reply {
        self.send(&self.request("PUT", path)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send(&self.with_json("PUT", path, &body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(&self.with_json("PATCH", path, &body.to_string())).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(&self.with_json("POST", path, &body.to_string())).await
    }

    pub fn with_json(&self, method: &str, path: &str, body: &str) -> Request {
        self.request(method, path)
            .with("content-type", "application/json")
            .body(body)
    }

    /// Puts a service that is reached by its name as host; `settings` are further members of it.
    pub async fn service(&self, name: &str, settings: Value) -> Reply {
        let mut body = json!({"match": [{"hosts": [name]}]});
        for (key, value) in settings.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        self.put(&format!("/v1/services/{name}"), body).await.live()
    }

    pub async fn register(&self, service: &str, id: &str, address: impl Display) -> Reply {
        let path = format!("/v1/services/{service}/upstreams/{id}");
        self.put(&path, json!({"address": address.to_string()})).await.live()
    }

    /// Opens `GET path` and leaves its endless body to the caller.
    pub async fn follow(&self, path: &str) -> Follow {
        let mut connection = Connection::connect(self.at).await.expect("the admin port accepts");
        let head = connection
            .ask(&self.request("GET", path))
            .await
            .expect("an answer's head");
        assert_eq!(head.status, 200, "GET {path}");
        let body = Body::of_answer(&head, "GET").expect("a framed answer");
        Follow {
            connection,
            body,
            rest: Vec::new(),
        }
    }
}

/// An NDJSON answer without an end.
pub struct Follow {
    connection: Connection,
    body: Body,
    rest: Vec<u8>,
}

impl Follow {
    /// The next line; `None` when the answer ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("each line is JSON"));
            }
            let piece = self
                .body
                .next(&mut self.connection.reader)
                .await
                .expect("a framed answer");
            self.rest.extend_from_slice(&piece?);
        }
    }

    /// The next line that has the member.
    pub async fn next_with(&mut self, member: &str) -> Value {
        loop {
            let line = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the answer ended before a line with `{member}`"));
            if line.get(member).is_some() {
                return line;
            }
        }
    }
}

#[derive(Debug)]
pub struct Reply {
    asked: String,
    pub status: u16,
    pub head: Head,
    pub text: String,
    /// `Null` where the answer is not JSON.
    pub body: Value,
}

impl Reply {
    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
        self
    }

    /// A write that is done and reached.
    #[track_caller]
    pub fn live(self) -> Reply {
        let reply = self.expect(200);
        assert_eq!(reply.body["wait"]["reached"], true, "{}: {}", reply.asked, reply.text);
        reply
    }

    /// A problem answer (RFC 9457) of this kind.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Reply {
        let reply = self.expect(status);
        assert_eq!(
            reply.head.field("content-type"),
            Some("application/problem+json"),
            "{}",
            reply.asked
        );
        assert_eq!(
            reply.body["type"],
            format!("urn:vulcan:{kind}"),
            "{}: {}",
            reply.asked,
            reply.text
        );
        assert_eq!(reply.body["status"], status, "{}: {}", reply.asked, reply.text);
        assert!(
            reply.body["title"].is_string() && reply.body["detail"].is_string(),
            "{}",
            reply.text
        );
        reply
    }

    /// Whether the problem blames this field.
    #[track_caller]
    pub fn blames(self, field: &str) -> Reply {
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let named = errors
            .iter()
            .any(|error| error["field"] == field && error["detail"].is_string());
        assert!(named, "{}: no error for `{field}` in {}", self.asked, self.text);
        self
    }

    #[track_caller]
    pub fn revision(&self) -> u64 {
        self.body["revision"]
            .as_u64()
            .unwrap_or_else(|| panic!("{}: no revision in {}", self.asked, self.text))
    }

    pub fn etag(&self) -> String {
        self.head
            .field("etag")
            .unwrap_or_else(|| panic!("{}: no ETag", self.asked))
            .to_owned()
    }

    /// The names in a list of the `fleet` member: `lagging`, `detached`, `draining`, `refused`. They come in any order.
    pub fn named(&self, list: &str) -> Vec<String> {
        let entries = self.body["fleet"][list].as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| entry["proxy"].as_str().or(entry.as_str()).map(str::to_owned);
        let mut names: Vec<String> = entries.iter().filter_map(name).collect();
        names.sort_unstable();
        names
    }
}
