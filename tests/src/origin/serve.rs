//! The origin's connections, and what it counts.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;

use super::{Count, Fault, answer};
use crate::wire::Connection;

#[derive(Default)]
pub struct Tally {
    received: AtomicU64,
    probes: AtomicU64,
    in_flight: AtomicU64,
    in_flight_most: AtomicU64,
    marked: AtomicBool,
    after: AtomicU64,
    connections_after: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

impl Tally {
    /// From the next request on.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn mark(&self) -> Count {
        self.marked.store(true, SeqCst);
        self.count()
    }

    pub fn count(&self) -> Count {
        Count {
            received: self.received.load(SeqCst),
            probes: self.probes.load(SeqCst),
            in_flight: self.in_flight.load(SeqCst),
            in_flight_most: self.in_flight_most.load(SeqCst),
            after: self.after.load(SeqCst),
            connections_after: self.connections_after.load(SeqCst),
        }
    }

    fn connected(&self) {
        if self.marked.load(SeqCst) {
            self.connections_after.fetch_add(1, SeqCst);
        }
    }

    fn received(&self, is_probe: bool) -> InFlight<'_> {
        let kind = if is_probe { &self.probes } else { &self.received };
        kind.fetch_add(1, SeqCst);
        let others = self.in_flight.fetch_add(1, SeqCst);
        self.in_flight_most.fetch_max(others + 1, SeqCst);
        if self.marked.load(SeqCst) {
            self.after.fetch_add(1, SeqCst);
        }
        InFlight(self)
    }
}

struct InFlight<'a>(&'a Tally);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

/// Serves for ever. A connection stays open until its peer ends it: nothing here ever hides a proxy's slip.
pub async fn serve(listener: TcpListener, id: &str, tally: Arc<Tally>) {
    let id: Arc<str> = id.into();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tally.connected();
        let (id, tally) = (id.clone(), tally.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(Connection::new(stream), &id, &tally).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn connection(mut connection: Connection, id: &str, tally: &Tally) -> io::Result<()> {
    // An idle connection is the proxy's to keep.
    connection.reader.patience = std::time::Duration::from_secs(600);
    while let Some((line, fields)) = connection.reader.request().await? {
        let _in_flight = tally.received(line.target == "*");
        let goes_on = match tally.fault() {
            None => answer::answer(&mut connection, id, &line, &fields).await?,
            Some(fault) => fault.answer(&mut connection, id, &fields).await?,
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}
