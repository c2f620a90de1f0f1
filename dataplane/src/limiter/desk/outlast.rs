//! Requests that do not go on at once: they wait for the owner, or for their turn.

use std::time::Duration;

use tokio::time::Instant;

use super::{Inner, Outcome};
use crate::limiter::due::{Awaited, Request};
use crate::limiter::tally::Decided;
use crate::limiter::turns::{NoTurn, Turn};
use crate::limiter::{RETRY_AFTER, Waiting};
use crate::pipeline::{Counted, Verdict};
use shared::model::LimitId;
use shared::quota::AccountId;

/// Whoever is first in line asks no more often, while nobody has told when there will be something.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whoever is woken so long after the time gives its owner the time again, once.
const LATE: Duration = Duration::from_millis(10);

/// Mail waits longer for an owner that is late: a client of SMTP waits for minutes, and its refusal is a delay of many.
const MAIL_PATIENCE: Duration = Duration::from_secs(5);

pub(super) enum Pending {
    /// `otherwise`: what becomes of it when the wait brings nothing.
    Owner {
        waiting: Waiting,
        otherwise: Otherwise,
    },
    Turn(Awaited),
}

pub(super) enum Otherwise {
    Refused(AccountId, Verdict),
    /// The limit lets pass what its owner cannot be asked about.
    Open(AccountId, Verdict),
    Turn(Awaited),
}

impl Otherwise {
    /// Whose owner the wait is for, where nothing else is waited for after it.
    fn account(&self) -> Option<&AccountId> {
        match self {
            Otherwise::Refused(account, _) | Otherwise::Open(account, _) => Some(account),
            Otherwise::Turn(_) => None,
        }
    }
}

impl Inner {
    /// Waits, and looks anew at the limits of then, as often as there is something new in time.
    pub(super) async fn outlast(
        &self,
        request: &Request<'_>,
        before: &Counted,
        mut pending: Pending,
    ) -> Result<Counted, Verdict> {
        let arrived = Instant::now();
        let patience = self.limiter.patience();
        let mut until = arrived + patience;
        let is_mail = request.asked.protocol == "SMTP";
        let mut uncounted = Vec::new();
        let mut was_late = false;
        let mut turn: Option<Turn> = None;
        let mut news: Option<Waiting> = None;
        loop {
            match pending {
                Pending::Owner { waiting, otherwise } => {
                    let is_patient = is_mail && otherwise.account().is_some_and(|of| !self.limiter.is_cut_off(of));
                    let until_now = if is_patient {
                        until.max(arrived + MAIL_PATIENCE)
                    } else {
                        until
                    };
                    if !waiting.ended(until_now).await {
                        // A thread that stood still has not waited, and what it was told meanwhile it has not heard.
                        let is_late = !was_late && until_now.elapsed() > LATE;
                        match otherwise {
                            _ if is_late => {
                                was_late = true;
                                until = Instant::now() + patience;
                            }
                            Otherwise::Open(account, _) if self.limiter.is_cut_off(&account) => {
                                self.tally(LimitId(account.limit), Decided::Uncounted);
                                uncounted.push(account.key);
                            }
                            Otherwise::Refused(account, verdict) | Otherwise::Open(account, verdict) => {
                                self.tally(LimitId(account.limit), Decided::Refused);
                                return Err(verdict);
                            }
                            Otherwise::Turn(awaited) => {
                                pending = Pending::Turn(awaited);
                                continue;
                            }
                        }
                    }
                }
                Pending::Turn(awaited) => {
                    self.wait_turn(&awaited, arrived, &mut turn, news.take()).await?;
                    // The owner has to answer anew.
                    until = Instant::now() + patience;
                }
            }
            // Heard from now on, and looked for after that: nothing new is missed in between.
            news = turn.as_ref().map(|turn| self.limiter.listen(turn.key()));
            match self.look(request, before, &uncounted, turn.is_some()) {
                Outcome::Counted(counted) => return Ok(counted),
                Outcome::Refused(verdict) => return Err(verdict),
                Outcome::Pending(next) => pending = next,
            }
        }
    }

    /// Stands in line until it is the first, and being the first until there is news, or something to be had.
    async fn wait_turn(
        &self,
        of: &Awaited,
        arrived: Instant,
        turn: &mut Option<Turn>,
        news: Option<Waiting>,
    ) -> Result<(), Verdict> {
        let (now, until) = (Instant::now(), arrived + of.delay_max);
        let retry_at = now + of.retry;
        if retry_at > until || now >= until {
            return Err(self.no_turn(of, NoTurn::Late));
        }
        let turns = self.limiter.turns();
        if turn.is_none() {
            let joined = turns.join(of.key, of.cost, of.tokens_max);
            let joined = joined.map_err(|why| self.no_turn(of, why))?;
            joined.comes(until).await.map_err(|why| self.no_turn(of, why))?;
            *turn = Some(joined);
            return Ok(());
        }
        let look_at = retry_at.max(now + LOOK_EVERY).min(until);
        let waited = async {
            match news {
                Some(news) => drop(news.ended(look_at).await),
                None => tokio::time::sleep_until(look_at).await,
            }
        };
        tokio::select! {
            () = turns.over().cancelled() => Err(self.no_turn(of, NoTurn::Over)),
            () = waited => Ok(()),
        }
    }

    fn no_turn(&self, of: &Awaited, why: NoTurn) -> Verdict {
        let retry_after = match why {
            NoTurn::Over => return Verdict::Draining,
            NoTurn::Full => RETRY_AFTER,
            // All that there can be meanwhile goes to those ahead.
            NoTurn::Hopeless => of.retry.max(of.delay_max),
            NoTurn::Late => of.retry.max(RETRY_AFTER),
        };
        self.tally(of.quota.id, Decided::Refused);
        of.exceeded(retry_after)
    }
}
