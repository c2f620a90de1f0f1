//! Whom one question is put to, one after another, until one has answered or the time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::model::Authorizer;
use tokio::time::timeout_at;

use super::{Desk, Failure};
use crate::pipeline::{Picked, Tried, pick_internal, pick_internal_in_turn};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::Doubt;

/// Nobody is waited for in smaller steps.
const STEP: Duration = Duration::from_millis(10);

pub struct Round<'a> {
    desk: &'a Desk,
    authorizer: &'a Authorizer,
    deadline: Instant,
    tried: Tried,
    /// In the order in which they were asked. Of all but the newest more was expected by now.
    owing: Vec<Arc<Endpoint>>,
    may_follow: bool,
}

impl<'a> Round<'a> {
    pub fn new(desk: &'a Desk, authorizer: &'a Authorizer, deadline: Instant) -> Round<'a> {
        Round {
            desk,
            authorizer,
            deadline,
            tried: Tried::default(),
            owing: Vec::new(),
            may_follow: true,
        }
    }

    /// None while all that is left is to wait for those who were asked.
    pub async fn next(&mut self) -> Result<Option<Picked>, Failure> {
        if Instant::now() >= self.deadline {
            self.owing.iter().for_each(owes_an_answer);
            return Err(Failure::TimedOut);
        }
        let next = match (self.may_follow, self.owing.is_empty()) {
            (false, true) => return Err(Failure::NoUpstream),
            (false, false) => None,
            (true, true) => Some(self.in_turn().await?),
            (true, false) => self.beside(),
        };
        let Some(picked) = next else {
            self.may_follow = false;
            return Ok(None);
        };
        if !self.is_paid(&picked) {
            // Others may show meanwhile that it is not the question's fault.
            return if self.owing.is_empty() {
                Err(Failure::NoUpstream)
            } else {
                Ok(None)
            };
        }
        self.tried.add(picked.endpoint());
        self.owing.push(picked.endpoint().clone());
        let retries = picked.service().retries.attempts as usize;
        self.may_follow = self.tried.len() <= retries;
        Ok(Some(picked))
    }

    /// Whoever was set aside does nothing for what it still owes: to ask another one instead asks no more of the service than
    /// its clients do.
    fn is_paid(&self, picked: &Picked) -> bool {
        let is_idle = |one: &Arc<Endpoint>| !one.health().is_up();
        let is_instead = !self.owing.is_empty() && self.owing.iter().all(is_idle);
        self.tried.is_empty() || is_instead || picked.endpoint().care().budget().spend(Instant::now())
    }

    /// Waits where the service lets requests wait.
    async fn in_turn(&self) -> Result<Picked, Failure> {
        let picking = pick_internal_in_turn(&self.desk.views, &self.authorizer.service, &self.tried);
        match timeout_at(self.deadline.into(), picking).await {
            Ok(picked) => picked.map_err(|_| Failure::NoUpstream),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// One that has not been asked.
    fn beside(&self) -> Option<Picked> {
        let picked = pick_internal(&self.desk.views, &self.authorizer.service, &self.tried).ok()?;
        (!self.tried.contains(picked.endpoint())).then_some(picked)
    }

    /// Until when nobody else is asked.
    pub fn patience(&self) -> Instant {
        if !self.may_follow {
            return self.deadline;
        }
        let now = Instant::now();
        let half = self.deadline.saturating_duration_since(now) / 2;
        self.deadline.min(now + half.max(STEP))
    }

    pub fn failed(&mut self, endpoint: &Arc<Endpoint>) {
        self.owing.retain(|one| !Arc::ptr_eq(one, endpoint));
    }

    /// Whoever was slow enough for another one to be asked, and to be faster, is taken to answer nothing.
    pub fn answered(&mut self, endpoint: &Arc<Endpoint>) {
        self.owing.pop_if(|newest| !Arc::ptr_eq(newest, endpoint));
        self.failed(endpoint);
        self.owing.iter().for_each(owes_an_answer);
    }
}

fn owes_an_answer(endpoint: &Arc<Endpoint>) {
    endpoint.care().suspend(endpoint, Doubt::Answers, Instant::now());
}
