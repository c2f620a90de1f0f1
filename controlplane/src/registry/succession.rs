//! An operator's consent that this store takes over proxies that followed another.

use std::sync::Arc;

use shared::change::{Epoch, Op};
use uuid::Uuid;

use crate::changelog::{Decide, Decision};

/// `from` may be this store's own epoch, after it went back to an older state: it then goes on under `fresh`.
pub fn succeed(from: Epoch, fresh: Uuid) -> Decide {
    Arc::new(move |head| {
        let own = head.state.epoch;
        if from == own {
            return Decision::Append(vec![Op::succession(own, Epoch(fresh))]);
        }
        match head.state.succeeds().contains(&from) {
            true => Decision::Nothing,
            false => Decision::Append(vec![Op::succession(from, own)]),
        }
    })
}
