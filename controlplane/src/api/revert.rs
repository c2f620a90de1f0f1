//! `POST /v1/revisions/{n}/revert`: what was changed after n stands as it stood at n, in a revision of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use net::problem::{self, Problem};
use shared::change::{Body, ObjectKey, Revision};

use super::Api;
use super::answer::{Answer, Failure};
use super::call::Call;
use super::holds::says_nothing;
use super::{many, revisions};
use crate::changelog::Head;
use crate::registry::apply::{Rest, Wanted};

/// Commits that are read at once; each may have a MiB.
const PAGE: usize = 64;

pub async fn revert(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let place = many::place(&api).await?;
    call.unconditional()?;
    let query = call.query(&["dry_run", "wait", "timeout"])?;
    let (goal, timeout) = (query.goal()?, query.timeout()?);
    let dry_run = query.flag("dry_run")?;
    says_nothing(&call.json_or_empty()?)?;
    let revision = revisions::named(&call)?;
    let head = api.changelog.true_head(call.actor.clone()).await?;
    if revision > head.state.revision {
        let detail = format!("the head is revision {}", head.state.revision);
        return Err(Problem::new(problem::NOT_FOUND, detail).into());
    }
    let stood = stood(&api, revision, &head).await?;
    // What others change meanwhile is changed after n as well, and stands at this head as it did at n.
    let wanted = Arc::new(Wanted::of(stood, Rest::AsIn(head)));
    match dry_run {
        true => many::dry_run(&api, &call, wanted).await,
        false => many::write(&api, &call, wanted, goal, timeout, place).await,
    }
}

/// How what was changed after `at` stood there: as the first change after it says.
async fn stood(api: &Api, at: Revision, head: &Head) -> Result<BTreeMap<ObjectKey, Option<Body>>, Failure> {
    let mut stood = BTreeMap::new();
    let (mut since, end) = (at, head.state.revision);
    while since < end {
        let commits = api.changelog.read(since, PAGE).await?;
        let Some(last) = commits.last() else {
            let detail = format!("history ends at revision {since}, before the head");
            return Err(Problem::new(problem::STORE_UNAVAILABLE, detail).into());
        };
        since = last.revision;
        let until_head = commits.iter().filter(|commit| commit.revision <= end);
        for op in until_head.flat_map(|commit| &commit.ops) {
            let before = || op.before.as_ref().map(|before| before.body.clone());
            stood.entry(op.object()).or_insert_with(before);
        }
    }
    Ok(stood)
}
