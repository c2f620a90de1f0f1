//! What one method of one path takes and answers. What follows from who may call it is added where the document is made.

use net::problem::{self, Type};

#[derive(Clone, Debug)]
pub struct Operation {
    /// In upper case.
    pub method: &'static str,
    /// As the router has it.
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    /// As `query.limit`; those of the path are added.
    pub parameters: Vec<&'static str>,
    pub body: Option<Body>,
    pub answers: Vec<Answer>,
    pub problems: Vec<Type>,
}

#[derive(Clone, Debug)]
pub struct Body {
    pub media: &'static [&'static str],
    pub schema: &'static str,
    pub required: bool,
}

/// An answer that is no problem.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub description: &'static str,
    /// Each form that it may have, as (media type, schema); a schema without a name is that of bytes.
    pub content: Vec<(&'static str, &'static str)>,
    pub has_tag: bool,
}

pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";
const MERGE_PATCH: &str = "application/merge-patch+json";

pub fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("GET", path, id, summary)
}

pub fn put(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("PUT", path, id, summary)
}

pub fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("POST", path, id, summary)
}

pub fn patch(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("PATCH", path, id, summary)
}

pub fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("DELETE", path, id, summary)
}

impl Operation {
    fn new(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
        Operation {
            method,
            path,
            id,
            summary,
            description: "",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub fn says(mut self, description: &'static str) -> Operation {
        self.description = description;
        self
    }

    pub fn takes(self, parameters: &[&'static str]) -> Operation {
        self.takes_quietly(parameters).refuses(&[problem::INVALID])
    }

    /// What is wrong in them makes the request malformed.
    pub fn takes_quietly(mut self, parameters: &[&'static str]) -> Operation {
        self.parameters.extend(parameters);
        self
    }

    pub fn refuses(mut self, problems: &[Type]) -> Operation {
        self.problems.extend(problems);
        self
    }

    pub fn answers(
        self,
        status: u16,
        description: &'static str,
        content: &[(&'static str, &'static str)],
    ) -> Operation {
        self.answer(status, description, content, false)
    }

    fn answer(
        mut self,
        status: u16,
        description: &'static str,
        content: &[(&'static str, &'static str)],
        has_tag: bool,
    ) -> Operation {
        self.answers.push(Answer {
            status,
            description,
            content: content.to_vec(),
            has_tag,
        });
        self
    }

    /// With an entity tag.
    pub fn tagged(mut self) -> Operation {
        for answer in self.answers.iter_mut().filter(|answer| answer.status < 300) {
            answer.has_tag = true;
        }
        self
    }

    /// A list of what has this schema.
    pub fn pages(self, page: &'static str) -> Operation {
        self.takes(&["query.limit", "query.cursor"])
            .answers(200, "A page.", &[(JSON, page)])
    }

    /// One object.
    pub fn shows(self, shown: &'static str) -> Operation {
        self.answers(200, "The object, defaults filled in.", &[(JSON, shown)])
            .conditional()
            .answer(304, "It is the one that is known already.", &[], true)
            .refuses(&[problem::NOT_FOUND, problem::INVALID, problem::STORE_UNAVAILABLE])
    }

    pub fn conditional(self) -> Operation {
        self.takes(&["header.If-Match", "header.If-None-Match"])
            .refuses(&[problem::PRECONDITION_FAILED])
            .tagged()
    }

    pub fn body(mut self, schema: &'static str) -> Operation {
        self.body = Some(Body {
            media: &[JSON],
            schema,
            required: true,
        });
        self.refuses(&[problem::INVALID, problem::TOO_LARGE, problem::UNSUPPORTED_MEDIA_TYPE])
    }

    /// None is as good as `{}`.
    pub fn optional_body(self, schema: &'static str) -> Operation {
        let mut operation = self.body(schema);
        if let Some(body) = &mut operation.body {
            body.required = false;
        }
        operation
    }

    pub fn patch_body(self, schema: &'static str) -> Operation {
        let mut operation = self.body(schema);
        if let Some(body) = &mut operation.body {
            body.media = &[MERGE_PATCH, JSON];
        }
        operation.refuses(&[problem::NOT_FOUND])
    }

    /// Lines in both directions, for as long as both want.
    pub fn streams(mut self) -> Operation {
        self.body = Some(Body {
            media: &[NDJSON],
            schema: "Lines",
            required: true,
        });
        self.answers(200, "Lines, for as long as both sides want.", &[(NDJSON, "Lines")])
            .refuses(&[problem::MALFORMED, problem::STORE_UNAVAILABLE])
    }

    /// A change of the configuration, which is waited for.
    pub fn writes(self) -> Operation {
        self.waits(&[(JSON, "Written")], "Written")
    }

    /// One of many objects, or what it would do.
    pub fn writes_many(self) -> Operation {
        self.waits(&[(JSON, "WrittenManyOrDryRun")], "WrittenMany")
            .takes(&["query.dry_run"])
    }

    fn waits(self, reached: &[(&'static str, &'static str)], at_once: &'static str) -> Operation {
        self.takes(&["query.wait", "query.timeout"])
            .answers(200, "It is committed, and what was waited for is true.", reached)
            .answers(202, "With wait=none: it is committed.", &[(JSON, at_once)])
            .refuses(&[
                problem::CONFLICT,
                problem::TOO_LARGE,
                problem::STORE_UNAVAILABLE,
                problem::OUTCOME_UNKNOWN,
                problem::WAIT_NOT_REACHED,
                problem::REFUSED_BY_PROXY,
            ])
    }
}
