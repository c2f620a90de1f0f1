//! MAIL and RCPT: an envelope while it is being said.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Ended, Session};
use crate::smtp::backend::Backend;
use crate::smtp::command::Mail;
use crate::smtp::machine::Step;
use crate::smtp::{Envelope, Recipient, Reply, replies};

const RECIPIENTS_MAX: usize = 100;
/// Recipients in a session that were refused.
const REFUSED_MAX: u32 = 100;
/// Who names a long list at once learns for each that it is for another message, and is heard out: ending the session then
/// would end it each time.
const SURPLUS_MAX: u32 = 1_000;

/// A message's envelope while it is being said.
pub(super) struct Transaction<A> {
    pub envelope: Envelope,
    /// In the order of the envelope's recipients.
    pub admitted: Vec<A>,
}

impl<S, B> Session<'_, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    pub(super) async fn mail(&mut self, mail: Mail) -> Reply {
        if !self.machine.permits(Step::Mail) {
            return match self.transaction {
                Some(_) => replies::NESTED,
                None => replies::HELLO_FIRST,
            };
        }
        if let (Some(size), Some(bytes_max)) = (mail.size, self.backend.bytes_max())
            && size > bytes_max
        {
            return replies::TOO_LARGE;
        }
        // What was granted at AUTH may have been revoked since; who remembers it is asked.
        if let Some(credentials) = self.visitor.credentials.clone()
            && let Err(reply) = self.backend.authenticate(&self.visitor, credentials).await
        {
            if reply.code == 535 {
                self.visitor.credentials = None;
            }
            return reply;
        }
        self.machine.advance(Step::Mail);
        self.transaction = Some(Transaction {
            envelope: Envelope {
                visitor: Arc::new(self.visitor.clone()),
                sender: mail.sender,
                recipients: Vec::new(),
                size: mail.size,
                body: mail.body,
                is_utf8: mail.is_utf8,
                ret: mail.ret,
                envid: mail.envid,
            },
            admitted: Vec::new(),
        });
        replies::SENDER_OK
    }

    pub(super) async fn recipient(&mut self, recipient: Recipient) -> Result<(), Ended> {
        let is_due = self.machine.permits(Step::Recipient);
        let Some(transaction) = self.transaction.as_mut().filter(|_| is_due) else {
            return self.answer(&replies::MAIL_FIRST);
        };
        let Transaction { envelope, admitted } = transaction;
        if admitted.len() >= RECIPIENTS_MAX {
            return self.put_off(&replies::TOO_MANY_RECIPIENTS);
        }
        if !envelope.is_utf8 && !recipient.mailbox.as_str().is_ascii() {
            return self.refuse(&replies::NEEDS_UTF8);
        }
        match self.backend.admit(envelope, &recipient, admitted.first()).await {
            Ok(leave) => {
                admitted.push(leave);
                envelope.recipients.push(recipient);
                self.machine.advance(Step::Recipient);
                self.answer(&replies::RECIPIENT_OK)
            }
            Err(reply) => {
                self.backend.refused(envelope, &recipient, &reply);
                self.not_taken(&reply)
            }
        }
    }

    fn not_taken(&mut self, reply: &Reply) -> Result<(), Ended> {
        match reply.enhanced == replies::TOO_MANY_RECIPIENTS.enhanced {
            true => self.put_off(reply),
            false => self.refuse(reply),
        }
    }

    /// Another message takes it.
    fn put_off(&mut self, reply: &Reply) -> Result<(), Ended> {
        self.answer(reply)?;
        self.surplus += 1;
        match self.surplus >= SURPLUS_MAX {
            true => Err(Ended::Said(replies::TOO_MANY_REFUSED)),
            false => Ok(()),
        }
    }

    fn refuse(&mut self, reply: &Reply) -> Result<(), Ended> {
        self.answer(reply)?;
        self.refused += 1;
        match self.refused >= REFUSED_MAX {
            true => Err(Ended::Said(replies::TOO_MANY_REFUSED)),
            false => Ok(()),
        }
    }
}
