//! One write from its decision to its answer: committed, and true on every proxy, or named where it is not.

use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use net::problem::{self, Problem};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::change::{Kind, ObjectKey, Revision};
use shared::stream::wait::report::FleetMember;
use shared::stream::wait::{Condition, Report, WaitSpec};
use tokio::sync::SemaphorePermit;

use super::Api;
use super::answer::{Answer, Failure, json, tag};
use super::call::Call;
use super::holds;
use crate::changelog::{Changelog, Committed, Decide, Head};
use crate::registry::document;
use crate::registry::plan::{Goal, Plan, Subject};
use crate::registry::scope::Scope;

#[derive(Serialize)]
pub struct Written<'a> {
    pub revision: Revision,
    pub committed: bool,
    pub wait: Waited,
    pub fleet: FleetMember<'a>,
    pub also_in: &'a [String],
    /// What only some writes tell.
    #[serde(flatten)]
    pub beside: &'a Map<String, Value>,
}

#[derive(Serialize)]
pub struct Waited {
    pub r#for: &'static str,
    pub reached: bool,
    pub took_ms: u64,
}

pub async fn write(api: &Api, call: &Call, subject: Subject, decide: Decide) -> Answer {
    let known: &[&str] = match subject {
        Subject::AddressGone(_) => &["address", "wait", "timeout"],
        _ => &["wait", "timeout"],
    };
    let query = call.query(known)?;
    let (goal, timeout) = (query.goal()?, query.timeout()?);
    let _place = place(api, goal)?;
    let committed = api.changelog.submit(call.actor.clone(), decide).await?;
    let plan = Plan::of(&subject, &committed, &*api.changelog, goal, timeout);
    let mut response = settled(api, call.scope(), &committed, &plan, &Map::new()).await;
    let written = match &subject {
        Subject::Service(name) => Some(ObjectKey::service(name.as_str())),
        Subject::Upstream(service, id) => Some(ObjectKey::upstream(service.as_str(), id.as_str())),
        Subject::Authorizer(name) => Some(ObjectKey::authorizer(name.as_str())),
        Subject::Limit(id) => Some(ObjectKey::limit(*id)),
        Subject::Hold(service) => Some(ObjectKey::hold(service.as_str())),
        _ => None,
    };
    if let Some(object) = written.and_then(|key| committed.head.state.get(&key).cloned()) {
        response.headers_mut().extend([tag(object.revision)]);
    }
    Ok(response)
}

/// What stands for everything that is of services other than the caller's: that it is there has to be said.
const OTHERS: &str = "*";

pub fn veil(scope: &Scope, report: &mut Report, also_in: &mut Vec<String>) {
    for draining in report
        .draining
        .iter_mut()
        .filter(|of| !scope.has_upstream(&of.upstream))
    {
        OTHERS.clone_into(&mut draining.upstream);
    }
    let before = also_in.len();
    also_in.retain(|upstream| scope.has_upstream(upstream));
    if also_in.len() < before {
        also_in.push(OTHERS.to_owned());
    }
}

/// Among those that wait. Before the commit: a write that is refused for want of room has changed nothing.
pub fn place(api: &Api, goal: Option<Goal>) -> Result<Option<SemaphorePermit<'_>>, Problem> {
    let full =
        |_| Problem::new(problem::TOO_MANY_REQUESTS, "too many writes wait for the fleet").with("committed", false);
    match goal {
        Some(Goal::None) => Ok(None),
        _ => api.waiters.try_acquire().map(Some).map_err(full),
    }
}

/// The answer, once it is true or its time is over; `beside` is told with it. `scope`: what the caller may be told of.
pub async fn settled(
    api: &Api,
    scope: Option<&Scope>,
    committed: &Committed,
    plan: &Plan,
    beside: &Map<String, Value>,
) -> Response {
    let (waiting, at) = (api.counts.wait(plan.goal), Instant::now());
    let mut report = match plan.goal {
        Goal::None => api.fleet.wait(plan.spec.clone(), Duration::ZERO).await,
        _ => wait(api, plan.spec.clone(), plan.timeout).await,
    };
    waiting.end(plan, &report, at);
    let head = api.changelog.head();
    let mut also_in = plan.also_in(&head);
    if let Some(scope) = scope {
        veil(scope, &mut report, &mut also_in);
    }
    let outcome = Outcome {
        report,
        also_in,
        hold_has_ended: has_ended(&head, &plan.spec.condition),
    };
    answer(committed, plan, &outcome, beside)
}

/// How things stand when a write is answered.
struct Outcome {
    report: Report,
    also_in: Vec<String>,
    /// The one that was waited for.
    hold_has_ended: bool,
}

/// Waits, but not beyond the end of this process, or of a hold that it is about: then it is said how far it came.
async fn wait(api: &Api, spec: WaitSpec, timeout: Duration) -> Report {
    tokio::select! {
        report = api.fleet.wait(spec.clone(), timeout) => report,
        () = api.stop.cancelled() => api.fleet.wait(spec, Duration::ZERO).await,
        () = ended(&api.changelog, &spec.condition) => api.fleet.wait(spec, Duration::ZERO).await,
    }
}

/// Comes once neither the hold that is waited for stands any more, nor one that renewed it.
async fn ended(changelog: &Changelog, condition: &Condition) {
    if matches!(condition, Condition::Quiet { .. }) {
        let mut moves = changelog.moves();
        // The sender lives as long as the changelog.
        let _ = moves.wait_for(|_| has_ended(&changelog.head(), condition)).await;
    } else {
        // Thousands of others need not look at every commit.
        std::future::pending().await
    }
}

fn has_ended(head: &Head, condition: &Condition) -> bool {
    let Condition::Quiet { service, since } = condition else {
        return false;
    };
    let held = head.state.get(&ObjectKey::hold(service));
    held.is_none_or(|held| held.revision < *since)
}

fn answer(committed: &Committed, plan: &Plan, outcome: &Outcome, beside: &Map<String, Value>) -> Response {
    let report = &outcome.report;
    let status = match plan.goal {
        Goal::None => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    let wait = Waited {
        r#for: plan.goal.as_str(),
        reached: report.reached && status == StatusCode::OK,
        took_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
    };
    if status == StatusCode::OK && !report.reached {
        let mut problem = not_reached(committed, plan, wait, outcome);
        problem.extra.extend(beside.clone());
        return Failure::from(problem).into_response();
    }
    let written = Written {
        revision: committed.revision,
        committed: true,
        wait,
        fleet: report.fleet(),
        also_in: &outcome.also_in,
        beside,
    };
    json(status, &written)
}

fn not_reached(committed: &Committed, plan: &Plan, wait: Waited, outcome: &Outcome) -> Problem {
    let (revision, report) = (committed.revision, &outcome.report);
    let problem = match report.refused_now {
        true => Problem::new(
            problem::REFUSED_BY_PROXY,
            format!("a proxy cannot apply revision {revision}"),
        ),
        false => {
            let why = match outcome.hold_has_ended {
                true => ", and the hold has ended",
                false => "",
            };
            let detail = format!(
                "revision {revision} is {} on {} of {} proxies after {} ms{why}",
                plan.goal.as_str(),
                report.reached_count,
                report.members,
                wait.took_ms
            );
            Problem::new(problem::WAIT_NOT_REACHED, detail)
        }
    };
    problem
        .with("revision", revision.0)
        .with("committed", true)
        .with("wait", json!(wait))
        .with("fleet", json!(report.fleet()))
        .with("also_in", outcome.also_in.as_slice())
}

/// GET of one object. That there is none is only said by the true head.
pub async fn show(api: &Api, call: &Call, key: ObjectKey) -> Answer {
    let conditions = call.conditions()?;
    let mut head = api.changelog.head();
    if head.state.get(&key).is_none() {
        head = api.changelog.true_head(call.actor.clone()).await?;
    }
    let Some(object) = head.state.get(&key) else {
        return Err(absent(&key).into());
    };
    let mut current = document::current(&head, &key);
    if key.kind == Kind::Hold {
        current[holds::ENDS_AT] = holds::ends_at(api, object).await.into();
    }
    let mut response = match conditions.hold(Some(object.revision)) {
        true => json(StatusCode::OK, &current),
        false if conditions.if_match.is_none() => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let detail = format!("{key} is at revision {}", object.revision);
            return Err(Problem::new(problem::PRECONDITION_FAILED, detail)
                .with("current", current)
                .into());
        }
    };
    response.headers_mut().extend([tag(object.revision)]);
    Ok(response)
}

pub fn absent(key: &ObjectKey) -> Problem {
    Problem::new(problem::NOT_FOUND, format!("{key} does not exist"))
}
