//! Takes a message to upstreams until one of them has answered for it.

use std::time::{Duration, Instant, SystemTime};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Uri};
use shared::model::{Mail, Service};
use tokio::time::timeout;
use uuid::Uuid;

use super::admit::{Reception, admit};
use super::answer::Answered;
use super::key::idempotency_key;
use super::post::{Attempt, Failure, post};
use super::received::trace;
use super::shape::{Letter, Shaped, common};
use super::signing::Signing;
use super::{Envelope, Record, Reply, Spooled};
use crate::http::Upload;
use crate::pipeline::{Admitted, Picked, Tried, Verdict, pick_in_turn};
use crate::worker::WorkerContext;

/// For all attempts, and for all that is waited for between them. Clients wait for ten minutes (RFC 5321, 4.5.3.2.6).
const WITHIN: Duration = Duration::from_secs(300);
/// Changes of the service that one message bears.
const STALE_MAX: usize = 16;

/// A whole message, and everything about it that no attempt changes.
struct Delivery<'a> {
    context: &'a WorkerContext,
    envelope: &'a Envelope,
    message: &'a Spooled,
    record: &'a Record,
    key: HeaderValue,
    trace: String,
}

/// 250 only after an upstream's whole answer of 2xx. It may be given to several, if those before gave none: always under the
/// same key. `receptions`: of the envelope's recipients, admitted in this order with the length that the message has.
pub async fn deliver(
    context: &WorkerContext,
    envelope: &Envelope,
    receptions: Vec<Reception>,
    message: &Spooled,
    record: &Record,
) -> Reply {
    let Some(key) = idempotency_key(envelope, message) else {
        return Failure::Unaskable.reply();
    };
    let id = Uuid::new_v4().simple().to_string();
    record.named(&id);
    let delivery = Delivery {
        context,
        envelope,
        message,
        record,
        key,
        trace: trace(envelope, &context.config.mail_hostname, &id, SystemTime::now()),
    };
    let delivered = timeout(WITHIN, delivery.run(receptions)).await;
    let reply = delivered.unwrap_or_else(|_| Failure::TimedOut.reply());
    tracing::debug!(id, code = reply.code, bytes = message.len(), "mail");
    reply
}

impl Delivery<'_> {
    async fn run(&self, mut receptions: Vec<Reception>) -> Reply {
        let mut tried = Tried::default();
        let mut stale = 0;
        let mut has_turn = false;
        let mut failed: Option<Failure> = None;
        loop {
            // The first was admitted before the others: what is true for it still is so for them.
            let Some(Reception { admitted: first, .. }) = receptions.first() else {
                return Failure::Unaskable.reply();
            };
            // The table of now, at every attempt.
            let is_next = std::mem::take(&mut has_turn);
            let may_repeat = tried.len() < first.service().retries.attempts as usize;
            let failure = match pick_in_turn(&self.context.views, first, &tried, is_next).await {
                Err(Verdict::Stale) => Failure::Stale,
                // That nobody is up says more than that somebody was not.
                Err(verdict) => {
                    let failed = failed.filter(|failure| !failure.is_unsent());
                    return failed.map_or_else(|| Reply::of(&verdict), |failure| failure.reply());
                }
                Ok(picked) => {
                    let endpoint = picked.endpoint().clone();
                    if let Some(failure) = failed.take() {
                        let is_no_use = failure.is_for_others() && tried.contains(&endpoint);
                        if is_no_use || !endpoint.care().budget().spend(Instant::now()) {
                            return failure.reply();
                        }
                    }
                    self.record.tries(&endpoint);
                    match self.attempt(first, picked).await {
                        Ok(answered) => {
                            self.settle(&receptions, &answered);
                            return answered.reply(self.envelope.is_utf8);
                        }
                        Err(Failure::Stale) => Failure::Stale,
                        Err(failure) => {
                            tried.add(&endpoint);
                            failure
                        }
                    }
                }
            };
            match failure {
                Failure::Stale if stale < STALE_MAX => {
                    stale += 1;
                    has_turn = true;
                    receptions = match self.admit_again(receptions).await {
                        Ok(receptions) => receptions,
                        Err(reply) => return reply,
                    };
                }
                Failure::Unaskable | Failure::Unsigned | Failure::Stale => return failure.reply(),
                failure if may_repeat => failed = Some(failure),
                failure => return failure.reply(),
            }
        }
    }

    /// What the answer says of what was reserved is said of each recipient.
    fn settle(&self, receptions: &[Reception], answered: &Answered) {
        for Reception { admitted, .. } in receptions {
            self.context.limits.settle(admitted.counted(), &answered.head.headers);
        }
    }

    /// All of them or none: there is one reply. What they have paid stays paid.
    async fn admit_again(&self, receptions: Vec<Reception>) -> Result<Vec<Reception>, Reply> {
        let mut again: Vec<Reception> = Vec::with_capacity(receptions.len());
        let (length, recipients) = (Some(self.message.len()), receptions.len());
        for Reception { recipient, admitted } in receptions {
            let counted = admitted.into_counted();
            let first = again.first().map(|first| first.admitted.service().clone());
            let admitting = admit(
                self.context,
                self.envelope,
                &recipient,
                length,
                first.as_deref(),
                counted,
            );
            let admitted = admitting.await.map_err(|reply| reply.shared_by(recipients))?;
            again.push(Reception { recipient, admitted });
        }
        Ok(again)
    }

    async fn attempt(&self, admitted: &Admitted, picked: Picked) -> Result<Answered, Failure> {
        let mail = mail(picked.service(), admitted.service());
        let signing = match &mail.signing_key {
            None => None,
            Some(file) => match Signing::read(file).await {
                Ok(signing) => Some(signing),
                Err(_) => return Err(Failure::Unsigned),
            },
        };
        let letter = Letter {
            envelope: self.envelope,
            trace: &self.trace,
            start: self.message.start(),
            signing: signing.as_ref(),
            at: SystemTime::now(),
        };
        let shaped = letter.shaped(mail.shape).map_err(|_| Failure::Unaskable)?;
        let head = common(self.envelope, admitted.grant(), &self.key).map_err(|_| Failure::Unaskable)?;
        let is_current = || self.context.views.with(|view| admitted.is_of(view));
        let make = |attempt: &Attempt| self.request(&mail, &head, &shaped, attempt);
        post(self.context, picked, is_current, make).await
    }

    fn request(&self, mail: &Mail, head: &HeaderMap, shaped: &Shaped, attempt: &Attempt) -> Option<Request<Upload>> {
        let body = self.message.body(shaped.before.clone(), shaped.after.clone());
        let mut headers = head.clone();
        // What the authorizer says under a name of ours is not heard.
        for name in shaped.headers.keys() {
            headers.remove(name);
        }
        for (name, value) in &shaped.headers {
            headers.append(name, value.clone());
        }
        headers.insert(header::HOST, HeaderValue::from_str(attempt.address()).ok()?);
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        headers.remove(header::TRANSFER_ENCODING);
        let mut request = Request::new(attempt.upload(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(&*mail.path).ok()?;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// An authorizer may have named another service: what that says of mail counts there, if it says anything.
fn mail(picked: &Service, routed: &Service) -> Mail {
    let said = picked.mail.as_ref().or(routed.mail.as_ref());
    said.cloned().unwrap_or_default()
}
