//! What a session needs of the proxy that it runs in.

use tokio_rustls::TlsAcceptor;

use super::clients::Clients;
use super::{Envelope, Recipient, Record, Reply, Visitor};
use crate::phase::PhaseReceiver;
use crate::pipeline::Credentials;

pub trait Backend {
    /// Leave to send to one recipient.
    type Admitted;
    /// A message that is coming.
    type Spool;
    /// A message that has come.
    type Message;

    /// By which we are known to clients.
    fn hostname(&self) -> &str;
    fn clients(&self) -> &Clients;
    fn phase(&self) -> PhaseReceiver;
    /// None: there are no certificates.
    fn acceptor(&self) -> Option<TlsAcceptor>;

    /// Whether there is anybody whom AUTH could ask.
    fn offers_auth(&self) -> bool;
    async fn authenticate(&self, visitor: &Visitor, credentials: Credentials) -> Result<(), Reply>;

    /// Bytes of the largest message that any service takes; None where there is no service for mail.
    fn bytes_max(&self) -> Option<u64>;
    /// `first`: the transaction's first recipient, whose service must be this one's too.
    async fn admit(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
        first: Option<&Self::Admitted>,
    ) -> Result<Self::Admitted, Reply>;
    /// Again, now that the message's length is known. What was paid before is not paid twice.
    async fn readmit(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
        first: Option<&Self::Admitted>,
        before: Self::Admitted,
        length: u64,
    ) -> Result<Self::Admitted, Reply>;

    /// All recipients of the envelope, in its order: there is one reply for them, so one refusal is all of theirs.
    async fn readmit_all(
        &self,
        envelope: &Envelope,
        admitted: Vec<Self::Admitted>,
        length: u64,
    ) -> Result<Vec<Self::Admitted>, Reply> {
        let mut again: Vec<Self::Admitted> = Vec::with_capacity(admitted.len());
        for (recipient, before) in envelope.recipients.iter().zip(admitted) {
            let first = again.first();
            let leave = self.readmit(envelope, recipient, first, before, length).await;
            again.push(leave.map_err(|reply| reply.shared_by(envelope.recipients.len()))?);
        }
        Ok(again)
    }

    /// For a message to this recipient's service, no larger than that takes.
    fn spool(&self, admitted: &Self::Admitted) -> Self::Spool;
    async fn write(&self, spool: &mut Self::Spool, bytes: &[u8]) -> Result<(), Reply>;
    async fn finish(&self, spool: Self::Spool) -> Result<Self::Message, Reply>;
    /// Bytes.
    fn length(&self, message: &Self::Message) -> u64;

    /// `admitted`: in the order of the envelope's recipients. Positive only once the application has the message.
    async fn deliver(
        &self,
        envelope: &Envelope,
        admitted: Vec<Self::Admitted>,
        message: Self::Message,
        record: &Record,
    ) -> Reply;

    /// A message to the first recipient's service comes now.
    fn begun(&self, _record: &Record, _first: &Self::Admitted) {}
    /// The client gets this for its message.
    fn ended(&self, _envelope: &Envelope, _record: &Record, _reply: &Reply) {}
    /// The client gets this for a recipient, and no message follows.
    fn refused(&self, _envelope: &Envelope, _recipient: &Recipient, _reply: &Reply) {}
}
