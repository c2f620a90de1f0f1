use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;
use shared::change::{ObjectKey, Revision};
use shared::model::{Hold, Invalid, ServiceName};
use shared::state::Object;
use uuid::Uuid;

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::revisions::timestamp;
use super::write::{show as show_object, write};
use crate::registry::plan::Subject;
use crate::registry::{Document, hold};

pub async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.query(&[])?;
    let name = call.service("service")?;
    show_object(&api, &call, ObjectKey::hold(name.as_str())).await
}

/// An empty body is an object without members: for as long as a hold lasts by default.
pub async fn begin(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.service("service")?;
    let body = without_end(&api, &name, call.json_or_empty()?).await?;
    let document = Document::of(body, &[("service", name.as_str())])?;
    let decide = hold::begin(&name, document, call.conditions()?, Uuid::new_v4())?;
    write(&api, &call, Subject::Hold(name), decide).await
}

/// Of what GET shows, what is no part of a hold that is asked for: it may be sent back as it was shown.
async fn without_end(api: &Api, service: &ServiceName, mut body: Value) -> Result<Value, Invalid> {
    if let Some(said) = body.as_object_mut().and_then(|members| members.remove(ENDS_AT)) {
        let head = api.changelog.head();
        let ends_at = match head.state.get(&ObjectKey::hold(service.as_str())) {
            Some(held) => ends_at(api, held).await,
            None => None,
        };
        if Value::from(ends_at) != said {
            return Err(Invalid::field(
                ENDS_AT,
                "this is not when it ends; max says how long a hold lasts",
            ));
        }
    }
    Ok(body)
}

/// The name of the member that shows it.
pub const ENDS_AT: &str = "ends_at";

/// When the time of a hold is over, by the clock of the control plane that wrote it. None: that cannot be told any more.
pub async fn ends_at(api: &Api, held: &Object) -> Option<String> {
    let max = Hold::parse(held.body.as_str()).ok()?.max;
    let before = Revision(held.revision.0.checked_sub(1)?);
    let commits = api.changelog.read(before, 1).await.ok()?;
    let max_ms = u64::try_from(max.as_millis()).ok()?;
    Some(timestamp(commits.first()?.at_ms.checked_add(max_ms)?))
}

pub async fn end(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.service("service")?;
    says_nothing(&call.json_or_empty()?)?;
    let decide = hold::end(&name, call.conditions()?);
    write(&api, &call, Subject::Settled, decide).await
}

pub(super) fn says_nothing(body: &Value) -> Result<(), Invalid> {
    let Value::Object(members) = body else {
        return Err(Invalid::field("", "an object is expected"));
    };
    match members.keys().next() {
        Some(unknown) => Err(Invalid::field(unknown, "unknown field")),
        None => Ok(()),
    }
}
