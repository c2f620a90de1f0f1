//! The head of an answer (RFC 9112, 4 and 6).

use http::header;
use http::{StatusCode, Version, response};
use hyper::ext::ReasonPhrase;
use tokio::time::Instant;

use super::Manner;
use crate::codec::{Framing, fields};
use crate::http::{date, fields as hop_by_hop};

/// How the answer goes on behind its head.
pub struct Plan {
    pub framing: Framing,
    pub has_body: bool,
    /// Of the body that there is or would be, if it is known.
    length: Option<u64>,
    /// Another request may follow.
    pub persists: bool,
}

/// `length`: of the body, if that is known.
pub fn plan(head: &response::Parts, length: Option<u64>, manner: &Manner) -> Plan {
    let has_body = !manner.is_head && may_have_body(head.status);
    let declared = head.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| fields::length(value.as_bytes()).ok());
    let framing = match declared.or(length) {
        _ if !has_body => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if manner.version == Version::HTTP_10 => Framing::UntilEnd,
        None => Framing::Chunked,
    };
    let mut said = head.headers.get_all(header::CONNECTION).iter();
    let is_last = head.status == StatusCode::SWITCHING_PROTOCOLS
        || framing == Framing::UntilEnd
        || said.any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    Plan {
        framing,
        has_body,
        length,
        persists: manner.persists && !is_last,
    }
}

pub fn write(head: &response::Parts, plan: &Plan, manner: &Manner, now: Instant, out: &mut Vec<u8>) {
    write_status(head, manner.version, out);
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in &head.headers {
        let is_left_out = match *name {
            header::CONNECTION => !is_switch,
            header::TRANSFER_ENCODING => true,
            // RFC 9110, 8.6
            header::CONTENT_LENGTH => is_switch || head.status == StatusCode::NO_CONTENT,
            header::TRAILER => plan.framing != Framing::Chunked,
            _ => false,
        };
        if !is_left_out {
            fields::write_one(name, value, out);
        }
    }
    write_framing(head, plan, manner, out);
    if !is_switch {
        match (plan.persists, manner.version) {
            (false, _) => out.extend_from_slice(b"connection: close\r\n"),
            (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, _) => {}
        }
    }
    if !head.headers.contains_key(header::DATE) {
        date::write(now, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The whole of an answer ahead of the answer, such as 103 (RFC 9110, 15.2).
pub fn write_interim(head: &response::Parts, out: &mut Vec<u8>) {
    let mut headers = head.headers.clone();
    hop_by_hop::take_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    write_status(head, Version::HTTP_11, out);
    fields::write(&headers, out);
    out.extend_from_slice(b"\r\n");
}

fn write_status(head: &response::Parts, version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match version {
        Version::HTTP_10 => b"HTTP/1.0 ",
        _ => b"HTTP/1.1 ",
    });
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    // As the upstream says it.
    match head.extensions.get::<ReasonPhrase>() {
        Some(reason) => out.extend_from_slice(reason.as_bytes()),
        None => out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

fn write_framing(head: &response::Parts, plan: &Plan, manner: &Manner, out: &mut Vec<u8>) {
    let is_told = head.headers.contains_key(header::CONTENT_LENGTH);
    let length = match plan.framing {
        _ if is_told => None,
        Framing::Chunked => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            None
        }
        Framing::Length(length) if plan.has_body => Some(length),
        // What it would be, as far as that is known.
        Framing::Length(_) if manner.is_head => plan.length.filter(|length| *length > 0),
        Framing::Length(_) | Framing::UntilEnd => None,
    };
    if let Some(length) = length {
        out.extend_from_slice(b"content-length: ");
        fields::write_number(length, out);
        out.extend_from_slice(b"\r\n");
    }
}

fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
