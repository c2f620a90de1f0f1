//! Where limits of the same service are found.

use std::sync::Arc;

use super::asked::Shown;
use super::bucket::Bucket;
use super::by_pattern::ByPattern;
use super::{Asked, InForce, Matching};
use crate::model::pattern::Form;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_token: ByPattern,
    /// Of any token.
    by_path: ByPattern,
    /// Of any token and any path.
    rest: Bucket,
}

impl Index {
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty() && self.by_path.is_empty() && self.rest.is_empty()
    }

    pub fn put(&mut self, limit: Arc<InForce>) {
        let (token, path) = (&limit.limit.auth_token, &limit.limit.path);
        match (token.form(), path.form()) {
            (Form::Any, Form::Any) => self.rest.put(limit),
            (Form::Any, _) => self.by_path.put(path, &limit),
            _ => self.by_token.put(token, &limit),
        }
    }

    pub fn remove(&mut self, limit: &Arc<InForce>) {
        let (token, path) = (&limit.limit.auth_token, &limit.limit.path);
        match (token.form(), path.form()) {
            (Form::Any, Form::Any) => self.rest.remove(limit),
            (Form::Any, _) => self.by_path.remove(path, limit),
            _ => self.by_token.remove(token, limit),
        }
    }

    pub fn find<'t>(&'t self, asked: &Asked<'_>, found: &mut Matching<'t>) {
        let mut add = |bucket: &'t Bucket, shown: Shown| {
            found.extend(bucket.iter().filter(|in_force| in_force.takes(asked, shown)));
        };
        self.by_token.find(asked.auth_token, |bucket, is_shown| {
            add(bucket, if is_shown { Shown::Token } else { Shown::Nothing });
        });
        self.by_path.find(asked.path, |bucket, is_shown| {
            add(bucket, if is_shown { Shown::Path } else { Shown::Nothing });
        });
        add(&self.rest, Shown::Nothing);
    }

    /// Those that take a token whatever else is asked; None: that depends on more.
    pub fn find_by_token<'t>(&'t self, auth_token: &str, found: &mut Matching<'t>) -> Option<()> {
        let mut is_certain = self.by_path.is_empty();
        let mut add = |bucket: &'t Bucket, shown: Shown| {
            for in_force in bucket.iter().filter(|in_force| in_force.takes_token(auth_token, shown)) {
                is_certain &= in_force.asks_token_only();
                found.push(in_force);
            }
        };
        self.by_token.find(auth_token, |bucket, is_shown| {
            add(bucket, if is_shown { Shown::Token } else { Shown::Nothing });
        });
        add(&self.rest, Shown::Nothing);
        is_certain.then_some(())
    }

    pub fn warm(&self) {
        self.by_token.warm();
        self.by_path.warm();
    }
}
