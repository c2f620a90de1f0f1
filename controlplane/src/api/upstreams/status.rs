//! How each proxy sees the upstreams of a list.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use shared::stream::hub::Presence;
use shared::stream::message::{About, Seen};

use crate::api::{Api, fleet};

/// Proxies that are asked at a time for one list.
const ASKED_MAX: usize = 32;

/// What one proxy says.
struct View {
    proxy: Arc<str>,
    seen: HashMap<(Arc<str>, Arc<str>), Seen>,
}

/// Adds `status` to each of the items, which are what is asked `about`: an entry for every proxy of the fleet. `health` is
/// null where a proxy cannot be asked, or does not choose among it.
pub(super) async fn add(api: &Api, about: &About, items: &mut [Value]) {
    let answers = stream::iter(api.fleet.members()).map(|proxy| async move {
        let answer = match proxy.state {
            Presence::Present => fleet::ask(api, &proxy, Some(about.clone())).await,
            Presence::Absent | Presence::Detached => None,
        };
        let list = answer.into_iter().flat_map(|answer| answer.list);
        View {
            proxy: proxy.name,
            seen: list
                .map(|seen| ((seen.service.clone(), seen.id.clone()), seen))
                .collect(),
        }
    });
    let views: Vec<View> = answers.buffered(ASKED_MAX).collect().await;
    for item in items {
        let [service, id] = ["service", "id"].map(|member| item[member].as_str().unwrap_or_default().into());
        let key = (service, id);
        let status = views.iter().map(|View { proxy, seen }| match seen.get(&key) {
            Some(seen) => json!({"proxy": proxy, "health": seen.health, "in_flight": seen.in_flight}),
            None => json!({"proxy": proxy, "health": null}),
        });
        item["status"] = status.collect();
    }
}
