//! The control plane's end of its proxies' streams.

use std::sync::Arc;

use controlplane::changelog::Decision;
use controlplane::push::join;
use shared::stream::hub::Refusal;
use shared::stream::message::Up;
use shared::stream::publisher::{self, Closing, Output};

use super::{Heard, Purpose};
use crate::network::ConnId;
use crate::world::World;

impl World {
    /// Takes down what the checks go by: whom this control plane has heard, by its own clock.
    pub fn heard(&mut self, id: ConnId, up: &Up) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (n, instance) = (connection.plane, connection.instance);
        let lease = self.proxies[connection.proxy].lease;
        let now = self.plane_time(n);
        let Some(run) = self.planes[n].run.as_mut() else { return };
        let counts = run.sessions.values().any(|live| *live == id);
        match up {
            Up::State(_) if counts => {
                let heard = run.heard.entry(instance).or_insert(Heard { since: now, last: now });
                if now.since(heard.last) > lease {
                    heard.since = now;
                }
                heard.last = now;
            }
            Up::Goodbye {} if self.shared => {
                run.heard.remove(&instance);
            }
            _ => {}
        }
    }

    /// One input to one connection's publisher, with all that follows.
    pub fn publish(&mut self, id: ConnId, input: publisher::Input) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let n = connection.plane;
        let Some(mut publisher) = connection.publisher.take() else {
            return;
        };
        let outputs = self
            .hub(n, |hub, now| publisher.handle(input, hub, now))
            .unwrap_or_default();
        let session = publisher.session();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.publisher = Some(publisher);
        }
        for output in outputs {
            match output {
                Output::Refuse(refusal) => {
                    self.refused(id, &refusal);
                    self.refuse(id, Some(&refusal));
                }
                Output::Unavailable => self.refuse(id, None),
                Output::Look => {
                    self.count.add("heads looked for before a refusal");
                    self.submit(n, "stream".into(), Arc::new(|_| Decision::Nothing), Purpose::Look(id));
                }
                Output::Join { name, member, replaces } => {
                    self.count.add("joins");
                    if replaces.is_some() {
                        self.count.add("instances replaced");
                    }
                    let decide = join::joining(name.clone(), member, replaces);
                    self.submit(n, name, decide, Purpose::Join(id));
                }
                Output::Accept => {
                    if let (Some(run), Some(session)) = (self.planes[n].run.as_mut(), session) {
                        run.sessions.insert(session, id);
                    }
                }
                Output::Send(bytes) => self.send_lines(id, bytes),
                // Here nobody asks.
                Output::Answered(_) | Output::Heard(_) => {}
                Output::Leave { name, instance } => {
                    self.count.add("goodbyes");
                    self.says_goodbye(id);
                    self.submit(n, name.clone(), join::leaving(name, instance, true), Purpose::Leave(id));
                }
                Output::Close(closing) => self.closed(id, closing),
            }
        }
    }

    fn closed(&mut self, id: ConnId, closing: Closing) {
        self.note(|| format!("plane: connection {id} ends, {closing:?}"));
        match closing {
            Closing::Evicted => self.count.add("connections evicted"),
            Closing::NoProgress => self.count.add("connections without progress"),
            _ => {}
        }
        self.end_down(id);
    }

    /// Whether the refusal is one that the rules allow.
    fn refused(&mut self, id: ConnId, refusal: &Refusal) {
        self.note(|| format!("plane: connection {id} is refused, {refusal}"));
        self.count.add(match refusal {
            Refusal::Held { .. } => "names held by another instance",
            Refusal::OtherEpoch { .. } => "other epochs refused",
            Refusal::Ahead { .. } => "proxies ahead of the store refused",
            Refusal::Diverged { .. } => "proxies of another history refused",
            _ => "other refusals",
        });
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (name, instance) = (self.proxies[connection.proxy].name.clone(), connection.instance);
        let run = self.planes[connection.plane].run.as_ref();
        let held = matches!(refusal, Refusal::Held { .. });
        // A join of which the plane does not know yet that it stands is none to it.
        let known = run.map(|run| run.committer.head().state.revision);
        let members = known.map_or(Vec::new(), |known| self.volume().members(known));
        if held
            && members
                .iter()
                .any(|(n, member)| *n == name && member.instance == instance)
        {
            self.violate(format!("{name} was refused its own name after a restart"));
        }
        let lost_history = matches!(refusal, Refusal::Ahead { .. } | Refusal::Diverged { .. });
        if lost_history && self.volume().went_back.is_none() {
            self.violate(format!("{name} was refused as if the store had gone back: {refusal}"));
        }
    }
}
