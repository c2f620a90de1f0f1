//! What comes from other control planes.

use bytes::Bytes;
use net::clock::boottime;
use net::ndjson;
use shared::quota::owner::Input;
use shared::quota::{Label, Owner};
use shared::stream::planes::PlaneId;
use tokio::sync::mpsc;

use super::Driver;
use crate::limits::peers::{Answer, Incoming, Line};

impl Driver {
    /// Who else is there.
    pub(super) fn look_around(&mut self) {
        if let Some(relay) = &mut self.relay {
            let alive = self.fleet.with(|hub| hub.roster().planes().alive(boottime()));
            relay.look(alive.unwrap_or_default());
        }
    }

    pub(super) fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Told { from, line, answers } => self.told(from, line, &answers),
            Incoming::Answered { from, answer } => self.answer(from, answer),
            Incoming::Lost { from } => {
                if let Some(relay) = &mut self.relay {
                    relay.lost(from);
                }
            }
        }
    }

    fn told(&mut self, from: PlaneId, line: Line, answers: &mpsc::Sender<Bytes>) {
        let Some(relay) = &mut self.relay else { return };
        match line {
            Line::Ask { asked, .. } => {
                let plane = relay.own();
                // Label time is as of the last input.
                self.input(Input::Tick);
                let answer = Answer::Time {
                    plane,
                    asked,
                    owner: self.owner.as_ref().map(Owner::incarnation),
                    label: self.owner.as_ref().map_or(Label::ZERO, Owner::label),
                };
                // One that does not take it asks again.
                let _ = answers.try_send(ndjson::encode(&answer));
            }
            Line::Up(up) => {
                relay.routed(up.from.instance, from);
                self.knows(&up);
                self.input(Input::Message(*up));
            }
            Line::Down(down) => {
                if self.fleet.has_limits_of(down.to.instance) {
                    self.post.add(*down);
                }
            }
            Line::Handover(handover) => self.input(Input::Handover(*handover)),
            Line::Leaving {} => {
                relay.left(from);
                self.want_shards();
            }
        }
    }

    fn answer(&mut self, from: PlaneId, answer: Answer) {
        let is_its_own = self.relay.as_mut().is_some_and(|relay| relay.answered(from, &answer));
        let Answer::Time {
            asked, owner, label, ..
        } = answer;
        if let Some(owner) = owner.filter(|_| is_its_own) {
            self.input(Input::Other { owner, label, asked });
        }
    }
}
