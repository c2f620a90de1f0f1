//! `multipart/form-data` (RFC 7578) whose last part is a message.

use bytes::Bytes;
use http::header::HeaderValue;
use uuid::Uuid;

use super::{Letter, Shaped, Unspeakable, of_type};

pub struct Form {
    boundary: String,
    text: String,
}

impl Form {
    pub fn new() -> Form {
        Form {
            // Nobody who writes a message can know it.
            boundary: format!("vulcan-{}", Uuid::new_v4().simple()),
            text: String::new(),
        }
    }

    /// `value` has no line break.
    pub fn field(&mut self, name: &'static str, value: &str) {
        self.begin(&format!("name=\"{name}\"\r\n"));
        self.text += value;
        self.text += "\r\n";
    }

    /// `more`: of the part's disposition, and whole fields after it.
    pub fn message(
        mut self,
        name: &'static str,
        more: &'static str,
        letter: &Letter<'_>,
    ) -> Result<Shaped, Unspeakable> {
        self.begin(&format!("name=\"{name}\"{more}\r\n"));
        self.text += letter.trace;
        let content_type = format!("multipart/form-data; boundary={}", self.boundary);
        Ok(Shaped {
            headers: of_type(HeaderValue::try_from(content_type).map_err(|_| Unspeakable)?),
            before: self.text.into(),
            after: Bytes::from(format!("\r\n--{}--\r\n", self.boundary)),
        })
    }

    fn begin(&mut self, disposition: &str) {
        self.text += "--";
        self.text += &self.boundary;
        self.text += "\r\nContent-Disposition: form-data; ";
        self.text += disposition;
        self.text += "\r\n";
    }
}
