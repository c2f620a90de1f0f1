use super::InForce;
use crate::model::pattern::Form;
use crate::model::{Limit, Pattern};

/// What limits need to know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// That it was routed to.
    pub service: &'a str,
    /// Empty where nobody authorized it.
    pub auth_token: &'a str,
    /// `HTTP` or `SMTP`.
    pub protocol: &'a str,
    pub method: &'a str,
    /// As `model::path::normalise` makes it, without the query; of mail: the recipient's domain, in lower case.
    pub path: &'a str,
    /// Bytes. None where the client does not say beforehand: such a request counts as long as any, since otherwise a
    /// client would get around a limit by not saying it. Who learns the length later asks again.
    pub length: Option<u64>,
}

/// What an index has shown already to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Token,
    Path,
}

/// What a limit asks about at all, so that one that is not looked at further costs no look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checks {
    token: bool,
    path: bool,
    /// Protocol, method or length.
    rest: bool,
}

impl Checks {
    pub fn of(limit: &Limit) -> Checks {
        let asks = |pattern: &Pattern| !matches!(pattern.form(), Form::Any);
        Checks {
            token: asks(&limit.auth_token),
            path: asks(&limit.path),
            rest: asks(&limit.protocol) || asks(&limit.method) || limit.data_size > 0,
        }
    }
}

impl InForce {
    pub(super) fn takes_token(&self, auth_token: &str, shown: Shown) -> bool {
        !self.checks.token || shown == Shown::Token || self.limit.auth_token.matches(auth_token)
    }

    pub(super) fn asks_token_only(&self) -> bool {
        !self.checks.path && !self.checks.rest
    }

    /// Whether it takes the request, wherever that is routed to.
    pub(super) fn takes(&self, asked: &Asked<'_>, shown: Shown) -> bool {
        let InForce { limit, checks, .. } = self;
        let rest = || {
            asked.length.is_none_or(|length| length >= limit.data_size)
                && limit.protocol.matches(asked.protocol)
                && limit.method.matches(asked.method)
        };
        (!checks.rest || rest())
            && self.takes_token(asked.auth_token, shown)
            && (!checks.path || shown == Shown::Path || limit.path.matches(asked.path))
    }
}
