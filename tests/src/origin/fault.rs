//! Origins that answer, and give no good answer.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::wire::{Body, Connection, Fields};

/// What an origin does with every request, once it has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Sends what is no HTTP.
    Garbage,
    /// Half of an answer's head, and the connection's end.
    HalfHead,
    /// Half of an answer's body, likewise.
    HalfBody,
    /// 503, as one that has not started yet.
    Unwell,
}

const ALL: [Fault; 4] = [Fault::Garbage, Fault::HalfHead, Fault::HalfBody, Fault::Unwell];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Garbage => "garbage",
            Fault::HalfHead => "half-head",
            Fault::HalfBody => "half-body",
            Fault::Unwell => "unwell",
        })
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Fault, String> {
        let known = ALL.into_iter().find(|fault| fault.to_string() == name);
        known.ok_or_else(|| format!("no fault is called {name}"))
    }
}

impl Fault {
    /// As `answer`: false when the connection cannot carry another request.
    pub(super) async fn answer(self, to: &mut Connection, id: &str, fields: &Fields) -> io::Result<bool> {
        Body::of_request(fields)?.all(&mut to.reader).await?;
        let answer = match self {
            Fault::Garbage => "certainly not\r\n\r\n".to_owned(),
            Fault::HalfHead => format!("HTTP/1.1 200 OK\r\nx-origin: {id}\r\ncontent-len"),
            Fault::HalfBody => format!("HTTP/1.1 200 OK\r\nx-origin: {id}\r\ncontent-length: 20\r\n\r\n0123456789"),
            Fault::Unwell => format!("HTTP/1.1 503 Not Yet\r\nx-origin: {id}\r\ncontent-length: 0\r\n\r\n"),
        };
        to.writer.send(answer.as_bytes()).await?;
        if self == Fault::Unwell {
            return Ok(true);
        }
        to.writer.close().await?;
        Ok(false)
    }
}
