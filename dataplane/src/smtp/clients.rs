//! What one worker remembers of those who connect to it: how many they are, and how often they failed to authenticate.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

pub const CONNECTIONS_MAX: usize = 50;
/// Failures within a period after which nobody is asked any more until its end, for an address and for an account.
const ADDRESS_FAILURES_MAX: u32 = 10;
const ACCOUNT_FAILURES_MAX: u32 = 30;
const PERIOD: Duration = Duration::from_secs(60);
/// Addresses and accounts with failures. Of more than these nothing is remembered: the sessions' own limits hold.
const FAILED_MAX: usize = 10_000;

#[derive(Clone, Default)]
pub struct Clients(Rc<Inner>);

#[derive(Default)]
struct Inner {
    connections: RefCell<HashMap<IpAddr, usize>>,
    failures: RefCell<HashMap<Who, Failures>>,
    names: RandomState,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    /// A hash of its name.
    Account(u64),
}

struct Failures {
    count: u32,
    until: Instant,
}

/// One of the connections that an address may have, until it is dropped.
pub struct Connection {
    clients: Clients,
    address: IpAddr,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut connections = self.clients.0.connections.borrow_mut();
        match connections.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(connections.remove(&self.address)),
        }
    }
}

impl Clients {
    /// None: the address has as many as it may.
    pub fn connect(&self, address: IpAddr) -> Option<Connection> {
        let address = network(address);
        let mut connections = self.0.connections.borrow_mut();
        let count = connections.entry(address).or_default();
        if *count >= CONNECTIONS_MAX {
            return None;
        }
        *count += 1;
        let clients = self.clone();
        Some(Connection { clients, address })
    }

    /// Whether either has failed too often of late. Without an address it is one that speaks for many.
    pub fn is_paused(&self, address: Option<IpAddr>, account: &str) -> bool {
        let failures = self.0.failures.borrow();
        let now = Instant::now();
        self.whos(address, account).any(|(who, count_max)| {
            let failed = failures.get(&who);
            failed.is_some_and(|failed| failed.count >= count_max && failed.until > now)
        })
    }

    pub fn failed(&self, address: Option<IpAddr>, account: &str) {
        let mut failures = self.0.failures.borrow_mut();
        let now = Instant::now();
        for (who, _) in self.whos(address, account) {
            if failures.len() >= FAILED_MAX && !failures.contains_key(&who) {
                failures.retain(|_, failed| failed.until > now);
                if failures.len() >= FAILED_MAX {
                    return;
                }
            }
            let failed = failures.entry(who).or_insert(Failures {
                count: 0,
                until: now + PERIOD,
            });
            if failed.until <= now {
                *failed = Failures {
                    count: 0,
                    until: now + PERIOD,
                };
            }
            failed.count += 1;
        }
    }

    fn whos(&self, address: Option<IpAddr>, account: &str) -> impl Iterator<Item = (Who, u32)> {
        let account = Who::Account(self.0.names.hash_one(account));
        let address = address.map(|address| (Who::Address(network(address)), ADDRESS_FAILURES_MAX));
        address.into_iter().chain([(account, ACCOUNT_FAILURES_MAX)])
    }
}

/// Whoever has one IPv6 address has the other 2⁶⁴ of its network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections() {
        let clients = Clients::default();
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mut held: Vec<Connection> = (0..CONNECTIONS_MAX).filter_map(|_| clients.connect(one)).collect();
        assert_eq!(held.len(), CONNECTIONS_MAX);
        assert!(clients.connect(one).is_none());
        assert!(clients.connect("192.0.2.2".parse().unwrap()).is_some());
        held.pop();
        held.extend(clients.connect(one));
        assert_eq!(held.len(), CONNECTIONS_MAX);
        drop(held);
        assert!(clients.0.connections.borrow().is_empty());
        let hosts = (0..CONNECTIONS_MAX).map(|host| format!("2001:db8::{host:x}").parse().unwrap());
        let held: Vec<Option<Connection>> = hosts.map(|host| clients.connect(host)).collect();
        assert!(clients.connect("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(clients.connect("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_pause_addresses_and_accounts_for_a_while() {
        let clients = Clients::default();
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..ADDRESS_FAILURES_MAX {
            assert!(!clients.is_paused(address, "user"));
            clients.failed(address, "user");
        }
        assert!(clients.is_paused(address, "other"));
        assert!(!clients.is_paused(None, "user"));
        for _ in ADDRESS_FAILURES_MAX..ACCOUNT_FAILURES_MAX {
            clients.failed(None, "user");
        }
        assert!(clients.is_paused(None, "user") && !clients.is_paused(None, "other"));
        tokio::time::advance(PERIOD).await;
        assert!(!clients.is_paused(address, "user"));
        clients.failed(address, "user");
        assert!(!clients.is_paused(address, "user"), "counted from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_remembered_than_may_be() {
        let clients = Clients::default();
        for account in 0..2 * FAILED_MAX {
            clients.failed(None, &account.to_string());
        }
        assert_eq!(clients.0.failures.borrow().len(), FAILED_MAX);
        tokio::time::advance(PERIOD).await;
        clients.failed(None, "new");
        assert_eq!(clients.0.failures.borrow().len(), 1);
    }
}
