//! How the control plane comes to an answer, and what that promises.

use super::{ANSWER_WITHIN, OpNumber, Waiting, What};
use crate::dice::SECOND;
use crate::oracle::Retired;
use crate::plane::Purpose;
use crate::world::{Actor, World};
use controlplane::changelog::{Committed, WriteError};
use controlplane::push::join;
use controlplane::registry::plan::{Goal, Plan};
use shared::change::{ObjectKey, Revision};
use shared::stream::roster::Forget;
use shared::stream::wait::Report;
use std::sync::Arc;
use uuid::Uuid;

impl World {
    pub fn decided(&mut self, n: usize, number: OpNumber, result: Result<Committed, WriteError>) {
        let Some(asked) = self.clients.ops.get(&number).cloned() else {
            return;
        };
        let committed = match result {
            Ok(committed) => committed,
            Err(error) => {
                self.note(|| format!("client: {number} is answered {error:?}"));
                let stays_out = !matches!(error, WriteError::OutcomeUnknown { .. });
                if stays_out && asked.alone {
                    self.never(&asked.actor);
                }
                self.clients.ops.remove(&number);
                if asked.must_succeed {
                    self.violate(format!("{:?} failed in peace: {error:?}", asked.what));
                }
                return;
            }
        };
        if !committed.appended && committed.revision < asked.head {
            let (revision, head) = (committed.revision, asked.head);
            self.violate(format!(
                "{:?} was decided at revision {revision}, when the log's head had been {head} before it was asked",
                asked.what
            ));
        }
        let Some(run) = self.planes[n].run.as_mut() else { return };
        let plan = Plan::of(&asked.what.subject(), &committed, &run.history, asked.goal, None);
        if plan.goal == Goal::None {
            self.clients.ops.remove(&number);
            return;
        }
        let (spec, timeout) = (plan.spec.clone(), plan.timeout);
        let waiting = Waiting {
            op: number,
            committed,
            plan,
        };
        match self.hub(n, |hub, now| hub.wait(spec, now)) {
            None => {}
            Some(Err(report)) => self.finish(n, waiting, *report),
            Some(Ok(id)) => {
                if let Some(run) = self.planes[n].run.as_mut() {
                    run.waits.insert(id, waiting);
                }
                self.after(Actor::Plane(n), timeout.as_nanos() as u64, move |world| {
                    let report = world.hub(n, |hub, now| hub.give_up(id, now)).flatten();
                    let waiting = world.planes[n].run.as_mut().and_then(|run| run.waits.remove(&id));
                    if let (Some(report), Some(waiting)) = (report, waiting) {
                        world.finish(n, waiting, report);
                    }
                });
            }
        }
    }

    pub fn finish(&mut self, n: usize, waiting: Waiting, report: Report) {
        let Some(asked) = self.clients.ops.remove(&waiting.op) else {
            return;
        };
        self.note(|| format!("client: {} is answered {report:?}", waiting.op));
        self.count.add(match (report.reached, report.refused_now) {
            (true, _) => "writes answered 200",
            (false, true) => "writes refused by a proxy",
            (false, false) => "writes answered 504",
        });
        // Where all have left, and the goodbye of one was lost, nobody can have it.
        let serves = self.proxies.iter().any(|proxy| proxy.run.is_some());
        if asked.must_succeed && !report.reached && serves {
            self.violate(format!("{:?} was not answered 200 in peace: {report:?}", asked.what));
        }
        if !report.detached.is_empty() {
            self.count.add("writes that named a proxy detached");
        }
        if self.now > asked.at + ANSWER_WITHIN + self.planes[n].paused {
            self.violate(format!(
                "{:?} was answered after {} s",
                asked.what,
                (self.now - asked.at) / SECOND
            ));
        }
        if report.reached && asked.history == self.volume().history {
            let retired = self.retired(&asked.what, waiting.committed.revision);
            if waiting.plan.goal == Goal::Drained {
                self.count.add("writes that waited for a drain");
            }
            let reached = self.promised(
                n,
                &format!("{:?}", asked.what),
                waiting.committed.revision,
                &waiting.plan.spec.objects,
                retired,
                &report,
            );
            match (&asked.what, waiting.plan.goal) {
                (What::Revoke(withdrawn), _) => self.withdrawn(withdrawn, reached),
                (What::Hold(service, _), Goal::Drained) => {
                    let what = format!("{:?}", asked.what);
                    self.promised_quiet(&what, service, waiting.committed.revision, reached);
                }
                _ => {}
            }
        }
    }

    /// What a success tells its caller that is free of traffic, derived from the log alone.
    pub(super) fn retired(&self, what: &What, at: Revision) -> Vec<Retired> {
        let before = at;
        match what {
            What::DeleteUpstream(service, id) => vec![Retired::upstream(service, id, before)],
            What::DeleteService(service) => vec![Retired::service(service, before)],
            What::DeleteAddress(address) => vec![Retired::address(address, before)],
            What::PutUpstream(service, id, _) => {
                let key = ObjectKey::upstream(service, id);
                let volume = self.volume();
                let Some(new) = volume.at(at).get(&key) else {
                    return Vec::new();
                };
                let Some(old) = volume.at(Revision(new.revision.0 - 1)).get(&key) else {
                    return Vec::new();
                };
                let drains = new.body.as_str().contains("\"draining\"");
                match new.registration != old.registration || drains {
                    true => vec![Retired::upstream(service, id, new.revision)],
                    false => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn ask_to_forget(&mut self, n: usize, number: OpNumber, name: &str) {
        let stands = self.hub(n, |hub, now| hub.forget(name, now));
        match stands {
            None => {}
            Some(Forget::Absent) => drop(self.clients.ops.remove(&number)),
            Some(Forget::Present) => {
                self.count.add("forgetting refused: present");
                self.clients.ops.remove(&number);
            }
            Some(Forget::Within(rest)) => {
                let due = self
                    .clients
                    .ops
                    .get(&number)
                    .is_some_and(|asked| self.now + rest.as_nanos() as u64 <= asked.at + 15 * SECOND);
                match due {
                    true => {
                        let name: Arc<str> = name.into();
                        self.after(Actor::Plane(n), rest.as_nanos() as u64, move |world| {
                            world.ask_to_forget(n, number, &name);
                        });
                    }
                    false => drop(self.clients.ops.remove(&number)),
                }
            }
            Some(Forget::Now { instance }) => {
                self.count.add("members forgotten on demand");
                let decide = join::leaving(name.into(), instance, false);
                self.submit(n, "operator".into(), decide, Purpose::Forget(number));
            }
        }
    }

    pub fn submit_forget(&mut self, n: usize, actor: Arc<str>, name: Arc<str>, instance: Uuid) {
        self.submit(n, actor, join::leaving(name, instance, false), Purpose::Forget(0));
    }

    pub fn forgotten(&mut self, number: OpNumber, result: &Result<Committed, WriteError>) {
        self.note(|| format!("client: {number} forgot, {}", result.is_ok()));
        self.clients.ops.remove(&number);
    }

    /// At the end nobody still waits.
    pub fn check_answered(&mut self) {
        let late = self
            .clients
            .ops
            .values()
            .find(|asked| self.now > asked.at + ANSWER_WITHIN + self.planes[asked.plane].paused);
        if let Some(asked) = late.cloned() {
            self.violate(format!(
                "{:?} has got no answer in {} s",
                asked.what,
                (self.now - asked.at) / SECOND
            ));
        }
    }
}
