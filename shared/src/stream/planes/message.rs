//! The lines of `POST /v1/peers`, by which one control plane listens to another: one JSON object each, named by its only
//! key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::change::{Epoch, Revision};
use crate::stream::message::Level;
use crate::stream::planes::PlaneId;
use crate::time::Time;

/// From the one that listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Asked {
    Hello(Hello),
    /// Twice a second; the answer proves up to when everything was heard.
    Ping {
        sent: Time,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub id: PlaneId,
    /// Of the store that both must follow.
    pub epoch: Epoch,
}

/// From the one that tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    Welcome {
        id: PlaneId,
    },
    /// It may keep the lease of this one; `slot` names it from now on.
    Holds {
        slot: u32,
        holding: Holding,
    },
    /// Of these nothing is new but the revision.
    Advanced(Advanced),
    /// It keeps their leases no longer.
    Released {
        slots: Vec<u32>,
    },
    /// The log has moved: there is something to read.
    Head {
        revision: Revision,
    },
    /// All that was so when the ping came has been said.
    Pong {
        sent: Time,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    pub name: Arc<str>,
    pub instance: Uuid,
    pub boot: u64,
    pub build: Arc<str>,
    /// Whether its stream is open.
    pub connected: bool,
    /// None until it has said one in this boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advanced {
    pub to: Revision,
    pub slots: Vec<u32>,
}
