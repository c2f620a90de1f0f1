//! How each proxy sees the upstreams of a list.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use shared::model::ServiceName;
use shared::stream::hub::Presence;
use shared::stream::message::{Of, Seen};

use crate::api::{Api, fleet};

/// Proxies that are asked at a time for one list.
const ASKED_MAX: usize = 32;

/// What one proxy says.
struct View {
    proxy: Arc<str>,
    by_id: HashMap<Arc<str>, Seen>,
}

/// Adds `status` to each of the items, which follow the id `after`: an entry for every proxy of the fleet. `health` is null
/// where a proxy cannot be asked, or does not choose among it.
pub(super) async fn add(api: &Api, service: &ServiceName, after: &str, items: &mut [Value]) {
    let of = Of {
        service: service.shared(),
        after: after.into(),
    };
    let answers = stream::iter(api.fleet.members()).map(|proxy| {
        let of = of.clone();
        async move {
            let answer = match proxy.state {
                Presence::Present => fleet::ask(api, &proxy, Some(of)).await,
                Presence::Absent | Presence::Detached => None,
            };
            let list = answer.into_iter().flat_map(|answer| answer.list);
            // One that is older than the question has answered for all services.
            let seen = list.filter(|seen| *seen.service == *service.as_str());
            View {
                proxy: proxy.name,
                by_id: seen.map(|seen| (seen.id.clone(), seen)).collect(),
            }
        }
    });
    let views: Vec<View> = answers.buffered(ASKED_MAX).collect().await;
    for item in items {
        let id = item["id"].as_str().unwrap_or_default().to_owned();
        let status = views.iter().map(|View { proxy, by_id }| match by_id.get(&*id) {
            Some(seen) => json!({"proxy": proxy, "health": seen.health, "in_flight": seen.in_flight}),
            None => json!({"proxy": proxy, "health": null}),
        });
        item["status"] = status.collect();
    }
}
