use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;
use shared::change::ObjectKey;
use shared::model::Invalid;

use super::Api;
use super::answer::Answer;
use super::call::Call;
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
    let document = Document::of(call.json_or_empty()?, &[("service", name.as_str())])?;
    let decide = hold::begin(&name, document, call.conditions()?)?;
    write(&api, &call, Subject::Hold(name), decide).await
}

pub async fn end(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.service("service")?;
    says_nothing(&call.json_or_empty()?)?;
    let decide = hold::end(&name, call.conditions()?);
    write(&api, &call, Subject::Settled, decide).await
}

fn says_nothing(body: &Value) -> Result<(), Invalid> {
    let Value::Object(members) = body else {
        return Err(Invalid::field("", "an object is expected"));
    };
    match members.keys().next() {
        Some(unknown) => Err(Invalid::field(unknown, "the field is unknown")),
        None => Ok(()),
    }
}
