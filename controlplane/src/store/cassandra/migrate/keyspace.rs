//! The keyspace: found, or created with the replication that was asked for.

use scylla::cluster::metadata::Strategy;

use super::change;
use crate::store::cassandra::client::{Client, Obstacle};
use crate::store::cassandra::failure::malformed;
use crate::store::cassandra::place::Place;

/// Copies of each row unless more or fewer are asked for: one node may be away.
const REPLICATION: usize = 3;

/// Leaves the session in the keyspace.
pub async fn ensure(client: &Client, place: &Place) -> Result<(), Obstacle> {
    if exists(client, &place.keyspace).await? {
        compare(client, place);
    } else {
        change(client, &creation(client, place)?).await?;
        let refreshed = client.session.refresh_metadata().await;
        refreshed.map_err(|error| Obstacle::Away(error.to_string()))?;
        tracing::info!(keyspace = %place.keyspace, "the keyspace was created");
    }
    let used = client.session.use_keyspace(&place.keyspace, false).await;
    used.map_err(|error| Obstacle::Away(error.to_string()))
}

fn creation(client: &Client, place: &Place) -> Result<String, Obstacle> {
    let state = client.session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let dc = &place.options.dc;
    let nodes = nodes.filter(|node| dc.is_none() || node.datacenter == *dc).count();
    if let (Some(dc), 0) = (dc, nodes) {
        return Err(Obstacle::Refused(format!("no node is in data centre {dc}")));
    }
    let copies = match place.options.replication {
        Some(copies) => usize::from(copies),
        None => nodes.clamp(1, REPLICATION),
    };
    if copies / 2 + 1 > nodes {
        return Err(Obstacle::Refused(format!(
            "with --cassandra-replication {copies} no quorum could ever be reached: there are {nodes} nodes"
        )));
    }
    if copies < REPLICATION {
        tracing::warn!(
            copies,
            "the keyspace is created with so few copies that no node may be away"
        );
    }
    let whom = dc.as_deref().unwrap_or("replication_factor").replace('\'', "''");
    Ok(format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{'class': 'NetworkTopologyStrategy', '{whom}': {copies}}}",
        place.keyspace
    ))
}

/// Tells where a keyspace that is there is not as the flag says. It is left as it is: changing it takes a repair.
fn compare(client: &Client, place: &Place) {
    let Some(wanted) = place.options.replication.map(usize::from) else {
        return;
    };
    let state = client.session.get_cluster_state();
    let there = match state.get_keyspace(&place.keyspace).map(|keyspace| &keyspace.strategy) {
        Some(Strategy::NetworkTopologyStrategy { datacenter_repfactors }) => datacenter_repfactors
            .iter()
            .filter(|(dc, _)| place.options.dc.as_ref().is_none_or(|wanted| wanted == *dc))
            .all(|(_, copies)| *copies == wanted),
        Some(Strategy::SimpleStrategy { replication_factor }) => *replication_factor == wanted,
        _ => true,
    };
    if !there {
        tracing::warn!(keyspace = %place.keyspace, wanted, "the keyspace has another replication, and keeps it");
    }
}

async fn exists(client: &Client, keyspace: &str) -> Result<bool, Obstacle> {
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    is_there(client, text, [keyspace].as_slice()).await
}

pub async fn has_table(client: &Client, keyspace: &str, table: &str) -> Result<bool, Obstacle> {
    let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
    is_there(client, text, [keyspace, table].as_slice()).await
}

async fn is_there(client: &Client, text: &str, values: &[&str]) -> Result<bool, Obstacle> {
    let result = client.say(text, values, client.levels).await?;
    let rows = result.into_rows_result();
    let rows = rows.map_err(|error| Obstacle::Away(malformed(error).to_string()))?;
    Ok(rows.rows_num() > 0)
}
