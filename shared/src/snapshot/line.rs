//! The lines of a snapshot, and the source they come from.

use std::io::{self, Read};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::change::{Body, Epoch, Kind, ObjectKey, Revision};
use crate::digest::Digest;
use crate::state::Object;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    Header(Header),
    Object(ObjectLine),
    Trailer(Trailer),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub format: u32,
    pub epoch: Epoch,
    pub revision: Revision,
    pub configured: Revision,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectLine {
    kind: Kind,
    key: Arc<str>,
    revision: Revision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration: Option<Revision>,
    body: Body,
}

impl ObjectLine {
    pub fn of(key: &ObjectKey, object: &Object) -> ObjectLine {
        ObjectLine {
            kind: key.kind.clone(),
            key: key.key.clone(),
            revision: object.revision,
            registration: object.registration,
            body: object.body.clone(),
        }
    }

    pub fn into_object(self) -> (ObjectKey, Object) {
        let ObjectLine {
            kind,
            key,
            revision,
            registration,
            body,
        } = self;
        (
            ObjectKey { kind, key },
            Object {
                revision,
                registration,
                body,
            },
        )
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trailer {
    pub count: u64,
    pub digest: Digest,
}

/// Keeps the error of what is read, which a decoder on top would blur with its own.
pub(super) struct Source<R> {
    inner: R,
    failed: Option<io::Error>,
}

impl<R> Source<R> {
    pub fn new(inner: R) -> Source<R> {
        Source { inner, failed: None }
    }

    pub fn failed(self) -> Option<io::Error> {
        self.failed
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}
