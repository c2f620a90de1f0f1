//! Every state that the log went through.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{Entry, Op, Rule, Verb, Violation};

/// An object as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Standing {
    pub body: Value,
    pub revision: u64,
    /// Of an upstream: the revision that began it.
    pub registration: Option<u64>,
}

/// All forms that each object had, by the revision of each, in order.
#[derive(Default)]
pub struct Fold {
    forms: BTreeMap<String, Vec<(u64, Option<Standing>)>>,
}

impl Fold {
    /// Folds the log, and tells what is wrong with it by itself.
    pub fn of(log: &[Entry]) -> (Fold, Vec<Violation>) {
        let mut fold = Fold::default();
        let mut wrong = Vec::new();
        let mut op_ids: HashMap<&str, u64> = HashMap::new();
        let mut last = 0;
        for entry in log {
            let revision = entry.revision;
            if revision != last + 1 {
                let detail = format!("revision {revision} follows {last}");
                wrong.push(Violation {
                    rule: Rule::Gap,
                    detail,
                });
            }
            last = revision;
            if let Some(first) = op_ids.insert(&entry.op_id, revision) {
                let detail = format!("{} is revision {first} and revision {revision}", entry.op_id);
                let rule = Rule::AppendedTwice;
                wrong.push(Violation { rule, detail });
            }
            for op in &entry.ops {
                wrong.extend(fold.apply(op, revision));
            }
        }
        (fold, wrong)
    }

    fn apply(&mut self, op: &Op, revision: u64) -> Option<Violation> {
        let object = op.object();
        let stood = self.last(&object).cloned();
        let wrong = |detail: String| {
            let rule = Rule::WrongBefore;
            Some(Violation { rule, detail })
        };
        let violation = match op.before == stood {
            true => None,
            false => wrong(format!(
                "{object} at revision {revision} replaced {:?}, and what stood was {stood:?}",
                op.before
            )),
        };
        let stands = match (op.verb, &op.body) {
            (Verb::Put, Some(body)) => Some(Standing {
                body: body.clone(),
                revision,
                registration: (op.kind == "upstream").then(|| op.registration.unwrap_or(revision)),
            }),
            _ => None,
        };
        self.forms.entry(object).or_default().push((revision, stands));
        violation
    }

    fn last(&self, object: &str) -> Option<&Standing> {
        self.forms.get(object)?.last()?.1.as_ref()
    }

    /// The object right after `revision`.
    pub fn at(&self, object: &str, revision: u64) -> Option<&Standing> {
        let forms = self.forms.get(object)?;
        let after = forms.partition_point(|(at, _)| *at <= revision);
        forms[..after].last()?.1.as_ref()
    }

    /// Whether the object was so after some revision of `from..=to`.
    pub fn was(&self, object: &str, from: u64, to: u64, so: impl Fn(Option<&Standing>) -> bool) -> bool {
        let forms = self.forms.get(object).map_or(&[][..], Vec::as_slice);
        let mut within = forms.iter().filter(|(at, _)| *at > from && *at <= to);
        so(self.at(object, from)) || within.any(|(_, form)| so(form.as_ref()))
    }

    /// All that stands in the end.
    pub fn standing(&self) -> BTreeMap<String, Standing> {
        let last = |(object, forms): (&String, &Vec<(u64, Option<Standing>)>)| {
            let form = forms.last()?.1.clone()?;
            Some((object.clone(), form))
        };
        self.forms.iter().filter_map(last).collect()
    }
}
