//! Why a request goes where it goes: what `route` does, told match by match. What wins is asked of the very code that
//! routes; why the others do not is said in the order in which a match is looked at.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::sync::Arc;

use super::hosts::hosts_of;
use super::query::Query;
use super::rule::{Edge, Rule};
use super::{Entry, Table};
use crate::model::host::HOST_BYTES_MAX;
use crate::model::recipient::Canonical;
use crate::model::{HostPattern, Match, PathPattern, RecipientPattern, ServiceName, host, path};

/// Of all candidates the first so many are told; of a large table nobody reads more.
const TOLD_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Best first: what wins, what fits and is less than that, then what does not fit, by how little.
    pub candidates: Vec<Candidate>,
    /// How many the list leaves out.
    pub more: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub service: ServiceName,
    /// Which of its matches.
    pub index: usize,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Wins,
    /// It fits, and the winner goes before it.
    Outranked(Edge),
    /// The request has another value, or none.
    Header(Arc<str>),
    Method,
    Path,
    Host,
    Recipient,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Wins => f.write_str("it fits, and goes before all others that do"),
            Why::Outranked(edge) => edge.fmt(f),
            Why::Header(name) => write!(f, "the header {name} is absent, or another"),
            Why::Method => f.write_str("it names other methods"),
            Why::Path => f.write_str("it is about other paths"),
            Why::Host => f.write_str("it is about other hosts"),
            Why::Recipient => f.write_str("it is about other recipients"),
        }
    }
}

/// How near a pattern comes to a name: the lesser, the nearer.
type Nearness = (u8, Reverse<usize>);

impl Table {
    /// What `route` makes of a request.
    pub fn explain(&self, query: &Query<'_>) -> Explained {
        let Ok(path) = path::normalise(query.path) else {
            return Explained::of(Vec::new());
        };
        let host = host::canonical(query.host);
        let winner = self.hosts.find(&host, &path, query);
        let mut told = Telling::default();
        for entry in self.entries() {
            let slot = self.services.slot(entry.service.name.as_str());
            for rule in Rule::all(&entry.service, slot) {
                let near = nearest_host(&rule, &host);
                let why =
                    match (misfit(&rule, near, &path, query), winner) {
                        (Some(why), _) => why,
                        (None, Some(winner)) if *winner == *rule => Why::Wins,
                        (None, winner) => Why::Outranked(winner.map_or(Edge::Order, |winner| {
                            match nearest_host(winner, &host).cmp(&near) {
                                Ordering::Equal => rule.edge(winner),
                                _ => Edge::Host,
                            }
                        })),
                    };
                told.add(near, rule, why);
            }
        }
        told.finish()
    }

    /// What `route_mail` makes of a recipient, an address without angle brackets.
    pub fn explain_mail(&self, recipient: &str) -> Explained {
        let winner = self.route_mail(recipient);
        let of = Canonical::of(recipient);
        let mut candidates = Vec::new();
        for entry in self.entries() {
            for (index, matching) in entry.service.matches.iter().enumerate() {
                if matching.is_for_mail() {
                    candidates.push((nearest_recipient(matching, &of), entry, index));
                }
            }
        }
        candidates.sort_by(|(a, entry, at), (b, other, index)| {
            let name = |entry: &Arc<Entry>| entry.service.name.clone();
            (a.is_none(), a, name(entry), at).cmp(&(b.is_none(), b, name(other), index))
        });
        let mut first = true;
        let told = candidates.into_iter().map(|(near, entry, index)| {
            let is_winner = near.is_some() && first && winner.is_some_and(|winner| Arc::ptr_eq(winner, entry));
            first &= !is_winner;
            let why = match (is_winner, near) {
                (true, _) => Why::Wins,
                (false, Some(_)) => Why::Outranked(Edge::Recipient),
                (false, None) => Why::Recipient,
            };
            Candidate {
                service: entry.service.name.clone(),
                index,
                why,
            }
        });
        Explained::of(told.collect())
    }
}

impl Explained {
    fn of(mut candidates: Vec<Candidate>) -> Explained {
        let more = candidates.len().saturating_sub(TOLD_MAX);
        candidates.truncate(TOLD_MAX);
        Explained { candidates, more }
    }

    pub fn winner(&self) -> Option<&Candidate> {
        self.candidates.first().filter(|candidate| candidate.why == Why::Wins)
    }
}

/// The best candidates so far; never many more than are told.
#[derive(Default)]
struct Telling {
    best: Vec<(Why, Option<Nearness>, Arc<Rule>)>,
    more: usize,
}

impl Telling {
    fn add(&mut self, near: Option<Nearness>, rule: Arc<Rule>, why: Why) {
        self.best.push((why, near, rule));
        if self.best.len() >= 4 * TOLD_MAX {
            self.settle();
        }
    }

    fn settle(&mut self) {
        // What names a header says nothing about the order among those that fail by one.
        let class = |why: &Why| match why {
            Why::Wins => 0,
            Why::Outranked(_) => 1,
            Why::Header(_) => 2,
            Why::Method => 3,
            Why::Path => 4,
            Why::Host | Why::Recipient => 5,
        };
        self.best.sort_by(|(why, near, rule), (other, nearer, better)| {
            (class(why), near, rule).cmp(&(class(other), nearer, better))
        });
        self.more += self.best.len().saturating_sub(TOLD_MAX);
        self.best.truncate(TOLD_MAX);
    }

    fn finish(mut self) -> Explained {
        self.settle();
        let told = self.best.into_iter().map(|(why, _, rule)| Candidate {
            service: rule.service().clone(),
            index: rule.index(),
            why,
        });
        Explained {
            candidates: told.collect(),
            more: self.more,
        }
    }
}

/// The first respect in which a match does not fit.
fn misfit(rule: &Rule, near: Option<Nearness>, path: &str, query: &Query<'_>) -> Option<Why> {
    let is_about = match &rule.matching().path {
        PathPattern::Any => true,
        PathPattern::Prefix(prefix) => prefix.matches(path),
        PathPattern::Regex(regex) => regex.matches(path),
    };
    if near.is_none() {
        return Some(Why::Host);
    }
    if !is_about {
        return Some(Why::Path);
    }
    if !rule.accepts_method(query) {
        return Some(Why::Method);
    }
    let mut headers = rule.matching().headers.iter();
    let other = headers.find(|condition| query.headers.header(&condition.name) != Some(&*condition.value));
    other.map(|condition| Why::Header(condition.name.clone()))
}

fn nearest_host(rule: &Rule, host: &str) -> Option<Nearness> {
    let named = host.len() <= HOST_BYTES_MAX;
    let fitting = hosts_of(rule).iter().filter(|pattern| pattern.matches(host));
    let near = fitting.filter_map(|pattern| match pattern {
        HostPattern::Exact(_) => named.then_some((0, Reverse(0))),
        HostPattern::Wildcard(suffix) => named.then_some((1, Reverse(suffix.len()))),
        HostPattern::Any => Some((2, Reverse(0))),
    });
    near.min()
}

fn nearest_recipient(matching: &Match, of: &Canonical) -> Option<Nearness> {
    let near = matching.recipients.iter().filter_map(|pattern| match pattern {
        RecipientPattern::Any => Some((3, Reverse(0))),
        _ if of.local().is_none() => None,
        RecipientPattern::Address(address) => (**address == *of.as_str()).then_some((0, Reverse(0))),
        RecipientPattern::Domain(domain) => (**domain == *of.domain()).then_some((1, Reverse(0))),
        RecipientPattern::Subdomains(suffix) => {
            let rest = of.domain().strip_suffix(&**suffix)?.strip_suffix('.')?;
            (!rest.is_empty()).then_some((2, Reverse(suffix.len())))
        }
    });
    near.min()
}
