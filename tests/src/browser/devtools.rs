//! The protocol: JSON objects, each ended by a zero byte. Answers carry the number of their question, events none.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::process::PATIENCE;

/// Events that are kept; a test that makes more of them has a page that complains without an end.
const EVENTS_MAX: usize = 100_000;
/// Messages that the browser may be ahead.
const AHEAD_MAX: usize = 1_024;

pub struct Devtools {
    browser: Child,
    questions: ChildStdin,
    said: mpsc::Receiver<Value>,
    last: u64,
    events: Vec<Value>,
}

impl Drop for Devtools {
    fn drop(&mut self) {
        // One that has ended by itself is killed in vain.
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

impl Devtools {
    pub fn launch(mut command: Command, log: &Path) -> Devtools {
        let log = File::create(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut browser = command.spawn().expect("sh runs");
        let mut pipe = BufReader::new(browser.stdout.take().expect("stdout is piped"));
        let (sender, said) = mpsc::channel(AHEAD_MAX);
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while pipe.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
                let message = serde_json::from_slice(bytes.strip_suffix(b"\0").unwrap_or(&bytes));
                if sender.blocking_send(message.unwrap_or(Value::Null)).is_err() {
                    return;
                }
                bytes.clear();
            }
        });
        Devtools {
            questions: browser.stdin.take().expect("stdin is piped"),
            browser,
            said,
            last: 0,
            events: Vec::new(),
        }
    }

    /// The result of a method; one that is refused fails the test.
    pub async fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut question = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            question["sessionId"] = session.into();
        }
        let mut bytes = question.to_string().into_bytes();
        bytes.push(0);
        self.questions.write_all(&bytes).expect("the browser reads");
        loop {
            let mut said = self.next(method).await;
            if said["id"] == id {
                assert!(said["error"].is_null(), "{method}: {}", said["error"]);
                return said["result"].take();
            }
            if said["id"].is_null() {
                assert!(self.events.len() < EVENTS_MAX, "too many events");
                self.events.push(said);
            }
        }
    }

    async fn next(&mut self, method: &str) -> Value {
        let said = tokio::time::timeout(PATIENCE, self.said.recv()).await;
        let said = said.unwrap_or_else(|_| panic!("no answer to {method} within {PATIENCE:?}"));
        said.unwrap_or_else(|| panic!("the browser ended before it answered {method}"))
    }

    /// What came without being asked for, so far and of this session.
    pub fn events<'a>(&'a self, session: &'a str, method: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["sessionId"] == session && event["method"] == method)
            .map(|event| &event["params"])
    }
}
