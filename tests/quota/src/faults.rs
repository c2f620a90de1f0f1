//! What goes wrong, and its end.

use shared::quota::proxy::Input;

use crate::dice::{MILLI, SECOND};
use crate::focus::Focus;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillPlane,
    PausePlane,
    SleepPlane,
    StepWallClock,
    Takeover,
    StoreDown,
    CutOff,
    CutOne,
    KillProxy,
    PauseProxy,
    SleepProxy,
    /// A proxy and an owner restart together: neither knows what the former life of the other did.
    RestartBoth,
    /// A proxy restarts and then an owner, once the proxy may have been told of its former life.
    RestartInTurn,
    Join,
    /// Someone joins, and then everyone is cut off.
    JoinAndCut,
    /// The same while one does not hear that it is to have less.
    JoinUnheard,
    Leave,
    /// One that knows what it spent leaves, and so does the owner.
    LeaveBoth,
    /// The same, in turn, once it is back.
    LeaveInTurn,
    Forget,
    Edit,
}

fn faults(focus: Focus) -> &'static [Fault] {
    use Fault::*;
    match focus {
        Focus::Peace => &[],
        Focus::Chaos => &[
            KillPlane,
            PausePlane,
            SleepPlane,
            StepWallClock,
            Takeover,
            StoreDown,
            CutOff,
            CutOne,
            KillProxy,
            PauseProxy,
            SleepProxy,
            Join,
            Leave,
            Forget,
            Edit,
        ],
        Focus::Permits => &[
            KillPlane,
            PausePlane,
            Takeover,
            Takeover,
            StoreDown,
            CutOff,
            CutOne,
            CutOne,
            KillProxy,
            RestartBoth,
            PauseProxy,
            Join,
            Leave,
            LeaveBoth,
            Forget,
            Edit,
            Edit,
        ],
        Focus::Sleeper => &[SleepPlane, PausePlane, Takeover],
        Focus::Share => &[
            CutOff,
            CutOff,
            CutOff,
            KillPlane,
            KillProxy,
            Join,
            JoinAndCut,
            JoinAndCut,
            JoinUnheard,
            JoinUnheard,
            Forget,
            StoreDown,
        ],
        Focus::Edits => &[Edit, Edit, Edit, KillPlane, PauseProxy],
        Focus::Ledger => &[Takeover, Takeover, KillPlane, StoreDown, PausePlane],
        Focus::Members => &[
            Join,
            Leave,
            LeaveBoth,
            LeaveBoth,
            Forget,
            KillProxy,
            RestartBoth,
            RestartBoth,
            Takeover,
            KillPlane,
        ],
        Focus::Clocks => &[
            StepWallClock,
            StepWallClock,
            PauseProxy,
            SleepProxy,
            KillPlane,
            Takeover,
        ],
        Focus::Crossing => &[PauseProxy],
        Focus::Heirs => &[
            RestartInTurn,
            RestartInTurn,
            RestartInTurn,
            LeaveInTurn,
            KillProxy,
            KillPlane,
            Takeover,
            PausePlane,
            PauseProxy,
            SleepProxy,
            CutOne,
            CutOff,
            Edit,
        ],
        Focus::Delays => &[PauseProxy, PausePlane, CutOne, Takeover],
        Focus::Succession => &[Takeover, Takeover, KillPlane, KillPlane, PausePlane, CutOne],
    }
}

impl World {
    pub fn begin_faults(&mut self) {
        if faults(self.focus).is_empty() {
            return;
        }
        let first = self.dice.between(SECOND, 3 * SECOND);
        self.after(first, World::next_fault);
    }

    fn next_fault(&mut self) {
        if self.mended {
            return;
        }
        let fault = self.dice.one(faults(self.focus));
        self.bring_about(fault);
        let next = self.dice.between(200 * MILLI, 2 * SECOND);
        self.after(next, World::next_fault);
    }

    fn bring_about(&mut self, fault: Fault) {
        let plane = self.dice.index(self.planes.len());
        let proxy = self.dice.index(self.proxies.len());
        let length = self.dice.between(300 * MILLI, 3 * SECOND);
        self.note(|| format!("{fault:?} c{plane} p{proxy} {} ms", length / MILLI));
        match fault {
            Fault::KillPlane => {
                self.count.add("owners killed");
                self.kill_plane(plane);
                self.share_out();
                let later = self.dice.between(100 * MILLI, SECOND);
                self.after(later, move |world| world.revive(plane));
            }
            Fault::PausePlane => {
                self.count.add("owners paused");
                self.planes[plane].paused_until = self.planes[plane].paused_until.max(self.now + length);
                self.take_over_from(plane);
            }
            Fault::SleepPlane => self.sleep_plane(plane, length),
            Fault::StepWallClock => self.step_wall_clock(plane),
            Fault::Takeover => self.take_over_from(plane),
            Fault::StoreDown => {
                self.count.add("stores away");
                self.store.down_until = self.now + length;
            }
            Fault::CutOff => self.cut_off(proxy),
            Fault::CutOne => self.cut_one(proxy, plane, length),
            Fault::KillProxy => self.restart_proxy(proxy, 800 * MILLI),
            Fault::RestartBoth => {
                self.restart_proxy(proxy, 60 * MILLI);
                self.restart_plane(plane);
            }
            Fault::RestartInTurn => {
                self.restart_proxy(proxy, 60 * MILLI);
                self.restart_plane_later(plane);
            }
            Fault::LeaveInTurn => {
                self.leave_and_return(proxy);
                self.restart_plane_later(plane);
            }
            Fault::PauseProxy => {
                self.count.add("proxies paused");
                self.proxies[proxy].paused_until = self.proxies[proxy].paused_until.max(self.now + length);
            }
            Fault::SleepProxy => self.sleep_proxy(proxy, length),
            Fault::Join => self.join_another(),
            Fault::JoinAndCut => {
                self.join_another();
                let soon = self.dice.between(20 * MILLI, 300 * MILLI);
                self.after(soon, |world| {
                    (0..world.proxies.len()).for_each(|proxy| world.cut_off(proxy))
                });
            }
            Fault::JoinUnheard => self.join_unheard(proxy),
            Fault::Leave => self.leave_and_return(proxy),
            Fault::LeaveBoth => {
                self.leave_and_return(proxy);
                self.restart_plane(plane);
            }
            Fault::Forget => self.forget(proxy),
            Fault::Edit => self.edit(),
        }
    }

    fn restart_plane_later(&mut self, plane: usize) {
        let later = self.dice.between(60 * MILLI, 900 * MILLI);
        self.after(later, move |world| {
            if !world.mended && world.planes[plane].owner.is_some() {
                world.restart_plane(plane);
            }
        });
    }

    /// So soon that windows are not over meanwhile.
    pub fn restart_plane(&mut self, plane: usize) {
        self.kill_plane(plane);
        self.share_out();
        let later = self.dice.between(5 * MILLI, 150 * MILLI);
        self.after(later, move |world| world.revive(plane));
    }

    fn revive(&mut self, plane: usize) {
        if self.planes[plane].owner.is_none() {
            self.start_plane(plane);
            self.share_out();
        }
    }

    /// Another control plane takes all that this one has for its own; this one learns of it later.
    fn take_over_from(&mut self, plane: usize) {
        if self.planes.len() < 2 {
            return;
        }
        self.count.add("takeovers");
        let other = (plane + 1 + self.dice.index(self.planes.len() - 1)) % self.planes.len();
        let shards = self.planes[plane].shards;
        self.planes[other].shards |= shards;
        self.owner(other, shared::quota::owner::Input::Shards(self.planes[other].shards));
        let later = self.dice.between(5 * MILLI, SECOND);
        self.after(later, move |world| {
            if world.mended {
                return;
            }
            let left = world.planes[plane].shards & !shards;
            world.planes[plane].shards = left;
            if world.planes[plane].paused_until <= world.now {
                world.owner(plane, shared::quota::owner::Input::Shards(left));
            }
        });
    }

    /// Its machine sleeps, clocks and all, and wakes with its claim not over by its own time. Some proxies hear nobody
    /// else meanwhile.
    fn sleep_plane(&mut self, plane: usize, length: u64) {
        if self.planes[plane].paused_until > self.now {
            return;
        }
        self.count.add("owners that slept");
        let length = if self.focus == Focus::Sleeper {
            self.dice.between(2 * SECOND, 5 * SECOND)
        } else {
            length
        };
        self.planes[plane].paused_until = self.now + length;
        self.planes[plane].clock.sleep(self.now, length);
        let corrected = self.dice.between(10 * MILLI, 2 * SECOND);
        self.after(length + corrected, move |world| world.correct(plane));
        if self.focus == Focus::Sleeper && self.planes.len() > 1 {
            for proxy in 0..self.proxies.len() {
                if self.dice.percent(50) {
                    for other in (0..self.planes.len()).filter(|other| *other != plane) {
                        self.cut_one(proxy, other, length + SECOND);
                    }
                }
            }
        }
        self.take_over_from(plane);
    }

    fn step_wall_clock(&mut self, plane: usize) {
        self.count.add("wall clocks stepped");
        let by = self.dice.between(100 * MILLI, 1_500 * MILLI) as i64;
        self.planes[plane].clock.wall_error = if self.dice.percent(50) { by } else { -by };
        let later = self.dice.between(200 * MILLI, 4 * SECOND);
        self.after(later, move |world| world.correct(plane));
    }

    fn correct(&mut self, plane: usize) {
        let error = self.dice.below(10 * MILLI) as i64 - 5 * MILLI as i64;
        self.planes[plane].clock.wall_error = error;
    }

    fn cut_one(&mut self, proxy: usize, plane: usize, length: u64) {
        self.count.add("cuts");
        let way = self.dice.below(3);
        if way != 1 {
            self.network.up_cut.insert((proxy, plane));
        }
        if way != 0 {
            self.network.down_cut.insert((proxy, plane));
        }
        self.after(length, move |world| {
            world.network.up_cut.remove(&(proxy, plane));
            world.network.down_cut.remove(&(proxy, plane));
        });
    }

    /// From everyone, long enough for it to begin with its standby; sometimes so long that it is given up.
    fn cut_off(&mut self, proxy: usize) {
        let length = if self.dice.percent(15) {
            9 * SECOND
        } else {
            self.dice.between(SECOND, 5 * SECOND)
        };
        self.cut_off_for(proxy, length);
    }

    pub fn cut_off_for(&mut self, proxy: usize, length: u64) {
        self.count.add("proxies cut off");
        self.network.last_cut.entry(proxy).or_insert(self.now);
        for plane in 0..self.planes.len() {
            self.network.up_cut.insert((proxy, plane));
            self.network.down_cut.insert((proxy, plane));
        }
        self.after(length, move |world| world.join_again(proxy));
    }

    fn join_again(&mut self, proxy: usize) {
        self.network.last_cut.remove(&proxy);
        self.network.up_cut.retain(|(of, _)| *of != proxy);
        self.network.down_cut.retain(|(of, _)| *of != proxy);
        if self.proxies[proxy].machine.is_none() {
            return;
        }
        if self.roster.insert(self.proxies[proxy].instance, proxy).is_none() {
            self.count.add("proxies that joined again");
            self.announce_members();
        }
        let life = self.proxies[proxy].life;
        self.welcome(proxy, life);
    }

    pub fn restart_proxy(&mut self, proxy: usize, away_max: u64) {
        if self.proxies[proxy].machine.is_none() {
            return;
        }
        self.count.add("proxies killed");
        self.kill_proxy(proxy);
        let life = self.proxies[proxy].life;
        let later = self.dice.between(5 * MILLI, away_max);
        self.after(later, move |world| {
            if world.proxies[proxy].life == life {
                world.join(proxy);
            }
        });
    }

    /// It sleeps, and so does its clock; on waking it is the first that it hears of.
    fn sleep_proxy(&mut self, proxy: usize, length: u64) {
        if self.proxies[proxy].paused_until > self.now || self.depth > 0 {
            return;
        }
        self.count.add("proxies that slept");
        // What is between its clock and its slots at that moment is what is excluded.
        self.proxies[proxy].clock.sleep(self.now, length);
        self.proxies[proxy].paused_until = self.now + length;
        let life = self.proxies[proxy].life;
        self.at(self.now + length - 1, move |world| {
            if world.proxies[proxy].life == life {
                world.proxies[proxy].paused_until = world.now;
                world.hand_proxy(proxy, Input::Slept);
            }
        });
    }

    fn join_another(&mut self) {
        if self.proxies.len() >= 6 {
            return;
        }
        self.count.add("joins");
        let proxy = crate::proxy::Proxy::new(&mut self.dice);
        self.proxies.push(proxy);
        let last = self.proxies.len() - 1;
        self.join(last);
        self.ask_for_ever(last);
    }

    fn join_unheard(&mut self, proxy: usize) {
        self.cut_off_for(proxy, 6 * SECOND);
        let soon = self.dice.between(20 * MILLI, 200 * MILLI);
        self.after(soon, World::join_another);
        let later = soon + self.dice.between(400 * MILLI, 900 * MILLI);
        self.after(later, |world| {
            (0..world.proxies.len()).for_each(|proxy| world.cut_off_for(proxy, 5 * SECOND))
        });
    }

    pub fn leave_and_return(&mut self, proxy: usize) {
        if self.proxies[proxy].machine.is_none() {
            return;
        }
        self.count.add("goodbyes");
        self.leave(proxy, true);
        let life = self.proxies[proxy].life;
        let later = self.dice.between(20 * MILLI, SECOND);
        self.after(later, move |world| {
            if world.proxies[proxy].life == life {
                world.join(proxy);
            }
        });
    }

    /// An operator removes one that is away: it may be cut off and go on.
    fn forget(&mut self, proxy: usize) {
        let away = (0..self.planes.len()).all(|plane| self.network.up_cut.contains(&(proxy, plane)));
        if away || self.proxies[proxy].machine.is_none() {
            self.count.add("proxies forgotten");
            self.leave(proxy, false);
        }
    }

    /// Faults are over, and what they left is put right.
    pub fn mend(&mut self) {
        self.mended = true;
        self.store.down_until = 0;
        self.network.up_cut.clear();
        self.network.down_cut.clear();
        for plane in 0..self.planes.len() {
            let of = &mut self.planes[plane];
            // Who sleeps sleeps on: its clock stands still until then.
            of.paused_until = of.paused_until.min(of.clock.wakes_at.max(self.now));
            self.correct(plane);
            self.revive(plane);
        }
        self.share_out();
        for proxy in 0..self.proxies.len() {
            let of = &mut self.proxies[proxy];
            of.paused_until = of.paused_until.min(of.clock.wakes_at.max(self.now));
            match self.proxies[proxy].machine.is_some() {
                true => self.join_again(proxy),
                false => self.join(proxy),
            }
        }
    }

    /// Every account of a limit that permits something was served again.
    pub fn check_served(&mut self) {
        let ids: Vec<_> = self
            .limits
            .accounts()
            .filter(|account| self.limits.rules.of(&account.limit).is_some())
            .collect();
        for account in ids {
            if self.oracle.served(&account) == 0 {
                self.violate(format!(
                    "{account:?} was not served any more: {:?}",
                    self.limits.rules.of(&account.limit)
                ));
            }
        }
    }
}
