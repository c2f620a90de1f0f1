//! History: what was changed, when, by whom, and what it replaced.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use net::problem::{self, Problem};
use serde::Serialize;
use shared::change::{Commit, Op, OpId, Revision};
use shared::stream::wait::report::FleetMember;
use shared::stream::wait::{Condition, WaitSpec};

use super::Api;
use super::answer::{Answer, json};
use super::call::Call;
use super::page::Page;
use super::query::invalid;
use crate::store::ReadError;

/// A commit as it is shown.
#[derive(Serialize)]
pub struct Shown<'a> {
    revision: Revision,
    at: String,
    actor: &'a str,
    op_id: OpId,
    ops: &'a [Op],
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<FleetMember<'a>>,
}

impl Shown<'_> {
    pub fn of(commit: &Commit) -> Shown<'_> {
        Shown {
            revision: commit.revision,
            at: timestamp(commit.at_ms),
            actor: &commit.actor,
            op_id: commit.op_id,
            ops: &commit.ops,
            fleet: None,
        }
    }
}

/// `?since=` is exclusive and the cursor of this list, too. Without it: from as far back as history reaches.
pub async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["since", "limit", "op_id"])?;
    let limit = query.limit()?;
    let since = query.number("since")?.map(Revision);
    let commits = match query.value("op_id") {
        Some(text) => {
            let op_id = text
                .parse()
                .map(OpId)
                .map_err(|_| invalid("op_id", "a UUID is expected"))?;
            let found = api.changelog.find(op_id).await?;
            found
                .into_iter()
                .filter(|commit| since.is_none_or(|since| commit.revision > since))
                .collect()
        }
        // One more than is shown tells whether there is more.
        None => match api.changelog.read(since.unwrap_or(Revision::ZERO), limit + 1).await {
            Err(ReadError::Trimmed { trimmed }) if since.is_none() => api.changelog.read(trimmed, limit + 1).await?,
            commits => commits?,
        },
    };
    let page = Page::of(commits.iter(), limit, |commit| commit.revision.to_string());
    Ok(page.map(|commit| Shown::of(commit)).answer())
}

/// One revision, and how far the fleet has come with it.
pub async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.query(&[])?;
    let revision = named(&call)?;
    if revision > api.changelog.head().state.revision {
        let head = api.changelog.true_head(call.actor.clone()).await?.state.revision;
        if revision > head {
            return Err(Problem::new(problem::NOT_FOUND, format!("the head is revision {head}")).into());
        }
    }
    let commits = api.changelog.read(Revision(revision.0 - 1), 1).await?;
    let Some(commit) = commits.first() else {
        return Err(Problem::new(problem::NOT_FOUND, format!("there is no revision {revision}")).into());
    };
    let spec = WaitSpec {
        revision,
        condition: Condition::Applied,
        objects: commit.ops.iter().map(Op::object).collect(),
    };
    let report = api.fleet.wait(spec, Duration::ZERO).await;
    Ok(json(
        StatusCode::OK,
        &Shown {
            fleet: Some(report.fleet()),
            ..Shown::of(commit)
        },
    ))
}

/// The one in the path.
pub(super) fn named(call: &Call) -> Result<Revision, Problem> {
    let text = call.param("revision");
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|number| digits && *number > 0);
    number
        .map(Revision)
        .ok_or_else(|| invalid("revision", "a revision is a number from 1"))
}

/// RFC 3339, in UTC, to the millisecond.
pub(super) fn timestamp(at_ms: u64) -> String {
    let (days, ms) = (at_ms / 86_400_000, at_ms % 86_400_000);
    // Civil date from days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms"); the year
    // begins in March, so that the leap day is its last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z",
        ms % 1_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_calendar_dates() {
        // From `date -u -d @…`.
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(timestamp(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(timestamp(1_767_225_599_001), "2025-12-31T23:59:59.001Z");
        assert_eq!(timestamp(1_795_609_445_678), "2026-11-25T12:24:05.678Z");
        assert_eq!(timestamp(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
