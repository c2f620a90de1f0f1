//! Which operations go first where they are too many for one revision: each revision must be valid by itself, so what an
//! operation needs comes before it or with it. What is taken away comes last, unless something needs its place.

use std::collections::HashMap;
use std::sync::Arc;

use net::problem::{self, Problem};
use shared::change::{Kind, ObjectKey, Op, Verb};
use shared::model::Service;

use super::reference;
use crate::changelog::{Head, REVISION_BYTES_MAX, size};

/// Of one of several: no other writer has to wait long behind it.
const PART_BYTES_MAX: usize = 64 << 10;

/// What others do meanwhile may make an operation a little longer.
const MARGIN: usize = 16 << 10;

/// The objects of each revision, in order.
pub fn cut(head: &Head, ops: &[Op]) -> Result<Vec<Arc<[ObjectKey]>>, Box<Problem>> {
    if ops.is_empty() {
        return Ok(Vec::new());
    }
    if size(ops) <= REVISION_BYTES_MAX {
        return Ok(vec![ops.iter().map(Op::object).collect()]);
    }
    cut_at(head, ops, PART_BYTES_MAX, REVISION_BYTES_MAX - MARGIN)
}

/// `part`: bytes of one, but for what can only stand together, which may have `most`.
pub(super) fn cut_at(head: &Head, ops: &[Op], part: usize, most: usize) -> Result<Vec<Arc<[ObjectKey]>>, Box<Problem>> {
    let sizes: Vec<usize> = ops.iter().map(|op| size(std::slice::from_ref(op))).collect();
    let weight = |knots: &[Vec<usize>]| knots.iter().flatten().map(|at| sizes[*at]).sum::<usize>();
    let knots = Graph::of(head, ops).knots(ops);
    let mut packing = Packing::default();
    // A service without its upstreams would be live, and could answer nothing.
    for together in knots.chunk_by(|one, other| service(ops, one).is_some() && service(ops, one) == service(ops, other))
    {
        let pieces: Vec<&[Vec<usize>]> = match weight(together) <= part {
            true => vec![together],
            false => together.chunks(1).collect(),
        };
        for piece in pieces {
            let weighs = weight(piece);
            if weighs > most {
                let detail = format!("{weighs} bytes of it can only stand together, and one revision holds {most}");
                return Err(Box::new(Problem::new(problem::TOO_LARGE, detail)));
            }
            if packing.bytes + weighs > part {
                packing.close();
            }
            packing.bytes += weighs;
            packing.open.extend(piece.iter().flatten().map(|at| ops[*at].object()));
        }
    }
    packing.close();
    Ok(packing.revisions)
}

#[derive(Default)]
struct Packing {
    revisions: Vec<Arc<[ObjectKey]>>,
    open: Vec<ObjectKey>,
    bytes: usize,
}

impl Packing {
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.revisions.push(std::mem::take(&mut self.open).into());
        }
        self.bytes = 0;
    }
}

/// Of a service that is put, or an upstream of it.
fn service<'a>(ops: &'a [Op], knot: &[usize]) -> Option<&'a str> {
    let [at] = knot else { return None };
    let op = &ops[*at];
    let is_of_one = op.verb == Verb::Put && matches!(op.kind, Kind::Service | Kind::Upstream);
    op.key.split('/').next().filter(|_| is_of_one)
}

/// What each operation needs of the others.
struct Graph {
    /// Those that need it.
    needed_by: Vec<Vec<usize>>,
    needs: Vec<Vec<usize>>,
    /// How many it needs that are still to come.
    missing: Vec<usize>,
}

impl Graph {
    fn of(head: &Head, ops: &[Op]) -> Graph {
        let index: HashMap<ObjectKey, usize> = ops.iter().map(Op::object).zip(0..).collect();
        let users = users(head, ops);
        let mut graph = Graph {
            needed_by: vec![Vec::new(); ops.len()],
            needs: vec![Vec::new(); ops.len()],
            missing: vec![0; ops.len()],
        };
        for (at, op) in ops.iter().enumerate() {
            let mut needs = match op.verb {
                Verb::Put => needs_of_put(head, op),
                Verb::Delete => users.get(&op.object()).cloned().unwrap_or_default(),
            };
            needs.sort_unstable();
            needs.dedup();
            for needed in needs
                .iter()
                .filter_map(|key| index.get(key))
                .filter(|needed| **needed != at)
            {
                graph.add(at, *needed);
            }
            // Whoever is deleted with its service is deleted before it.
            let owner = match (op.verb, &op.kind) {
                (Verb::Delete, Kind::Upstream) => {
                    op.key.split_once('/').map(|(service, _)| ObjectKey::service(service))
                }
                (Verb::Delete, Kind::Hold) => Some(ObjectKey::service(&op.key)),
                (Verb::Delete, Kind::Revocation) => Some(ObjectKey::authorizer(&op.key)),
                _ => None,
            };
            let owner = owner.and_then(|owner| index.get(&owner));
            if let Some(owner) = owner.filter(|owner| ops[**owner].verb == Verb::Delete) {
                graph.add(*owner, at);
            }
        }
        graph
    }

    fn add(&mut self, at: usize, needed: usize) {
        self.needed_by[needed].push(at);
        self.needs[at].push(needed);
        self.missing[at] += 1;
    }

    /// In an order in which each comes after what it needs; those that need one another are together.
    fn knots(mut self, ops: &[Op]) -> Vec<Vec<usize>> {
        let mut knots = Vec::new();
        let mut done = vec![false; ops.len()];
        let mut ready = Ready::default();
        let free = |at: &usize| self.missing[*at] == 0;
        // The last one put is the first to come.
        (0..ops.len()).rev().filter(free).for_each(|at| ready.add(at, ops));
        loop {
            while let Some(at) = ready.next() {
                self.finish(&[at], &mut done, &mut ready, ops);
                knots.push(vec![at]);
            }
            let core = self.core(&done);
            if core.is_empty() {
                return knots;
            }
            self.finish(&core, &mut done, &mut ready, ops);
            knots.push(core);
        }
    }

    fn finish(&mut self, knot: &[usize], done: &mut [bool], ready: &mut Ready, ops: &[Op]) {
        knot.iter().for_each(|at| done[*at] = true);
        for at in knot {
            for then in std::mem::take(&mut self.needed_by[*at]).into_iter().rev() {
                self.missing[then] -= 1;
                if self.missing[then] == 0 && !done[then] {
                    ready.add(then, ops);
                }
            }
        }
    }

    /// Of what is left, and therefore hangs on a circle: without what nothing else there needs.
    fn core(&self, done: &[bool]) -> Vec<usize> {
        let left = |at: &usize| !done[*at];
        let users = |at: usize| self.needed_by[at].iter().filter(|then| left(then)).count();
        let mut used: Vec<usize> = (0..done.len()).map(users).collect();
        let mut is_core: Vec<bool> = done.iter().map(|done| !done).collect();
        let mut idle: Vec<usize> = (0..done.len()).filter(|at| left(at) && used[*at] == 0).collect();
        while let Some(at) = idle.pop() {
            is_core[at] = false;
            for needed in self.needs[at].iter().filter(|needed| left(needed)) {
                used[*needed] -= 1;
                if used[*needed] == 0 {
                    idle.push(*needed);
                }
            }
        }
        (0..done.len()).filter(|at| is_core[*at]).collect()
    }
}

/// What may come next: what is put before what is taken away.
#[derive(Default)]
struct Ready {
    puts: Vec<usize>,
    deletes: Vec<usize>,
}

impl Ready {
    fn add(&mut self, at: usize, ops: &[Op]) {
        match ops[at].verb {
            Verb::Put => self.puts.push(at),
            Verb::Delete => self.deletes.push(at),
        }
    }

    fn next(&mut self) -> Option<usize> {
        self.puts.pop().or_else(|| self.deletes.pop())
    }
}

/// What is not there yet, and who holds what it takes.
fn needs_of_put(head: &Head, op: &Op) -> Vec<ObjectKey> {
    let absent = |key: &ObjectKey| head.state.get(key).is_none();
    let mut needs: Vec<ObjectKey> = reference(op).map(|(_, key)| key).filter(absent).into_iter().collect();
    let body = op.body.as_ref().filter(|_| op.kind == Kind::Service);
    if let Some(service) = body.and_then(|body| Service::parse(&op.key, body.as_str()).ok()) {
        let rivals = head.table.rivals(&service.into());
        needs.extend(rivals.iter().map(|rival| ObjectKey::service(rival.as_str())));
    }
    needs
}

/// Of services and authorizers that are deleted: what uses them at the head.
fn users(head: &Head, ops: &[Op]) -> HashMap<ObjectKey, Vec<ObjectKey>> {
    let mut users: HashMap<ObjectKey, Vec<ObjectKey>> = HashMap::new();
    let deletes = |kind: Kind| ops.iter().any(|op| op.verb == Verb::Delete && op.kind == kind);
    if deletes(Kind::Service) {
        for authority in head.table.authorities() {
            let used = ObjectKey::service(authority.authorizer.service.as_str());
            let user = ObjectKey::authorizer(authority.authorizer.name.as_str());
            users.entry(used).or_default().push(user);
        }
    }
    if deletes(Kind::Authorizer) {
        for entry in head.table.entries() {
            let Some(used) = &entry.service.authorizer else {
                continue;
            };
            let user = ObjectKey::service(entry.service.name.as_str());
            users
                .entry(ObjectKey::authorizer(used.as_str()))
                .or_default()
                .push(user);
        }
    }
    users
}
