//! An answer that goes on: lines as they come.

use std::ops::ControlFlow;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use net::ndjson::Lines;
use tokio::time::timeout;

use super::{Ask, BODY_BYTES_MAX, Client};
use crate::failure::Failure;

/// For the answer's head. Whoever answers says something every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A revision with what stood before, of an apply of 1 MiB.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Why there are no more lines.
#[derive(Debug)]
pub enum End {
    /// Whoever took the lines has enough.
    Enough,
    /// The connection broke off, or nothing came: trying again may help.
    Lost(String),
    /// It was refused: trying again does not help.
    Refused(Failure),
}

impl Client {
    /// Hands on the lines that `path` answers, until one of both has enough.
    pub fn follow(&self, path: &str, take: impl FnMut(&str) -> ControlFlow<()>) -> End {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.lines(path, take)),
            Err(error) => End::Refused(Failure::refused(error)),
        }
    }

    async fn lines(&self, path: &str, mut take: impl FnMut(&str) -> ControlFlow<()>) -> End {
        let silent = || End::Lost(format!("nothing came within {SILENCE_MAX:?}"));
        let answer = match timeout(SILENCE_MAX, self.send(&Ask::get(path, SILENCE_MAX))).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Failure::Refused(detail))) => return End::Lost(detail),
            Ok(Err(failure)) => return End::Refused(failure),
            Err(_) => return silent(),
        };
        let status = answer.status();
        let mut body = answer.into_body();
        if !status.is_success() {
            let problem = timeout(SILENCE_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
            let bytes = problem.ok().and_then(Result::ok).map(|body| body.to_bytes());
            let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
            let problem = serde_json::from_str(&text).unwrap_or_default();
            let refusal = self.refusal(status, text, &problem);
            return match (status.is_server_error() || status.as_u16() == 429, refusal) {
                (true, Failure::Refused(detail) | Failure::Body(detail)) => End::Lost(detail),
                (_, refusal) => End::Refused(refusal),
            };
        }
        let mut lines = Lines::new(LINE_BYTES_MAX);
        loop {
            let frame = match timeout(SILENCE_MAX, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return End::Lost(error.to_string()),
                Ok(None) => return End::Lost("the control plane ended it".to_owned()),
                Err(_) => return silent(),
            };
            lines.push(frame.data_ref().map_or(&[], |data| data));
            loop {
                match lines.next_line() {
                    Ok(Some(line)) if take(&String::from_utf8_lossy(&line)).is_break() => return End::Enough,
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return End::Refused(self.failed(error)),
                }
            }
        }
    }
}
