//! DATA: a message as it comes, and what becomes of it.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::{Ended, Session, Transaction};
use crate::smtp::backend::Backend;
use crate::smtp::data::{Progress, Scanner};
use crate::smtp::machine::Step;
use crate::smtp::{Envelope, Record, Reply, replies};

/// About 270 bytes a second, when `Patience::data` is a minute.
pub(super) const SLOW_BYTES: u64 = 16 * 1024;
/// Of a message that is refused already, while its end is waited for.
const REFUSED_BYTES_MAX: u64 = 64 << 20;

impl<S, B> Session<'_, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    pub(super) async fn data(&mut self) -> Result<(), Ended> {
        let is_due = self.machine.permits(Step::Data);
        let Some(transaction) = self.transaction.take_if(|_| is_due) else {
            return match self.transaction {
                // Sent ahead of the replies to its recipients it is no error.
                Some(_) => self.idle(&replies::NO_RECIPIENTS),
                None => self.answer(&replies::MAIL_FIRST),
            };
        };
        let Some(first) = transaction.admitted.first() else {
            return self.idle(&replies::NO_RECIPIENTS);
        };
        let record = Record::begin();
        self.backend.begun(&record, first);
        let spool = self.backend.spool(first);
        self.wire.say(&replies::DATA);
        self.flush().await?;
        self.machine.advance(Step::Data);
        let received = self.receive(spool).await;
        if let Err(Ended::Said(reply)) = &received {
            self.backend.ended(&transaction.envelope, &record, reply);
        }
        let received = received?;
        self.machine.advance(Step::End);
        self.idle_commands = 0;
        self.surplus = 0;
        let Transaction { envelope, admitted } = transaction;
        let reply = match received {
            Ok(message) => self.deliver(&envelope, admitted, message, &record).await,
            Err(reply) => reply,
        };
        self.backend.ended(&envelope, &record, &reply);
        self.answer(&reply)
    }

    /// Reads the message to its end, whatever becomes of it: what follows is commands.
    async fn receive(&mut self, spool: B::Spool) -> Result<Result<B::Message, Reply>, Ended> {
        let mut spool = Ok(spool);
        let mut scanner = Scanner::default();
        let mut content = Vec::new();
        let mut refused_bytes = 0;
        let mut pace = Pace::new(self.patience.data);
        loop {
            let (read, progress) = scanner.scan(self.wire.input.rest(), &mut content);
            self.wire.input.take(read);
            match &mut spool {
                Ok(sink) => {
                    if let Err(reply) = self.backend.write(sink, &content).await {
                        spool = Err(reply);
                    }
                }
                Err(_) => refused_bytes += content.len() as u64,
            }
            content.clear();
            match progress {
                Progress::End => break,
                Progress::Malformed => return Err(Ended::Said(replies::DATA_MALFORMED)),
                Progress::More if refused_bytes > REFUSED_BYTES_MAX => return Err(Ended::Said(replies::FAR_TOO_LARGE)),
                Progress::More => {}
            }
            match timeout_at(pace.due().min(self.ends_at), self.wire.fill()).await {
                Ok(Ok(count @ 1..)) => pace.moved(count as u64),
                Ok(Ok(0) | Err(_)) => return Err(Ended::Gone),
                Err(_) => return Err(Ended::Said(replies::TOO_SLOW)),
            }
        }
        Ok(match spool {
            Ok(spool) => self.backend.finish(spool).await,
            Err(reply) => Err(reply),
        })
    }

    /// Nothing is delivered unless all recipients are admitted again.
    async fn deliver(
        &self,
        envelope: &Envelope,
        admitted: Vec<B::Admitted>,
        message: B::Message,
        record: &Record,
    ) -> Reply {
        let length = self.backend.length(&message);
        record.received(length);
        match self.backend.readmit_all(envelope, admitted, length).await {
            Ok(admitted) => self.backend.deliver(envelope, admitted, message, record).await,
            Err(reply) => reply,
        }
    }
}

/// Whether enough comes, while it is waited for.
struct Pace {
    patience: std::time::Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(patience: std::time::Duration) -> Pace {
        Pace {
            patience,
            since: Instant::now(),
            bytes: 0,
        }
    }

    fn due(&self) -> Instant {
        self.since + self.patience
    }

    fn moved(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= SLOW_BYTES {
            *self = Pace::new(self.patience);
        }
    }
}
