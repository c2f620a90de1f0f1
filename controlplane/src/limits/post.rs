//! What the owner says to proxies within one round, together.

use std::collections::BTreeMap;

use bytes::Bytes;
use net::ndjson;
use shared::quota;
use shared::stream::message::Down;
use uuid::Uuid;

use crate::push::Fleet;

/// Bytes that are handed to a stream at once; it keeps a bounded number of them.
const BUFFER_MAX: usize = 256 << 10;

#[derive(Default)]
pub struct Post {
    by_instance: BTreeMap<Uuid, Vec<quota::Down>>,
}

impl Post {
    pub fn add(&mut self, down: quota::Down) {
        self.by_instance.entry(down.to.instance).or_default().push(down);
    }

    /// Hands it to the streams that are here; what is for others is left.
    pub fn deliver(&mut self, fleet: &Fleet) -> Vec<quota::Down> {
        let mut left = Vec::new();
        for (instance, downs) in std::mem::take(&mut self.by_instance) {
            if !fleet.has_limits_of(instance) {
                left.extend(downs);
                continue;
            }
            let mut buffer = Vec::new();
            for down in downs {
                buffer.extend_from_slice(&line(down));
                if buffer.len() >= BUFFER_MAX {
                    fleet.tell_limits(instance, std::mem::take(&mut buffer).into());
                }
            }
            if !buffer.is_empty() {
                fleet.tell_limits(instance, buffer.into());
            }
        }
        left
    }
}

fn line(down: quota::Down) -> Bytes {
    ndjson::encode(&Down::Limits(Box::new(down)))
}
