//! What a driver does around a subscriber: its outputs one after another, each answered before the next input is read.

use super::{Inbox, through_a_file};
use crate::dice::{MICRO, MILLI, SECOND};
use crate::world::{Actor, World};
use shared::stream::message::Up;
use shared::stream::subscriber::{Alarm, Input, Output, Phase};
use std::time::Duration;

impl World {
    pub(super) fn tick_proxy(&mut self, i: usize) {
        let instant = self.origin + Duration::from_nanos(self.now);
        let Some(run) = &mut self.proxies[i].run else { return };
        run.views.cut_overdue(instant);
        let waits = run.inbox.iter().any(|held| matches!(held, Inbox::Input(Input::Tick)));
        if !waits {
            run.inbox.push_back(Inbox::Draining);
            run.inbox.push_back(Inbox::Input(Input::Tick));
        }
        self.turn(i);
        self.drop_cut(i);
        self.after(Actor::Proxy(i), 250 * MILLI, move |world| world.tick_proxy(i));
    }

    /// The end of something may be news to whoever reports what drains.
    pub fn look_at_drains(&mut self, i: usize) {
        let Some(run) = &mut self.proxies[i].run else { return };
        if run.told_of_drains || !run.drains.has_changed().unwrap_or(false) {
            return;
        }
        run.told_of_drains = true;
        let soon = self.dice.gap();
        self.after(Actor::Proxy(i), soon, move |world| {
            if let Some(run) = &mut world.proxies[i].run {
                run.drains.borrow_and_update();
                run.told_of_drains = false;
                run.inbox.push_back(Inbox::Draining);
                world.turn(i);
            }
        });
    }

    /// What it does next: an output, then another; an input once there are none.
    pub(super) fn turn(&mut self, i: usize) {
        let now = self.proxies[i].time(self.now);
        let Some(run) = &mut self.proxies[i].run else { return };
        while !run.busy {
            if !run.outputs.is_empty() {
                run.busy = true;
                let slow = matches!(run.outputs.front(), Some(Output::Save(_) | Output::Write(_)));
                let gap = self.dice.gap() + if slow { self.dice.below(500 * MICRO) } else { 0 };
                self.after(Actor::Proxy(i), gap, move |world| world.carry_out(i));
                return;
            }
            let input = match run.inbox.pop_front() {
                None => return,
                Some(Inbox::Draining) => {
                    run.outputs
                        .extend(run.subscriber.handle(Input::Held(run.views.held()), now));
                    Input::Draining(run.views.draining())
                }
                Some(Inbox::Passed) => {
                    run.outputs
                        .extend(run.subscriber.handle(Input::Held(run.views.held()), now));
                    Input::Retired(run.views.draining())
                }
                Some(Inbox::Input(input)) => input,
            };
            if let Input::Lines(lines) = &input {
                for line in lines {
                    match line {
                        shared::stream::message::Down::Welcome(welcome) if welcome.leased => {
                            run.proven = run.proven.max(Some(run.hello_sent))
                        }
                        shared::stream::message::Down::Beat(beat) => run.proven = run.proven.max(beat.echo),
                        _ => {}
                    }
                }
            }
            run.outputs.extend(run.subscriber.handle(input, now));
        }
    }

    pub(super) fn carry_out(&mut self, i: usize) {
        let Some(run) = &mut self.proxies[i].run else { return };
        run.busy = false;
        let Some(output) = run.outputs.pop_front() else { return };
        let result = match output {
            Output::Save(state) => Some(Input::Stored(run.store.save(&state).map_err(|e| e.to_string()))),
            Output::Write(changes) => Some(Input::Stored(run.store.write(&changes).map_err(|e| e.to_string()))),
            Output::Unlink => Some(Input::Unlinked(run.store.unlink().map_err(|e| e.to_string()))),
            Output::Finished => return self.finished(i),
            other => self.act(i, other),
        };
        let now = self.proxies[i].time(self.now);
        if let (Some(input), Some(run)) = (result, &mut self.proxies[i].run) {
            run.outputs.extend(run.subscriber.handle(input, now));
        }
        self.turn(i);
    }

    pub(super) fn act(&mut self, i: usize, output: Output) -> Option<Input> {
        match output {
            Output::Connect { url } => {
                let id = self.dial(i, url);
                self.proxies[i].run.as_mut()?.connection = Some(id);
            }
            Output::Close => {
                let run = self.proxies[i].run.as_mut()?;
                run.fetch += 1;
                if let Some(id) = run.connection.take() {
                    self.hang_up(id, MILLI);
                }
            }
            Output::Send(up) => self.send(i, &up),
            Output::Fetch { .. } => self.fetch(i),
            Output::Swap { table, touched } => {
                let instant_before = self.endpoints(i);
                let run = self.proxies[i].run.as_mut()?;
                run.left = match touched {
                    Some(touched) => run.views.swap_touched(*table, &touched),
                    None => run.views.swap(*table),
                };
                run.swaps += 1;
                self.swapped(i, &instant_before);
                return Some(Input::Swapped);
            }
            Output::Retire => {
                let instant = self.origin + Duration::from_nanos(self.now);
                let run = self.proxies[i].run.as_mut()?;
                let left = std::mem::take(&mut run.left);
                run.passing = left.has_admissions();
                run.views.retire_at(left, instant);
                run.comes_over = false;
                let draining = run.views.draining();
                if !draining.is_empty() {
                    self.count.add("retired with requests in flight");
                }
                self.count_left_behind(i);
                self.end_holds_of_proxy(i);
                if self.proxies[i].run.as_ref()?.passing {
                    let gap = self.dice.gap();
                    self.after(Actor::Proxy(i), gap, move |world| world.pass(i));
                    return None;
                }
                let now = self.proxies[i].time(self.now);
                let run = self.proxies[i].run.as_mut()?;
                let held = Input::Held(run.views.held());
                run.outputs.extend(run.subscriber.handle(held, now));
                return Some(Input::Retired(draining));
            }
            Output::Phase(phase) => self.enter_phase(i, phase),
            Output::Alarm(alarm) => self.alarmed(i, &alarm),
            // Here nobody asks.
            Output::Look(_) | Output::Limits(_) | Output::Epochs(_) => {}
            Output::Save(_) | Output::Unlink | Output::Write(_) | Output::Finished => {}
        }
        None
    }

    /// The workers have passed if nothing is left to be sent that looked at a table before this one.
    pub fn pass(&mut self, i: usize) {
        let Some(run) = &mut self.proxies[i].run else { return };
        if !run.passing {
            return;
        }
        let swaps = run.swaps;
        if run.requests.values().any(|request| request.is_leaving(swaps)) {
            self.count.add("acknowledgements that waited for what leaves");
            return;
        }
        run.passing = false;
        run.inbox.push_back(Inbox::Passed);
        self.turn(i);
    }

    pub(super) fn send(&mut self, i: usize, up: &Up) {
        self.note(|| format!("proxy {i}: says {up:?}"));
        self.check_said(i, up);
        let (now, promised) = (self.proxies[i].time(self.now), self.volume().ledger.live());
        let Some(run) = &mut self.proxies[i].run else { return };
        if let Up::Hello(_) = up {
            run.hello_sent = now;
            run.promised_before = promised;
        }
        if let Some(id) = run.connection {
            self.send_up(id, up);
        }
    }

    pub(super) fn fetch(&mut self, i: usize) {
        self.count.add("snapshots fetched");
        let Some(run) = &mut self.proxies[i].run else { return };
        run.fetch += 1;
        let n = run
            .connection
            .and_then(|id| self.connections.get(&id))
            .map_or(0, |c| c.plane);
        let (number, life) = (run.fetch, self.proxies[i].life);
        let asked = self.dice.between(100 * MICRO, 30 * MILLI);
        let asked_at = (self.now + asked).max(self.proxies[i].up_stalled_until);
        self.at(Actor::World, asked_at, move |world| {
            let made = world.snapshot(n).ok_or_else(|| "nobody is there".to_owned());
            let back = world.dice.between(100 * MICRO, 30 * MILLI);
            if world.proxies[i].life != life {
                return;
            }
            let back_at = (world.now + back).max(world.proxies[i].down_stalled_until);
            world.at(Actor::Proxy(i), back_at, move |world| {
                let current = world.proxies[i].run.as_ref().is_some_and(|run| run.fetch == number);
                if current {
                    world.give(
                        i,
                        Input::Fetched(made.map(Box::new).map(|state| through_a_file(&state))),
                    );
                }
            });
        });
    }

    pub(super) fn enter_phase(&mut self, i: usize, phase: Phase) {
        self.note(|| format!("proxy {i}: {phase:?}"));
        let Some(run) = &mut self.proxies[i].run else { return };
        if run.stopping {
            return;
        }
        run.phase = phase;
        let opens = phase.is_open() && !run.listening;
        run.listening = phase.is_open();
        match phase {
            Phase::Serving { stale: true } | Phase::Unready => self.count.add("leases that ended"),
            Phase::Stopped => {
                self.count.add("leases that ended");
                self.after(Actor::Proxy(i), SECOND, move |world| {
                    if world.proxies[i]
                        .run
                        .as_ref()
                        .is_some_and(|run| run.phase == Phase::Stopped)
                    {
                        world.drop_requests(i);
                    }
                });
            }
            _ => {}
        }
        if opens {
            self.check_opening(i);
        }
    }

    pub(super) fn alarmed(&mut self, i: usize, alarm: &Alarm) {
        self.note(|| format!("proxy {i}: alarm, {alarm}"));
        self.count.add(match alarm {
            Alarm::DiskLost(_) => "disks lost",
            Alarm::DiskStuck(_) => "disks stuck",
            Alarm::DigestMismatch { .. } => "digests that do not match",
            Alarm::OtherEpoch { .. } => "other epochs met",
            Alarm::WentBack { .. } => "stores that went back met",
            Alarm::Refused { .. } => "refusals met",
            Alarm::LeaseOver { .. } => "lease alarms",
        });
        if matches!(alarm, Alarm::DigestMismatch { .. }) {
            self.violate(format!("proxy {i} holds another configuration than the log: {alarm}"));
        }
    }
}
