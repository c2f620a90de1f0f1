//! How mail reaches a service's upstreams.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::check::read_path;
use super::choice::{name_of, one_of};
use super::fields::{Fields, Path, string};
use super::invalid::Errors;

/// Of a service that says nothing of it: the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub shape: Shape,
    /// Origin form, posted to for each message.
    pub path: Arc<str>,
    /// Origin form, asked for each recipient; none: every recipient that is routed is taken.
    pub validate_recipient: Option<Arc<str>>,
    /// A file on the proxy: what it holds signs messages.
    pub signing_key: Option<PathBuf>,
}

/// What a message's request looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A form: `to` for each recipient, `sender`, and the message as a file.
    #[default]
    Submit,
    /// As Mailgun's routes post it, signed.
    Mailgun,
    /// The message alone, as `message/rfc822`.
    Raw,
}

const SHAPES: &[(&str, Shape)] = &[
    ("submit", Shape::Submit),
    ("mailgun", Shape::Mailgun),
    ("raw", Shape::Raw),
];
const PATH: &str = "/messages";
const FILE_BYTES_MAX: usize = 4096;

impl Default for Mail {
    fn default() -> Mail {
        Mail {
            shape: Shape::default(),
            path: PATH.into(),
            validate_recipient: None,
            signing_key: None,
        }
    }
}

impl Mail {
    /// `null` is none.
    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Option<Mail>> {
        if value.is_null() {
            return Some(None);
        }
        let mut fields = Fields::of(value, path, errors)?;
        let shape = fields.read("shape", errors, Shape::default(), |value, path, errors| {
            one_of(SHAPES, value, path, errors)
        });
        let asked = fields.read("path", errors, PATH.into(), read_path);
        let validate_recipient = fields.read("validate_recipient", errors, None, |value, path, errors| {
            optional(value, path, errors, read_path)
        });
        let signing_key = fields.read("signing_key", errors, None, |value, path, errors| {
            optional(value, path, errors, read_file)
        });
        fields.finish(errors);
        if (shape, &signing_key) == (Some(Shape::Mailgun), &Some(None)) {
            errors.invalid(
                &path.field("signing_key"),
                "the field is required: this shape is signed",
            );
        }
        Some(Some(Mail {
            shape: shape?,
            path: asked?,
            validate_recipient: validate_recipient?,
            signing_key: signing_key?,
        }))
    }

    /// The fields that differ from their defaults, or all of them.
    pub(super) fn to_json(&self, all: bool) -> Value {
        let key = self
            .signing_key
            .as_ref()
            .map(|file| json!({"file": file.to_string_lossy()}));
        let members = [
            ("shape", name_of(SHAPES, self.shape), self.shape == Shape::default()),
            ("path", (*self.path).into(), *self.path == *PATH),
            (
                "validate_recipient",
                self.validate_recipient.as_deref().into(),
                self.validate_recipient.is_none(),
            ),
            ("signing_key", key.clone().into(), key.is_none()),
        ];
        let shown = members.into_iter().filter(|(_, _, is_default)| all || !is_default);
        Value::Object(
            shown
                .map(|(name, value, _)| (name.to_owned(), value))
                .collect::<Map<_, _>>(),
        )
    }
}

fn optional<T>(
    value: &Value,
    path: &Path<'_>,
    errors: &mut Errors,
    read: impl FnOnce(&Value, &Path<'_>, &mut Errors) -> Option<T>,
) -> Option<Option<T>> {
    match value.is_null() {
        true => Some(None),
        false => read(value, path, errors).map(Some),
    }
}

/// `{"file": "…"}`: configuration refers to secrets, and holds none.
fn read_file(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<PathBuf> {
    let mut fields = Fields::of(value, path, errors)?;
    let file = match fields.take("file") {
        Some(value) => string(value, &path.field("file"), errors),
        None => {
            errors.invalid(&path.field("file"), "the field is required");
            None
        }
    };
    fields.finish(errors);
    let file = file?;
    if file.is_empty() || file.len() > FILE_BYTES_MAX || file.chars().any(char::is_control) {
        errors.invalid(&path.field("file"), "a path of at most 4096 bytes is expected");
        return None;
    }
    Some(file.into())
}
