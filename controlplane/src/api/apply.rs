//! `POST /v1/apply`: how many objects are to be, in one document.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};

use super::Api;
use super::answer::Answer;
use super::call::{Call, may_be_long, utf8};
use super::linger::forget;
use super::many;
use crate::registry::apply::{Rest, Wanted};

/// 100,000 services with ten upstreams each are a quarter of it, as they are exported.
const BODY_BYTES_MAX: usize = 128 << 20;

const BODY_WITHIN: Duration = Duration::from_secs(120);

pub async fn apply(State(api): State<Arc<Api>>, request: Request) -> Answer {
    // Long documents are what takes memory, until they are read. Who sends one slowly keeps only others of them waiting.
    let upload = match may_be_long(request.headers()) {
        false => None,
        true => match many::upload(&api).await {
            Ok(upload) => Some(upload),
            Err(problem) => {
                forget(request);
                return Err(problem.into());
            }
        },
    };
    let mut call = Call::of(request, BODY_BYTES_MAX, BODY_WITHIN).await?;
    call.unconditional()?;
    let query = call.query(&["dry_run", "prune", "wait", "timeout"])?;
    let (dry_run, prune) = (query.flag("dry_run")?, query.flag("prune")?);
    let (goal, timeout) = (query.goal()?, query.timeout()?);
    let place = many::place(&api).await?;
    let (body, room) = call.take_body();
    let rest = if prune { Rest::Goes } else { Rest::Stays };
    let wanted = many::blocking(move || {
        // All are given back once it is read.
        let (body, _room, _upload) = (body, room, upload);
        Ok(Wanted::read(utf8(&body)?, rest)?)
    });
    let wanted = wanted.await?;
    match dry_run {
        true => many::dry_run(&api, &call, wanted.into()).await,
        false => many::write(&api, &call, wanted.into(), goal, timeout, place).await,
    }
}
