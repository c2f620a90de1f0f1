//! Names of upstreams, resolved again and again in the background to all their addresses. Workers only read the outcome.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::model::Address;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The resolver of the system tells no lifetimes, so that a name is asked for at this pace, answered or not.
const EVERY: Duration = Duration::from_secs(2);
/// Longer than this is no answer: the last good one stays.
const DEADLINE: Duration = Duration::from_secs(5);
const LOOKUPS_MAX: usize = 16;
/// Addresses kept of one name.
const ADDRESSES_MAX: usize = 64;

/// Where an endpoint's connections go.
pub enum Targets {
    /// The address is an IP literal.
    Fixed(SocketAddr),
    /// The last good answer for its name; empty before the first.
    Named(watch::Receiver<Arc<[SocketAddr]>>),
}

impl Targets {
    pub fn now(&self) -> Arc<[SocketAddr]> {
        match self {
            Targets::Fixed(address) => [*address].into(),
            Targets::Named(answers) => answers.borrow().clone(),
        }
    }

    /// The first answer is waited for, without a deadline.
    pub async fn resolved(&self) -> Arc<[SocketAddr]> {
        match self {
            Targets::Fixed(address) => [*address].into(),
            Targets::Named(answers) => {
                let mut answers = answers.clone();
                match answers.wait_for(|addresses| !addresses.is_empty()).await {
                    Ok(addresses) => addresses.clone(),
                    // Nobody resolves any more: the proxy is on its way out.
                    Err(_) => Arc::default(),
                }
            }
        }
    }
}

/// Asks for the addresses of a host and port; blocks. The system's own is `system`.
pub type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

pub fn system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

struct Name {
    answers: watch::Sender<Arc<[SocketAddr]>>,
    /// Said when it begins and when it ends, not at every attempt.
    failing: bool,
}

impl Name {
    /// What there is to say of a failure.
    fn fails(&mut self) -> Option<&'static str> {
        let before = std::mem::replace(&mut self.failing, true);
        (!before).then(|| match self.answers.borrow().is_empty() {
            true => "the name is not resolved, and no address of it is known",
            false => "the name is not resolved any more: its last addresses stay in use",
        })
    }

    /// What there is to say of an answer.
    fn resolves_to(&mut self, addresses: Vec<SocketAddr>) -> Option<&'static str> {
        let before = std::mem::replace(&mut self.failing, false);
        self.answers.send_if_modified(|known| {
            let changed = **known != *addresses;
            if changed {
                *known = addresses.into();
            }
            changed
        });
        before.then_some("the name is resolved")
    }
}

/// The names in use. One is asked for once, however many endpoints have it, and forgotten when the last has gone.
#[derive(Default)]
pub struct Names {
    known: Mutex<Known>,
    added: Notify,
}

#[derive(Default)]
struct Known {
    answers: HashMap<Address, Name>,
    /// Not yet asked for.
    fresh: Vec<Address>,
}

impl Names {
    pub fn targets(&self, address: &Address) -> Targets {
        if let Some(fixed) = address.socket_addr() {
            return Targets::Fixed(fixed);
        }
        let known = &mut *self.lock();
        let name = known.answers.entry(address.clone()).or_insert_with(|| {
            known.fresh.push(address.clone());
            self.added.notify_one();
            Name {
                answers: watch::Sender::new(Arc::default()),
                failing: false,
            }
        });
        Targets::Named(name.answers.subscribe())
    }

    /// Resolves until `stop`; a name's answer is replaced by another one only, never by a failure.
    pub async fn keep(self: Arc<Names>, lookup: Arc<Lookup>, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let mut asking = JoinSet::new();
        let mut again: VecDeque<(Instant, Address)> = VecDeque::new();
        loop {
            for address in self.take_fresh() {
                asking.spawn(ask(address, lookup.clone(), permits.clone()));
            }
            let now = Instant::now();
            while again.front().is_some_and(|(due, _)| *due <= now)
                && let Some((_, address)) = again.pop_front()
            {
                if self.is_wanted(&address) {
                    asking.spawn(ask(address, lookup.clone(), permits.clone()));
                }
            }
            let due = again.front().map_or_else(|| Instant::now() + EVERY, |(due, _)| *due);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.added.notified() => {}
                Some(Ok((address, answer))) = asking.join_next() => {
                    self.answered(&address, answer);
                    again.push_back((Instant::now() + EVERY, address));
                }
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    fn take_fresh(&self) -> Vec<Address> {
        std::mem::take(&mut self.lock().fresh)
    }

    fn is_wanted(&self, address: &Address) -> bool {
        let mut known = self.lock();
        let wanted = known
            .answers
            .get(address)
            .is_some_and(|name| name.answers.receiver_count() > 0);
        if !wanted {
            known.answers.remove(address);
        }
        wanted
    }

    fn answered(&self, address: &Address, answer: io::Result<Vec<SocketAddr>>) {
        let mut known = self.lock();
        let Some(name) = known.answers.get_mut(address) else {
            return;
        };
        let mut addresses = match answer {
            Ok(addresses) if !addresses.is_empty() => addresses,
            failed => {
                if let Some(news) = name.fails() {
                    let why = failed.map_or_else(|error| error.to_string(), |_| "it has no address".to_owned());
                    tracing::warn!(%address, why, "{news}");
                }
                return;
            }
        };
        // Servers rotate their answers: the order is no change.
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        if let Some(news) = name.resolves_to(addresses) {
            tracing::info!(%address, "{news}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permit stays with the thread that is asking, also when nobody waits for its answer any more.
async fn ask(address: Address, lookup: Arc<Lookup>, permits: Arc<Semaphore>) -> (Address, io::Result<Vec<SocketAddr>>) {
    let answer = tokio::time::timeout(DEADLINE, async {
        let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
        let asked = address.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            lookup(asked.host(), asked.port())
        });
        answer.await.map_err(io::Error::other)?
    });
    let answer = answer.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    (address, answer)
}

#[cfg(test)]
mod tests;
