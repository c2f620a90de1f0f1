//! One match of one service as the table holds it, and the order in which rules win.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::sync::Arc;

use super::entry::Slot;
use super::query::Query;
use crate::model::{Match, PathPattern, Service, ServiceName};

#[derive(Debug)]
pub(super) struct Rule {
    rank: Rank,
    slot: Slot,
    index: usize,
    service: Arc<Service>,
}

/// Which of two rules for the same host wins: the lesser one. What then remains is decided by the service's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: Reverse<i16>,
    /// Bytes of the prefix; a regex stands before every prefix.
    path: Reverse<usize>,
    headers: Reverse<usize>,
    any_method: bool,
}

/// What one match that fits has over another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    Host,
    Priority,
    Path,
    Headers,
    Method,
    Name,
    /// In one service: it stands first.
    Order,
    Recipient,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = match self {
            Edge::Host => "names the host more closely",
            Edge::Priority => "has a higher priority",
            Edge::Path => "says more of the path: a regex before a prefix, and the longer prefix",
            Edge::Headers => "asks for more headers",
            Edge::Method => "names the method",
            Edge::Name => "is the same but for the name of its service, which comes first",
            Edge::Order => "is the same and stands first in the service",
            Edge::Recipient => "names the recipient more closely",
        };
        write!(f, "it fits, and the winner {has}")
    }
}

impl Rule {
    /// What `winner`, which goes before this one, has over it at the same host.
    pub fn edge(&self, winner: &Rule) -> Edge {
        let (own, its) = (&self.rank, &winner.rank);
        if own.priority != its.priority {
            Edge::Priority
        } else if own.path != its.path {
            Edge::Path
        } else if own.headers != its.headers {
            Edge::Headers
        } else if own.any_method != its.any_method {
            Edge::Method
        } else if self.service() != winner.service() {
            Edge::Name
        } else {
            Edge::Order
        }
    }

    /// The rules for HTTP of a service that stands, or will stand, in `slot`.
    pub fn all(service: &Arc<Service>, slot: Slot) -> impl Iterator<Item = Arc<Rule>> {
        let matches = service.matches.iter().enumerate();
        let of_http = matches.filter(|(_, matching)| !matching.is_for_mail());
        of_http.map(move |(index, matching)| {
            let rank = Rank {
                priority: Reverse(matching.priority),
                path: Reverse(match &matching.path {
                    PathPattern::Any => 0,
                    PathPattern::Prefix(prefix) => prefix.compared().len(),
                    PathPattern::Regex(_) => usize::MAX,
                }),
                headers: Reverse(matching.headers.len()),
                any_method: matching.methods.is_empty(),
            };
            Arc::new(Rule {
                rank,
                slot,
                index,
                service: service.clone(),
            })
        })
    }

    pub fn matching(&self) -> &Match {
        &self.service.matches[self.index]
    }

    pub fn service(&self) -> &ServiceName {
        &self.service.name
    }

    pub fn slot(&self) -> Slot {
        self.slot
    }

    pub fn index(&self) -> usize {
        self.index
    }

    pub fn accepts_method(&self, query: &Query<'_>) -> bool {
        // Most rules name no method, and are answered without another line of memory.
        self.rank.any_method
            || self
                .matching()
                .methods
                .iter()
                .any(|method| method.as_str() == query.method)
    }

    pub fn accepts_headers(&self, query: &Query<'_>) -> bool {
        let mut conditions = self.matching().headers.iter();
        conditions.all(|condition| query.headers.header(&condition.name) == Some(&*condition.value))
    }
}

impl Ord for Rule {
    fn cmp(&self, other: &Rule) -> Ordering {
        let key = |rule: &Rule| (rule.rank, rule.index);
        let (rank, index) = key(self);
        let (other_rank, other_index) = key(other);
        rank.cmp(&other_rank)
            .then_with(|| self.service().cmp(other.service()))
            .then(index.cmp(&other_index))
    }
}

impl PartialOrd for Rule {
    fn partial_cmp(&self, other: &Rule) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rule {}

/// The best rule found so far.
#[derive(Default)]
pub(super) struct Best<'t>(Option<&'t Rule>);

impl<'t> Best<'t> {
    pub fn offer(&mut self, rule: &'t Rule) {
        if self.would_take(rule) {
            self.0 = Some(rule);
        }
    }

    pub fn would_take(&self, rule: &Rule) -> bool {
        self.0.is_none_or(|best| rule < best)
    }

    pub fn rule(self) -> Option<&'t Rule> {
        self.0
    }
}
