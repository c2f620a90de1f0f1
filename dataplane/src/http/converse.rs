//! A client's requests, one after the other, each with its answer.

use std::pin::pin;
use std::rc::Rc;

use http::header::HeaderMap;
use http::{Method, header, request};

use super::exchange::{Client, exchange};
use super::fields;
use super::head::{Head, Refused};
use super::intake::Intake;
use super::reply::{Manner, reply};
use super::wire::{Stop, Wire};

/// How a connection's HTTP ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// With the last answer, or by the client before a request.
    Done,
    /// With no request under way.
    Quiet,
    /// With what is no request.
    Refused(Refused),
    /// The client has not sent its head in time.
    Late,
    /// By the client or the network, or since an answer cannot be told whole.
    Broken,
    /// Patience has.
    Cut,
}

pub async fn converse(client: &Client, wire: &Rc<Wire>) -> Ended {
    loop {
        let (head, told) = match wire.request().await {
            Ok(Some(next)) => next,
            Ok(None) => return Ended::Done,
            Err(Stop::Refused(refused)) => return Ended::Refused(refused),
            Err(Stop::Broken) => return Ended::Broken,
        };
        let manner = manner(&head, &told);
        let body = Intake::new(wire);
        let answer = wire.watched(pin!(exchange(client, head, body))).await;
        let Some(answer) = answer else { return Ended::Broken };
        let replied = wire.watched(pin!(reply(wire, *answer, &manner))).await;
        let Some(Ok(persists)) = replied else {
            return Ended::Broken;
        };
        client.session.answer_sent();
        if !persists || !wire.turn().await {
            return Ended::Done;
        }
    }
}

fn manner(head: &request::Parts, told: &Head) -> Manner {
    Manner {
        version: head.version,
        is_head: head.method == Method::HEAD,
        persists: told.persists,
        takes_trailers: takes_trailers(&head.headers),
    }
}

/// RFC 9110, 10.1.4
fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TE)
        && fields::tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}
