//! A write of many objects: decided beside the writer, committed in as few revisions as it fits into, and waited for like
//! any other.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use net::problem::{self, Problem};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::change::{Body, Kind, Op, Revision, Verb};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Api;
use super::answer::{Answer, Failure, json};
use super::call::Call;
use super::write;
use crate::changelog::{Committed, Decide, Head, WriteError};
use crate::registry::apply::{Change, Wanted};
use crate::registry::plan::{Carried, Goal, Plan};

/// How often it is decided anew because others changed what it built on.
const ATTEMPTS: usize = 8;

/// For a place among those that are decided.
const PLACE_WITHIN: Duration = Duration::from_secs(10);

/// Of a dry run's answer; what is beyond is only counted.
const SHOWN_MAX: usize = 10_000;
const SHOWN_BYTES_MAX: usize = 32 << 20;

/// Among the few that may be decided at a time.
pub async fn place(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    among(&api.applying).await
}

/// Among the few whose long documents may come and be held at a time.
pub async fn upload(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    among(&api.uploading).await
}

async fn among(few: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    match timeout(PLACE_WITHIN, few.clone().acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => {
            let detail = "others are being applied; this one was not looked at";
            Err(Problem::new(problem::TOO_MANY_REQUESTS, detail).with("committed", false))
        }
    }
}

/// What takes long without waiting must not keep others from being served.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|Refused(problem)| Failure(problem)),
        // It panicked, or the process ends.
        Err(error) => {
            let problem = Problem::new(problem::STORE_UNAVAILABLE, format!("it could not be decided: {error}"));
            Err(problem.with("committed", false).into())
        }
    }
}

/// Both are errors of what runs there.
pub struct Refused(Box<Problem>);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused(Box::new(problem))
    }
}

impl From<Box<Problem>> for Refused {
    fn from(problem: Box<Problem>) -> Refused {
        Refused(problem)
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    verb: Verb,
    kind: &'a Kind,
    key: &'a str,
    before: Option<&'a Body>,
    after: Option<&'a Body>,
}

#[derive(Serialize)]
struct DryRun<'a> {
    /// Of the head that it was decided at.
    revision: Revision,
    changes: Vec<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<usize>,
    /// Whether it would be one revision.
    atomic: bool,
}

/// What would be done, at the true head.
pub async fn dry_run(api: &Api, call: &Call, wanted: Arc<Wanted>) -> Answer {
    let head = api.changelog.true_head(call.actor.clone()).await?;
    let Change { ops, revisions } = change(&wanted, &head).await?;
    let mut bytes = 0;
    let length = |body: Option<&Body>| body.map_or(0, |body| body.as_str().len());
    let shown = ops.iter().map(|op| Shown {
        verb: op.verb,
        kind: &op.kind,
        key: &op.key,
        before: op.before.as_ref().map(|before| &before.body),
        after: op.body.as_ref(),
    });
    let fitting = shown.take(SHOWN_MAX).take_while(|one| {
        bytes += length(one.before) + length(one.after);
        bytes <= SHOWN_BYTES_MAX
    });
    let changes: Vec<Shown<'_>> = fitting.collect();
    let more = ops.len() - changes.len();
    let answer = DryRun {
        revision: head.state.revision,
        changes,
        more: (more > 0).then_some(more),
        atomic: revisions.len() <= 1,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// `place` is given up once it is committed.
pub async fn write(
    api: &Api,
    call: &Call,
    wanted: Arc<Wanted>,
    goal: Option<Goal>,
    timeout: Option<Duration>,
    place: OwnedSemaphorePermit,
) -> Answer {
    let _waiting = write::place(api, goal)?;
    let carried = carry(api, call, &wanted).await?;
    let changelog = api.changelog.clone();
    let planned = blocking(move || {
        let committed = carried.committed();
        let plan = Plan::of_many(&wanted, &carried, &committed, &*changelog, goal, timeout);
        Ok((beside(&carried), committed, plan))
    });
    let (beside, committed, plan): (Map<String, Value>, Committed, Plan) = planned.await?;
    drop(place);
    Ok(write::settled(api, call.scope(), &committed, &plan, &beside).await)
}

fn beside(carried: &Carried) -> Map<String, Value> {
    let ops = || carried.revisions.iter().flat_map(|(_, ops)| ops);
    let count = |verb: Verb| ops().filter(|op| op.verb == verb).count();
    let mut members = Map::from_iter([
        ("put".to_owned(), count(Verb::Put).into()),
        ("deleted".to_owned(), count(Verb::Delete).into()),
    ]);
    if carried.revisions.len() > 1 {
        members.insert("revisions".to_owned(), span(&carried.revisions));
    }
    members
}

/// The first and the last of them.
fn span(revisions: &[(Revision, Vec<Op>)]) -> Value {
    let ends = [revisions.first(), revisions.last()];
    ends.into_iter()
        .flatten()
        .map(|(revision, _)| Value::from(revision.0))
        .collect()
}

async fn change(wanted: &Arc<Wanted>, head: &Arc<Head>) -> Result<Change, Failure> {
    let (wanted, head) = (wanted.clone(), head.clone());
    blocking(move || Ok(wanted.change(&head)?)).await
}

async fn carry(api: &Api, call: &Call, wanted: &Arc<Wanted>) -> Result<Carried, Failure> {
    let mut carrying = Carrying {
        api,
        actor: call.actor.clone(),
        revisions: Vec::new(),
    };
    for _ in 0..ATTEMPTS {
        match carrying.attempt(wanted).await {
            Ok(Some(last)) => {
                return Ok(Carried {
                    revisions: carrying.revisions,
                    revision: last.revision,
                    op_id: last.op_id,
                    head: last.head,
                });
            }
            Ok(None) => {}
            Err(failure) => return Err(carrying.partly(failure)),
        }
    }
    let detail = "others change what this builds on faster than it can be written";
    let problem = Problem::new(problem::CONFLICT, detail).with("committed", false);
    Err(carrying.partly(problem.into()))
}

struct Carrying<'a> {
    api: &'a Api,
    actor: Arc<str>,
    /// Committed so far.
    revisions: Vec<(Revision, Vec<Op>)>,
}

impl Carrying<'_> {
    /// None: others came in between, and it has to be decided anew.
    async fn attempt(&mut self, wanted: &Arc<Wanted>) -> Result<Option<Committed>, Failure> {
        let head = self.api.changelog.true_head(self.actor.clone()).await?;
        let change = change(wanted, &head).await?;
        let mut last = Committed {
            revision: head.state.revision,
            appended: false,
            head: head.clone(),
            op_id: None,
            ops: Vec::new(),
        };
        let decides: Vec<Decide> = match &change.revisions[..] {
            [keys] => vec![wanted.whole(head, keys.clone())],
            parts => parts.iter().map(|keys| wanted.part(keys.clone())).collect(),
        };
        let alone = decides.len() == 1;
        for decide in decides {
            match self.api.changelog.submit(self.actor.clone(), decide).await {
                Ok(committed) => {
                    last = committed;
                    if last.appended {
                        self.revisions.push((last.revision, std::mem::take(&mut last.ops)));
                    }
                }
                // Of one revision it is the last word, unless it has grown beyond one.
                Err(WriteError::Refused(problem)) if !alone || problem.kind == problem::TOO_LARGE.kind => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(last))
    }

    /// A failure says what stands nevertheless.
    fn partly(&self, failure: Failure) -> Failure {
        let (Some((from, _)), Some((to, _))) = (self.revisions.first(), self.revisions.last()) else {
            return failure;
        };
        let Failure(mut problem) = failure;
        problem
            .detail
            .push_str(&format!("; revisions {from} to {to} are committed"));
        // What is not known of the last one stays unknown.
        if problem.extra.get("committed").is_none_or(|said| *said != "unknown") {
            *problem = problem.with("committed", "partly");
        }
        problem.with("revisions", span(&self.revisions)).into()
    }
}
