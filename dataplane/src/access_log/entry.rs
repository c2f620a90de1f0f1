//! One line of the log.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use shared::model::LimitId;

use super::escape;
use super::moment::Moment;

/// Bytes of each text, escaped: with all of them at their longest a line is below `sink::WHOLE_BYTES_MAX`.
const PATH_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 256;

/// What is told of a request, or of a message. No query, no header of credentials, no token.
pub struct Entry<'a> {
    pub at: SystemTime,
    pub protocol: &'static str,
    pub client: IpAddr,
    /// Empty, with the host and the path, where the request's head was refused.
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub status: u16,
    /// Of bodies.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub took: Duration,
    pub service: Option<&'a str>,
    /// The last that was tried.
    pub upstream: Option<&'a str>,
    pub tries: u32,
    pub token: Option<[u8; 8]>,
    /// That refused it.
    pub limit: Option<LimitId>,
    pub request_id: Option<&'a [u8]>,
    pub error: Option<&'a str>,
    pub referer: Option<&'a [u8]>,
    pub agent: Option<&'a [u8]>,
}

/// The first 64 bits of its SHA-256: who has the token finds its requests, and who has the log does not find a token that
/// cannot be guessed.
pub fn token_hash(token: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(token)[..8]);
    first
}

impl Entry<'_> {
    pub(super) fn to_json(&self, proxy: &str) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        let at = Moment::from(self.at);
        put(&mut line, format_args!("{{\"time\":\"{}\"", at.internet()));
        text(&mut line, "proxy", Some(proxy), NAME_BYTES_MAX);
        text(&mut line, "protocol", Some(self.protocol), NAME_BYTES_MAX);
        put(&mut line, format_args!(",\"client\":\"{}\"", self.client));
        text(&mut line, "method", some(self.method), NAME_BYTES_MAX);
        text(&mut line, "host", some(self.host), NAME_BYTES_MAX);
        text(&mut line, "path", some(self.path), PATH_BYTES_MAX);
        put(
            &mut line,
            format_args!(
                ",\"status\":{},\"bytes_in\":{},\"bytes_out\":{},\"duration_ms\":{}.{:03}",
                self.status,
                self.bytes_in,
                self.bytes_out,
                self.took.as_millis(),
                self.took.subsec_micros() % 1_000
            ),
        );
        text(&mut line, "service", self.service, NAME_BYTES_MAX);
        text(&mut line, "upstream", self.upstream, NAME_BYTES_MAX);
        put(&mut line, format_args!(",\"tries\":{}", self.tries));
        value(&mut line, "auth_token_hash", self.token.map(Hex));
        value(&mut line, "limit", self.limit);
        let request_id = self.request_id.and_then(|id| std::str::from_utf8(id).ok());
        text(&mut line, "request_id", request_id, NAME_BYTES_MAX);
        text(&mut line, "error", self.error, NAME_BYTES_MAX);
        line.extend_from_slice(b"}\n");
        line
    }

    /// The combined format of Apache, without the query and without a user.
    pub(super) fn to_combined(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(256);
        let at = Moment::from(self.at);
        put(&mut line, format_args!("{} - - [{}] \"", self.client, at.common()));
        match self.method {
            "" => line.push(b'-'),
            method => {
                escape::combined(method.as_bytes(), NAME_BYTES_MAX, &mut line);
                line.push(b' ');
                escape::combined(self.path.as_bytes(), PATH_BYTES_MAX, &mut line);
                put(&mut line, format_args!(" {}", self.protocol));
            }
        }
        put(&mut line, format_args!("\" {} {}", self.status, self.bytes_out));
        let referer = self.referer.map(without_query);
        for quoted in [referer, self.agent] {
            line.extend_from_slice(b" \"");
            match quoted {
                None | Some([]) => line.push(b'-'),
                Some(quoted) => escape::combined(quoted, PATH_BYTES_MAX / 2, &mut line),
            }
            line.push(b'"');
        }
        line.push(b'\n');
        line
    }
}

/// It may hold secrets of the page that a request came from.
fn without_query(referer: &[u8]) -> &[u8] {
    let end = referer.iter().position(|byte| matches!(byte, b'?' | b'#'));
    &referer[..end.unwrap_or(referer.len())]
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Nothing fails to be written to memory.
fn put(line: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    let _ = line.write_fmt(what);
}

fn text(line: &mut Vec<u8>, key: &str, text: Option<&str>, bytes_max: usize) {
    put(line, format_args!(",\"{key}\":"));
    match text {
        None => line.extend_from_slice(b"null"),
        Some(text) => {
            line.push(b'"');
            escape::json(text, bytes_max, line);
            line.push(b'"');
        }
    }
}

/// Of what is written with letters, digits and dashes.
fn value(line: &mut Vec<u8>, key: &str, value: Option<impl Display>) {
    match value {
        None => put(line, format_args!(",\"{key}\":null")),
        Some(value) => put(line, format_args!(",\"{key}\":\"{value}\"")),
    }
}

struct Hex([u8; 8]);

impl Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}
