//! What an upstream's answer is to the client: from HTTP's words to those of SMTP (RFC 5321, 4.2; RFC 3463).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{StatusCode, response};
use serde_json::Value;

use super::Reply;

/// One who is asked to come back no sooner need not stay.
const LONG: Duration = Duration::from_secs(300);
const TEXT_BYTES_MAX: usize = 400;

/// A whole answer; of its body the beginning.
#[derive(Debug)]
pub struct Answered {
    pub head: response::Parts,
    pub start: Bytes,
}

impl Answered {
    /// `is_utf8`: the client reads UTF-8 (RFC 6531, 3.7.4.1).
    pub fn reply(&self, is_utf8: bool) -> Reply {
        let mut reply = of_status(self.head.status, &self.head.headers);
        let text = said(&self.head.headers, &self.start, is_utf8);
        if !text.is_empty() {
            reply.text = Cow::Owned(text);
        }
        reply
    }
}

fn of_status(status: StatusCode, headers: &HeaderMap) -> Reply {
    match status.as_u16() {
        200..=299 => Reply::new(250, "2.0.0", "accepted"),
        401 | 407 => Reply::new(451, "4.7.0", "the application did not accept this server"),
        403 => Reply::new(550, "5.7.1", "refused"),
        404 | 410 => Reply::new(550, "5.1.1", "no such recipient"),
        413 => Reply::new(552, "5.3.4", "the message is too large"),
        // 431: what is in a head is ours and not the client's to change.
        408 | 411 | 425 | 431 => Reply::new(451, "4.3.5", "not now, try again later"),
        429 if retry_after(headers).is_some_and(|after| after >= LONG) => Reply {
            closes: true,
            ..Reply::new(421, "4.7.1", "too many messages, try again later")
        },
        429 => Reply::new(451, "4.7.1", "too many messages, try again later"),
        400..=499 => Reply::new(554, "5.6.0", "the message was not accepted"),
        507 => Reply::new(452, "4.3.1", "no room for the message, try again later"),
        500..=599 => Reply::new(451, "4.3.0", "the application failed, try again later"),
        // 3xx, which nobody follows, and what is none of an answer.
        _ => Reply::new(451, "4.3.5", "the application gave no answer of use, try again later"),
    }
}

/// A date stands for no wait: who says one is not asked for longer than a client would try again anyway.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The `message` of a JSON object, or the first line of a plain text; on one line, without controls.
fn said(headers: &HeaderMap, body: &[u8], is_utf8: bool) -> String {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map_or("", |value| value.to_str().unwrap_or("?"));
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let text = match &*media_type {
        "" | "text/plain" => Some(String::from_utf8_lossy(body).into_owned()),
        json if json == "application/json" || json.ends_with("+json") => message(body),
        _ => None,
    };
    let text = text.unwrap_or_default();
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let mut said = String::new();
    for c in line.chars().filter(|c| !c.is_control()) {
        let c = if is_utf8 || c.is_ascii() { c } else { '?' };
        if said.len() + c.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        said.push(c);
    }
    said
}

fn message(body: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(body).ok()?;
    document.get("message")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};

    use super::*;

    fn answered(status: u16, fields: &[(&'static str, &str)], body: &str) -> Answered {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            head.headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Answered {
            head,
            start: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn every_status_has_its_code() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => (250, "2.0.0"),
                300..=399 | 408 | 411 | 425 | 431 | 100..=199 | 600..=999 => (451, "4.3.5"),
                401 | 407 => (451, "4.7.0"),
                403 => (550, "5.7.1"),
                404 | 410 => (550, "5.1.1"),
                413 => (552, "5.3.4"),
                429 => (451, "4.7.1"),
                400..=499 => (554, "5.6.0"),
                507 => (452, "4.3.1"),
                500..=599 => (451, "4.3.0"),
                _ => unreachable!(),
            };
            let reply = answered(status, &[], "").reply(false);
            assert_eq!((reply.code, reply.enhanced), expected, "{status}");
            assert!(!reply.closes && !reply.text.is_empty());
            assert_eq!(reply.is_positive(), (200..300).contains(&status));
            assert_eq!(reply.code / 100, u16::from(reply.enhanced.as_bytes()[0] - b'0'));
        }
    }

    #[test]
    fn one_who_is_told_to_come_back_late_is_let_go() {
        for (after, code) in [
            ("299", 451),
            ("300", 421),
            ("86400", 421),
            ("-1", 451),
            ("Fri, 15 Jan 2027 08:00:00 GMT", 451),
        ] {
            let reply = answered(429, &[("retry-after", after)], "").reply(false);
            assert_eq!(
                (reply.code, reply.enhanced, reply.closes),
                (code, "4.7.1", code == 421),
                "{after}"
            );
        }
    }

    #[test]
    fn the_text_is_the_applications_on_one_line() {
        let json = &[("content-type", "application/problem+json; charset=utf-8")][..];
        let plain = &[("content-type", "text/plain")][..];
        let long = "ä".repeat(500);
        for (fields, body, expected) in [
            (json, r#"{"message":"no\r\n250 such\u0000 user","detail":"x"}"#, "no"),
            (json, r#"{"message":7}"#, "refused"),
            (json, "no such user", "refused"),
            (plain, "\r\n \t\n blocked\u{7}: ä\nmore", "blocked: ?"),
            (&[][..], "blocked", "blocked"),
            (&[("content-type", "text/html")][..], "<!DOCTYPE html>", "refused"),
        ] {
            assert_eq!(answered(403, fields, body).reply(false).text, expected, "{body}");
        }
        assert_eq!(answered(403, plain, "ä").reply(true).text, "ä");
        assert_eq!(answered(403, plain, &long).reply(true).text.len(), 400);
        assert_eq!(answered(403, plain, &long).reply(false).text, "?".repeat(400));
    }
}
