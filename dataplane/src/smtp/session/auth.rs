//! AUTH, with what failures cost.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::{Ended, Session};
use crate::pipeline::Credentials;
use crate::smtp::auth::{Next, begin};
use crate::smtp::backend::Backend;
use crate::smtp::{Reply, replies};

const FAILURES_MAX: u32 = 3;

impl<S, B> Session<'_, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    /// Whether nobody reads them on the way, or somebody has said that it does not matter.
    pub(super) fn takes_passwords(&self) -> bool {
        self.visitor.tls.is_some() || self.client.is_trusted
    }

    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Result<(), Ended> {
        if let Err(reply) = self.may_authenticate() {
            return self.deny(&reply);
        }
        let mut next = begin(mechanism, initial);
        loop {
            match next {
                Ok(Next::Ask(challenge, exchange)) => {
                    self.wire.say(&Reply::new(334, "", challenge));
                    let line = self.line().await?;
                    next = exchange.answered(&line);
                }
                Ok(Next::Done(credentials)) => return self.authenticate(credentials).await,
                Err(reply) if reply == replies::WRONG_IDENTITY => return self.fail(&reply).await,
                Err(reply) => return self.answer(&reply),
            }
        }
    }

    fn may_authenticate(&self) -> Result<(), Reply> {
        if !self.backend.offers_auth() {
            return Err(replies::NO_AUTH);
        }
        if !self.takes_passwords() {
            return Err(match self.backend.acceptor() {
                Some(_) => replies::TLS_FIRST,
                None => replies::NO_AUTH,
            });
        }
        if !self.visitor.is_extended {
            return Err(replies::HELLO_FIRST);
        }
        if self.visitor.credentials.is_some() {
            return Err(replies::ALREADY_AUTHENTICATED);
        }
        match self.transaction {
            Some(_) => Err(replies::NESTED),
            None => Ok(()),
        }
    }

    async fn authenticate(&mut self, credentials: Credentials) -> Result<(), Ended> {
        // A trusted server may send the passwords of many.
        let account = self.client.is_itself_trusted().then_some(&*credentials.username);
        let failures = self.backend.clients().failures();
        let Some(attempt) = failures.attempt(self.visitor.client, account).await else {
            return self.deny(&replies::AUTH_PAUSED);
        };
        match self.backend.authenticate(&self.visitor, credentials.clone()).await {
            Ok(()) => {
                attempt.forgive();
                self.visitor.credentials = Some(credentials);
                self.failures = 0;
                self.answer(&replies::AUTHENTICATED)
            }
            Err(reply) if reply.code == 535 => {
                drop(attempt);
                self.fail(&reply).await
            }
            Err(reply) => {
                attempt.forgive();
                self.deny(&reply)
            }
        }
    }

    /// Who guesses is to wait, and longer each time.
    async fn fail(&mut self, reply: &Reply) -> Result<(), Ended> {
        sleep(self.patience.failure * 2_u32.pow(self.failures)).await;
        self.failures += 1;
        self.answer(reply)?;
        match self.failures >= FAILURES_MAX {
            true => Err(Ended::Said(replies::TOO_MANY_FAILURES)),
            false => Ok(()),
        }
    }
}
