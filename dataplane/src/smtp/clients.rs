//! What one worker remembers of those who connect to it: how many they are. And what all of them do: who failed to authenticate.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use super::failures::Failures;

pub const CONNECTIONS_MAX: usize = 50;

#[derive(Clone, Default)]
pub struct Clients(Rc<Inner>);

#[derive(Default)]
struct Inner {
    connections: RefCell<HashMap<IpAddr, usize>>,
    failures: Arc<Failures>,
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
    /// Of one of the workers that have these failures in common.
    pub fn new(failures: Arc<Failures>) -> Clients {
        Clients(Rc::new(Inner {
            connections: RefCell::default(),
            failures,
        }))
    }

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

    /// Over all workers.
    pub fn failures(&self) -> &Arc<Failures> {
        &self.0.failures
    }
}

/// Whoever has one IPv6 address has the other 2⁶⁴ of its network.
pub(super) fn network(address: IpAddr) -> IpAddr {
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
}
