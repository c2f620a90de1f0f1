//! One request of a client, from its head to the head of its answer.

use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Response, StatusCode, Version, request};
use http_body::Body;

use super::answer::Answer;
use super::basic;
use super::forward::forward;
use super::forwarded::Forwarding;
use super::head::RequestParts;
use super::intake::Intake;
use super::outgoing::Outgoing;
use super::refusal::Refusal;
use super::session::Session;
use super::target;
use super::wire::Wire;
use crate::pipeline::{Admitted, Counted, Protocol, RequestMeta, authorize, limit, route};
use crate::upstream::pool::Pool;
use crate::worker::WorkerContext;

/// A client on one connection.
pub struct Client {
    pub context: Rc<WorkerContext>,
    pub session: Rc<Session>,
    pub forwarding: Forwarding,
    pub wire: Rc<Wire>,
}

impl Client {
    pub fn upstreams(&self) -> &Rc<Pool> {
        &self.context.upstreams
    }
}

/// What is handed on from step to step is in a place of its own, so that only the place is handed on.
pub async fn exchange(client: &Client, head: RequestParts, body: Intake) -> Box<Response<Answer>> {
    let session = &client.session;
    let record = session.record();
    record.head(&head, || {
        let trusted = &client.context.config.trusted;
        client.forwarding.client(&head.headers, trusted)
    });
    let _unanswered = Unanswered(session);
    let version = head.version;
    let answer = {
        let answered = pin!(answer(client, head, body));
        session.patient(answered).await
    };
    let mut answer = answer
        .unwrap_or_else(|expired| Err(expired.into()))
        .unwrap_or_else(|refusal| {
            record.refused(&refusal);
            own(refusal.into_response(), session)
        });
    record.answered(answer.status());
    let is_own = matches!(answer.body(), Answer::Own { .. });
    // The rest of a refused request is not waited for, and who has sent a bad one is not trusted with the next.
    let is_bad = answer.status() == StatusCode::BAD_REQUEST;
    if session.is_closing() || (is_own && (is_bad || !session.is_whole())) {
        close_after(&mut answer);
    }
    if version == Version::HTTP_10 && answer.body().size_hint().exact().is_none() {
        session.end_with_close();
    }
    answer
}

/// Sees to it that a request is counted whose client has gone.
struct Unanswered<'a>(&'a Session);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.record().end_unanswered(self.0.now());
    }
}

async fn answer(client: &Client, mut head: RequestParts, mut body: Intake) -> Result<Box<Response<Answer>>, Refusal> {
    // What it is for, told in one way.
    target::to_origin_form(&mut head)?;

    // Whether the client waits to be asked for its body.
    let is_continue_expected = expectation(&head)?;
    if is_continue_expected {
        body.ask_first();
    }

    // Which service it goes to, whether the client may use it, and as often.
    let length = body.size_hint().exact();
    let admitted = admit(client, &head, length, Counted::default()).await?;
    client.session.record().granted(admitted.grant());

    // What the upstream is to see.
    let outgoing = Outgoing::new(client, head, body, is_continue_expected, &admitted);

    // To whom, as often as it takes and is allowed.
    forward(client, admitted, outgoing).await
}

/// The steps of the pipeline before the pick. Made again when the service has changed before its upstream was picked, with
/// what the request was counted under already.
pub async fn admit(
    client: &Client,
    head: &request::Parts,
    length: Option<u64>,
    before: Counted,
) -> Result<Box<Admitted>, Refusal> {
    let context = &client.context;
    let headers = target::View(&head.headers);
    let mut meta = RequestMeta {
        client: client.forwarding.client(&head.headers, &context.config.trusted),
        protocol: Protocol::Http,
        scheme: client.forwarding.scheme(&head.headers),
        method: head.method.as_str(),
        host: target::host(&head.headers),
        path: head.uri.path(),
        uri: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
        headers: &headers,
        fields: Some(&head.headers),
        length,
        account: None,
        credentials: None,
    };
    let routed = context.views.with(|view| route(view, &meta))?;
    client.session.record().routed(routed.service());
    if routed.is_guarded() {
        meta.credentials = basic::credentials(&head.headers);
    }
    let authorized = authorize(routed, &meta, &context.authorizers).await?;
    let admitted = limit(authorized, &meta, &context.limits, before).await?;
    Ok(Box::new(admitted))
}

fn expectation(head: &request::Parts) -> Result<bool, Refusal> {
    match head.headers.get(header::EXPECT) {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(head.version == Version::HTTP_11),
        Some(_) => Err(Refusal::unknown_expectation()),
    }
}

fn own(response: Response<Bytes>, session: &Rc<Session>) -> Box<Response<Answer>> {
    Box::new(response.map(|data| Answer::own(data, session.clone())))
}

pub fn close_after(answer: &mut Response<Answer>) {
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
}
