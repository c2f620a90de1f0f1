//! What is asked of each node of Cassandra.

use std::sync::Arc;

use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::{Consistency, Statement};
use uuid::Uuid;

use super::client::Client;

const SETTING: &str = "SELECT value FROM system_views.settings WHERE name = 'paxos_variant'";

/// Warns of nodes whose conditional statements are not linearizable while ranges move, as by Cassandra's default.
pub async fn check(client: Arc<Client>) {
    let state = client.session.get_cluster_state();
    for node in state.get_nodes_info().iter().filter(|node| node.is_enabled()) {
        match variant(&client, node.host_id).await {
            Ok(variant) if variant == "v2" => {}
            Ok(variant) => tracing::warn!(
                node = %node.address,
                "paxos_variant is {variant}: set it to v2 on every node, or adding and removing nodes may fork the log"
            ),
            Err(error) => tracing::warn!(node = %node.address, "paxos_variant is not known: {error}"),
        }
    }
}

async fn variant(client: &Client, node: Uuid) -> Result<String, String> {
    let mut statement = Statement::new(SETTING);
    statement.set_consistency(Consistency::One);
    let target = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(node), None);
    statement.set_load_balancing_policy(Some(target));
    let result = client.session.query_unpaged(statement, ()).await;
    let rows = result.map_err(|error| error.to_string())?.into_rows_result();
    let rows = rows.map_err(|error| error.to_string())?;
    let row = rows.first_row::<(String,)>().map_err(|error| error.to_string())?;
    Ok(row.0)
}
