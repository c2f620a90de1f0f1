//! Unregistering those that were silent for too long.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use net::clock::boottime;
use shared::stream::planes::PlaneId;
use shared::time::Time;

use super::peers::{Answered, Call};
use super::{Heartbeats, Registration, before, lock};
use crate::changelog::{Decide, Decision, WriteError};
use crate::registry::upstream;

/// Who unregisters what was not renewed.
pub const ACTOR: &str = "heartbeat-ttl";
/// Of one revision: each carries what it replaces.
pub const TOGETHER_MAX: usize = 250;
/// For the other control planes to say what they heard.
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// After the others were asked. Less than they keep their promise for.
const DECIDE_WITHIN: Duration = Duration::from_secs(3);
/// Between two tries to learn what became of a revision.
const AGAIN: Duration = Duration::from_secs(1);

/// What others promised lasts for a while only; and this process may have stood still meanwhile.
fn in_time(asked: Time, decide: Decide) -> Decide {
    Arc::new(move |head| match boottime().since(asked) < DECIDE_WITHIN {
        true => decide(head),
        false => Decision::Nothing,
    })
}

impl Heartbeats {
    pub(super) async fn expire(self: Arc<Self>, registrations: Vec<Registration>, others: Vec<PlaneId>) {
        let asked = boottime();
        if !self.nobody_heard(&registrations, &others).await {
            return self.stand(&registrations);
        }
        let ending = |registration: &Registration| self.with(|timers| timers.end(registration)).unwrap_or_default();
        let ending: Vec<Registration> = registrations.into_iter().filter(ending).collect();
        if ending.is_empty() {
            return;
        }
        let mut may_be_there = false;
        loop {
            match self
                .changelog
                .submit(ACTOR.into(), in_time(asked, upstream::expire(ending.clone())))
                .await
            {
                Ok(committed) => {
                    for op in &committed.ops {
                        tracing::warn!(upstream = %op.key, "unregistered: it was not renewed within its ttl");
                    }
                    break;
                }
                Err(WriteError::OutcomeUnknown { .. }) => may_be_there = true,
                Err(_) if may_be_there => {}
                Err(error) => {
                    tracing::warn!("upstreams that are silent could not be unregistered: {error}");
                    break;
                }
            }
            // Until it is known no renewal may be answered.
            tokio::time::sleep(AGAIN).await;
        }
        self.stand(&ending);
    }

    /// Those that are not unregistered by now.
    fn stand(&self, registrations: &[Registration]) {
        self.with(|timers| {
            let now = boottime();
            registrations
                .iter()
                .for_each(|registration| timers.stands(registration, now));
        });
    }

    /// Asks all others. What one of them has heard counts here from now on.
    async fn nobody_heard(&self, registrations: &[Registration], others: &[PlaneId]) -> bool {
        let asked = {
            let links = lock(&self.links);
            let asked = others.iter().map(|other| {
                let registrations = registrations.to_vec();
                links.get(other).map(|link| link.call(Call::Expire { registrations }))
            });
            asked.collect::<Option<Vec<_>>>()
        };
        let Some(asked) = asked else { return false };
        let answers = join_all(asked.into_iter().map(|calling| calling.within(ASK_WITHIN))).await;
        let now = boottime();
        let mut is_all = true;
        for answer in answers {
            match answer {
                Some(Answered::Heard(heard)) if heard.len() == registrations.len() => {
                    let heard = registrations.iter().zip(heard);
                    for (registration, ago) in heard.filter_map(|(one, ago)| Some((one, ago?))) {
                        self.with(|timers| timers.renew(registration, before(now, ago), now));
                    }
                }
                _ => is_all = false,
            }
        }
        is_all
    }
}
