//! A registration with a `ttl` that is repeated as it stands.

use axum::response::Response;
use http::StatusCode;
use serde_json::Map;
use shared::change::ObjectKey;
use shared::model::Upstream;
use shared::stream::wait::Report;

use crate::api::Api;
use crate::api::answer::{Failure, json, tag};
use crate::api::call::Call;
use crate::api::write::{Waited, Written, veil};
use crate::registry::plan::{Goal, also_in};
use crate::registry::{Conditions, Document, upstream};

/// Renews what is repeated. The answer, if there is no more to it: whoever sets a condition or asks to wait writes, too.
pub async fn answer(
    api: &Api,
    call: &Call,
    repeated: &Upstream,
    document: &Document,
) -> Result<Option<Response>, Failure> {
    let query = call.query(&["wait", "timeout"])?;
    let (goal, _) = (query.goal()?, query.timeout()?);
    let conditions = call.conditions()?;
    if repeated.ttl.is_none() {
        return Ok(None);
    }
    let head = api.changelog.head();
    let Some(registration) = upstream::repeated(&head, repeated, document, &conditions) else {
        return Ok(None);
    };
    let renewed = api.heartbeats.renew(&registration).await;
    if !renewed || conditions != Conditions::default() {
        return Ok(None);
    }
    let (status, reached) = match goal {
        None => (StatusCode::OK, true),
        Some(Goal::None) => (StatusCode::ACCEPTED, false),
        Some(_) => return Ok(None),
    };
    let key = ObjectKey::upstream(&registration.service, &registration.id);
    // Nobody was asked.
    let mut nobody = Report::default();
    let mut others = also_in(&head, &[repeated.address.clone()].into(), Some(&key));
    if let Some(scope) = call.scope() {
        veil(scope, &mut nobody, &mut others);
    }
    let written = Written {
        revision: registration.revision,
        committed: true,
        wait: Waited {
            r#for: Goal::None.as_str(),
            reached,
            took_ms: 0,
        },
        fleet: nobody.fleet(),
        also_in: &others,
        beside: &Map::new(),
    };
    let mut response = json(status, &written);
    response.headers_mut().extend([tag(registration.revision)]);
    Ok(Some(response))
}
