//! Asks a service's upstreams whether they take mail for a recipient, before the message comes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Uri};
use serde::Serialize;
use shared::model::Service;
use tokio::time::timeout;

use super::outflow::Outflow;
use super::post::{Attempt, Failure, post};
use super::{Envelope, Recipient, Reply};
use crate::http::Upload;
use crate::pipeline::{Tried, pick_internal_in_turn};
use crate::worker::WorkerContext;

/// Clients wait for five minutes (RFC 5321, 4.5.3.2.3).
const WITHIN: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Question<'a> {
    to: &'a str,
    /// Empty for the null sender.
    from: &'a str,
    /// Bytes, as declared.
    size: Option<u64>,
    remote_ip: IpAddr,
    helo: &'a str,
}

/// 2xx takes it; everything else is answered as if it were the message's own.
pub async fn validate(
    context: &WorkerContext,
    service: &Service,
    envelope: &Envelope,
    recipient: &Recipient,
) -> Result<(), Reply> {
    let Some(path) = service
        .mail
        .as_ref()
        .and_then(|mail| mail.validate_recipient.as_deref())
    else {
        return Ok(());
    };
    let question = Question {
        to: recipient.mailbox.as_str(),
        from: envelope.sender.as_str(),
        size: envelope.size,
        remote_ip: envelope.visitor.client,
        helo: &envelope.visitor.helo,
    };
    let body = serde_json::to_vec(&question).map_err(|_| Failure::Unaskable.reply())?;
    let asking = ask(context, service, path, body.into(), envelope.is_utf8);
    match timeout(WITHIN, asking).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::TimedOut.reply()),
    }
}

/// A question changes nothing: every upstream may be asked, as often as the service's retries say.
async fn ask(context: &WorkerContext, service: &Service, path: &str, body: Bytes, is_utf8: bool) -> Result<(), Reply> {
    let mut tried = Tried::default();
    let mut failed: Option<Failure> = None;
    loop {
        let picked = pick_internal_in_turn(&context.views, &service.name, &tried).await;
        let picked = picked.map_err(|verdict| match failed.take() {
            Some(failure) if !failure.is_unsent() => failure.reply(),
            _ => Reply::of(&verdict),
        })?;
        let endpoint = picked.endpoint().clone();
        if let Some(failure) = failed.take()
            && !endpoint.care().budget().spend(Instant::now())
        {
            return Err(failure.reply());
        }
        let make = |attempt: &Attempt| request(path, &body, attempt);
        let failure = match post(context, picked, || true, make).await {
            Ok(answered) if answered.head.status.is_success() => return Ok(()),
            Ok(answered) => return Err(answered.reply(is_utf8)),
            Err(failure) => failure,
        };
        if tried.len() >= service.retries.attempts as usize || matches!(failure, Failure::Unaskable) {
            return Err(failure.reply());
        }
        tried.add(&endpoint);
        failed = Some(failure);
    }
}

fn request(path: &str, body: &Bytes, attempt: &Attempt) -> Option<Request<Upload>> {
    let mut request = Request::new(attempt.upload(Outflow::of(body.clone())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::try_from(path).ok()?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(attempt.address()).ok()?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    Some(request)
}
