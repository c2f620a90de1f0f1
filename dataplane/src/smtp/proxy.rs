//! A session's proxy: the pipeline for every recipient, the spool, and the upstreams.

use std::rc::Rc;

use shared::model::recipient::Canonical;
use tokio_rustls::TlsAcceptor;

use super::backend::Backend;
use super::deliver::deliver;
use super::record::Parties;
use super::{
    Clients, Envelope, Reception, Recipient, Record, Reply, Spool, SpoolError, Spooled, Visitor, admit, replies,
};
use crate::phase::PhaseReceiver;
use crate::pipeline::{Admitted, Credentials, submission};
use crate::worker::WorkerContext;

impl Backend for Rc<WorkerContext> {
    type Admitted = Admitted;
    type Spool = Spool;
    type Message = Spooled;

    fn hostname(&self) -> &str {
        &self.config.mail_hostname
    }

    fn clients(&self) -> &Clients {
        &self.mail_clients
    }

    fn phase(&self) -> PhaseReceiver {
        self.phase.clone()
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        self.config.tls.as_ref().map(|certificates| certificates.acceptor())
    }

    fn offers_auth(&self) -> bool {
        self.views.with(|view| submission(view).is_some())
    }

    async fn authenticate(&self, visitor: &Visitor, credentials: Credentials) -> Result<(), Reply> {
        admit::authenticate(self, visitor, credentials).await
    }

    fn bytes_max(&self) -> Option<u64> {
        self.views.with(|view| view.table().mail_bytes_max())
    }

    async fn admit(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
        first: Option<&Admitted>,
    ) -> Result<Admitted, Reply> {
        let first = first.map(|first| first.service().as_ref());
        admit::receive(self, envelope, recipient, first).await
    }

    async fn readmit(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
        first: Option<&Admitted>,
        before: Admitted,
        length: u64,
    ) -> Result<Admitted, Reply> {
        let first = first.map(|first| first.service().as_ref());
        admit::admit(self, envelope, recipient, Some(length), first, before.into_counted()).await
    }

    fn spool(&self, admitted: &Admitted) -> Spool {
        Spool::new(&self.mail_memory, &self.config.spool, admitted.service().max_body)
    }

    async fn write(&self, spool: &mut Spool, bytes: &[u8]) -> Result<(), Reply> {
        spool.write(bytes).await.map_err(refusal)
    }

    async fn finish(&self, spool: Spool) -> Result<Spooled, Reply> {
        spool.finish().await.map_err(refusal)
    }

    fn length(&self, message: &Spooled) -> u64 {
        message.len()
    }

    async fn deliver(&self, envelope: &Envelope, admitted: Vec<Admitted>, message: Spooled, record: &Record) -> Reply {
        let recipients = envelope.recipients.iter().cloned();
        let receptions = recipients.zip(admitted);
        let receptions = receptions.map(|(recipient, admitted)| Reception { recipient, admitted });
        deliver(self, envelope, receptions.collect(), &message, record).await
    }

    fn begun(&self, record: &Record, first: &Admitted) {
        record.admitted(first);
    }

    fn ended(&self, envelope: &Envelope, record: &Record, reply: &Reply) {
        if let Some(first) = envelope.recipients.first() {
            self.tell("MAIL", envelope, first, record, reply);
        }
    }

    fn refused(&self, envelope: &Envelope, recipient: &Recipient, reply: &Reply) {
        let record = Record::begin();
        let address = admit::address(self, recipient);
        let entry = self.views.with(|view| view.table().route_mail(&address).cloned());
        if let Some(entry) = entry {
            record.routed(&entry.service.name);
        }
        self.tell("RCPT", envelope, recipient, &record, reply);
    }
}

impl WorkerContext {
    fn tell(&self, method: &'static str, envelope: &Envelope, recipient: &Recipient, record: &Record, reply: &Reply) {
        let address = Canonical::of(&admit::address(self, recipient));
        let parties = Parties {
            client: envelope.visitor.client,
            method,
            domain: address.domain(),
        };
        record.end(self, &parties, reply);
    }
}

fn refusal(error: SpoolError) -> Reply {
    match error {
        SpoolError::TooLarge => replies::TOO_LARGE,
        SpoolError::Loops => replies::LOOPS,
        SpoolError::Full(error) => {
            tracing::warn!(%error, "a message has no room in the spool");
            replies::NO_SPACE
        }
    }
}
