//! Who may send to whom, by the pipeline that every request goes through: one run of it for each recipient.

use std::borrow::Cow;

use http::header::{self, HeaderMap};
use shared::model::recipient::Canonical;
use shared::model::{Authorizer, Service, Shape, Style};

use super::shape::has_room;
use super::validate::validate;
use super::{Envelope, Recipient, Reply, ReversePath, Visitor, replies};
use crate::http::basic;
use crate::pipeline::{
    Admitted, Authorized, Counted, Credentials, Protocol, RequestMeta, Verdict, authorize, limit, route_mail,
    submission, submission_for,
};
use crate::worker::WorkerContext;

/// What mail with a null sender counts under where it may come from anybody: notifications are nobody's account. Where who
/// sends has authenticated it is that account's all the same, or a null sender were a way around its limits.
const NULL_SENDER: &str = "<>";

/// One recipient that was accepted.
pub struct Reception {
    pub recipient: Recipient,
    pub admitted: Admitted,
}

/// Whether somebody may send mail at all, for AUTH. Asked again at each MAIL, so that who is revoked sends no more: what the
/// authorizer has said is remembered, as for any request.
pub async fn authenticate(context: &WorkerContext, visitor: &Visitor, credentials: Credentials) -> Result<(), Reply> {
    let routed = context.views.with(|view| submission_for(view, visitor.client));
    let Some(routed) = routed else {
        return Err(AUTH_UNAVAILABLE);
    };
    let question = Question::of(visitor.client, credentials, routed.authorizer())?;
    match authorize(routed, &question.meta(), &context.authorizers).await {
        Ok(_) => Ok(()),
        Err(verdict) => Err(Reply::to_auth(&verdict)),
    }
}

/// Of RCPT: whether the recipient is taken from this client, and counted. `first`: the service of the transaction's first
/// recipient, which gets the message.
pub async fn receive(
    context: &WorkerContext,
    envelope: &Envelope,
    recipient: &Recipient,
    first: Option<&Service>,
) -> Result<Admitted, Reply> {
    let authorized = authorized(context, envelope, recipient, envelope.size, first).await?;
    let shape = authorized
        .service()
        .mail
        .as_ref()
        .map_or_else(Shape::default, |mail| mail.shape);
    if !has_room(shape, &envelope.recipients, recipient) {
        return Err(replies::TOO_MANY_RECIPIENTS);
    }
    validate(context, authorized.service(), envelope, recipient).await?;
    counted(
        context,
        envelope,
        recipient,
        envelope.size,
        authorized,
        Counted::default(),
    )
    .await
}

/// Once more: with the length that is known now, or since the service has changed. What it was counted under `before` stays
/// paid.
pub async fn admit(
    context: &WorkerContext,
    envelope: &Envelope,
    recipient: &Recipient,
    length: Option<u64>,
    first: Option<&Service>,
    before: Counted,
) -> Result<Admitted, Reply> {
    let authorized = authorized(context, envelope, recipient, length, first).await?;
    counted(context, envelope, recipient, length, authorized, before).await
}

/// The steps before the limits.
async fn authorized(
    context: &WorkerContext,
    envelope: &Envelope,
    recipient: &Recipient,
    length: Option<u64>,
    first: Option<&Service>,
) -> Result<Authorized, Reply> {
    let visitor = &envelope.visitor;
    let address = address(context, recipient);

    // Which service takes it, and whose authorizer has let the session in.
    let (routed, asked) = context.views.with(|view| {
        let asked = submission(view).and_then(|routed| routed.service().authorizer.clone());
        route_mail(view, &address).map(|routed| (routed, asked))
    })?;
    let service = routed.service();
    if first.is_some_and(|first| first.name != service.name) {
        return Err(OTHER_SERVICE);
    }
    let bytes_max = service.max_body;
    if length.is_some_and(|length| length > bytes_max) {
        return Err(Reply::of(&Verdict::TooLarge { bytes_max }));
    }

    // What the authorizer has said of the session. Without one, the pattern that routes it is the leave.
    let credentials = match (&service.authorizer, &visitor.credentials) {
        (Some(_), None) => return Err(AUTH_NEEDED),
        (Some(of), Some(_)) if asked.as_ref() != Some(of) => return Err(OTHER_AUTHORIZER),
        (Some(_), Some(credentials)) => Some(credentials.clone()),
        (None, _) => None,
    };
    let question = match credentials {
        Some(credentials) => Question::of(visitor.client, credentials, routed.authorizer())?,
        None => Question::of_nobody(visitor.client),
    };
    Ok(authorize(routed, &question.meta(), &context.authorizers).await?)
}

/// One of each limit for each recipient.
async fn counted(
    context: &WorkerContext,
    envelope: &Envelope,
    recipient: &Recipient,
    length: Option<u64>,
    authorized: Authorized,
    before: Counted,
) -> Result<Admitted, Reply> {
    let address = Canonical::of(&address(context, recipient));
    let is_nobodys = matches!(envelope.sender, ReversePath::Null) && authorized.service().authorizer.is_none();
    let question = Question::of_nobody(envelope.visitor.client);
    let meta = RequestMeta {
        path: address.domain(),
        // How long it is shows at its end: what counts only long messages counts it then.
        length: length.or(Some(0)),
        account: is_nobodys.then_some(NULL_SENDER),
        ..question.meta()
    };
    Ok(limit(authorized, &meta, &context.limits, before).await?)
}

/// `postmaster` alone is the one at our own name (RFC 5321, 4.5.1).
pub(super) fn address<'a>(context: &WorkerContext, recipient: &'a Recipient) -> Cow<'a, str> {
    let mailbox = &recipient.mailbox;
    match mailbox.domain() {
        "" => Cow::Owned(format!("{}@{}", mailbox.local(), context.config.mail_hostname)),
        _ => Cow::Borrowed(mailbox.as_str()),
    }
}

/// What an authorizer is asked of a session. The same at AUTH, MAIL and each RCPT, so that one answer serves them all.
struct Question {
    client: std::net::IpAddr,
    credentials: Option<Credentials>,
    fields: HeaderMap,
}

impl Question {
    /// An authorizer that looks at fields of requests finds the credentials where a client of HTTP would put them.
    fn of(
        client: std::net::IpAddr,
        credentials: Credentials,
        authorizer: Option<&Authorizer>,
    ) -> Result<Question, Reply> {
        let mut fields = HeaderMap::new();
        if authorizer.is_some_and(|authorizer| authorizer.style == Style::Forward) {
            let field = basic::field(&credentials).ok_or(WRONG_CREDENTIALS)?;
            fields.insert(header::AUTHORIZATION, field);
        }
        let credentials = Some(credentials);
        Ok(Question {
            client,
            credentials,
            fields,
        })
    }

    fn of_nobody(client: std::net::IpAddr) -> Question {
        Question {
            client,
            credentials: None,
            fields: HeaderMap::new(),
        }
    }

    fn meta(&self) -> RequestMeta<'_> {
        RequestMeta {
            client: self.client,
            protocol: Protocol::Smtp,
            scheme: "smtp",
            method: "MAIL",
            host: "",
            path: "/",
            uri: "/",
            headers: &(),
            fields: Some(&self.fields),
            length: None,
            account: None,
            credentials: self.credentials.clone(),
        }
    }
}

pub(super) const AUTH_NEEDED: Reply = Reply::new(530, "5.7.0", "authentication required");
pub(super) const AUTH_UNAVAILABLE: Reply = Reply::new(454, "4.7.0", "nobody can be asked now, try again later");
pub(super) const WRONG_CREDENTIALS: Reply = Reply::new(535, "5.7.8", "wrong user name or password");
const OTHER_SERVICE: Reply = Reply::new(452, "4.5.3", "another message is needed for this recipient, try again");
const OTHER_AUTHORIZER: Reply = Reply::new(550, "5.7.1", "these credentials are not good for this recipient");

#[cfg(test)]
mod tests;
