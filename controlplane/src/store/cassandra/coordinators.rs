//! Which node coordinates a statement. All control planes ask the same node for the same partition: conditional statements
//! that start at two coordinators get in each other's way, and end as outcomes that nobody knows.
//!
//! The order is that of the ring, from the partition's first replica on. Nodes without a connection come last, and so do
//! those that left a statement unanswered a short while ago: a frozen node keeps its connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use scylla::cluster::{ClusterState, NodeRef};
use scylla::policies::load_balancing::{FallbackPlan, LoadBalancingPolicy, RoutingInfo};
use scylla::routing::Shard;
use uuid::Uuid;

const SUSPECTED_FOR: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Coordinators {
    /// Nodes elsewhere are never asked: to them "local" would be another data centre.
    dc: Option<String>,
    suspects: Mutex<HashMap<Uuid, Instant>>,
}

type Target<'a> = (NodeRef<'a>, Option<Shard>);

impl Coordinators {
    pub fn new(dc: Option<String>) -> Coordinators {
        Coordinators {
            dc,
            suspects: Mutex::default(),
        }
    }

    /// One that did not answer in time. Whether that is news.
    fn suspect(&self, node: Uuid) -> bool {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.retain(|_, since| since.elapsed() < SUSPECTED_FOR);
        suspects.insert(node, Instant::now()).is_none()
    }

    fn is_suspect(&self, node: Uuid) -> bool {
        let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.get(&node).is_some_and(|since| since.elapsed() < SUSPECTED_FOR)
    }

    fn order<'a>(&'a self, request: &RoutingInfo<'_>, cluster: &'a ClusterState) -> Vec<NodeRef<'a>> {
        let mut nodes = replicas(request, cluster, self.dc.as_deref());
        let ring = cluster.replica_locator().unique_nodes_in_global_ring();
        for node in ring
            .iter()
            .filter(|node| self.dc.is_none() || node.datacenter == self.dc)
        {
            if !nodes.iter().any(|there| there.host_id == node.host_id) {
                nodes.push(node);
            }
        }
        nodes.sort_by_key(|node| !node.is_connected() || self.is_suspect(node.host_id));
        nodes
    }
}

/// Those of the statement's partition, in the order of the ring; none when it names no partition.
fn replicas<'a>(request: &RoutingInfo<'_>, cluster: &'a ClusterState, dc: Option<&'a str>) -> Vec<NodeRef<'a>> {
    let (Some(token), Some(table)) = (request.token, request.table) else {
        return Vec::new();
    };
    let Some(keyspace) = cluster.get_keyspace(table.ks_name()) else {
        return Vec::new();
    };
    let replicas = cluster
        .replica_locator()
        .replicas_for_token(token, &keyspace.strategy, dc, table);
    replicas
        .into_replicas_ordered()
        .into_iter()
        .map(|(node, _)| node)
        .collect()
}

impl LoadBalancingPolicy for Coordinators {
    /// The driver then starts with the first of `fallback`.
    fn pick<'a>(&'a self, _: &'a RoutingInfo, _: &'a ClusterState) -> Option<Target<'a>> {
        None
    }

    fn fallback<'a>(&'a self, request: &'a RoutingInfo, cluster: &'a ClusterState) -> FallbackPlan<'a> {
        Box::new(self.order(request, cluster).into_iter().map(|node| (node, Some(0))))
    }

    fn name(&self) -> String {
        "coordinators".into()
    }
}

/// The same order for one statement, and which node it got to: the driver does not tell when it gives up waiting.
#[derive(Debug)]
pub struct Aim {
    coordinators: Arc<Coordinators>,
    at: Mutex<Option<Uuid>>,
}

impl Aim {
    pub fn new(coordinators: &Arc<Coordinators>) -> Arc<Aim> {
        Arc::new(Aim {
            coordinators: coordinators.clone(),
            at: Mutex::default(),
        })
    }

    pub fn missed(&self) {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = at.filter(|node| self.coordinators.suspect(*node)) {
            tracing::warn!(%node, "a node of Cassandra does not answer: others are asked first for a while");
        }
    }
}

impl LoadBalancingPolicy for Aim {
    fn pick<'a>(&'a self, _: &'a RoutingInfo, _: &'a ClusterState) -> Option<Target<'a>> {
        None
    }

    fn fallback<'a>(&'a self, request: &'a RoutingInfo, cluster: &'a ClusterState) -> FallbackPlan<'a> {
        let nodes = self.coordinators.order(request, cluster);
        Box::new(nodes.into_iter().map(|node| {
            *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(node.host_id);
            (node, Some(0))
        }))
    }

    fn name(&self) -> String {
        self.coordinators.name()
    }
}
