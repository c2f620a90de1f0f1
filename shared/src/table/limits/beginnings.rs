//! Limits by how a text begins: a tree of bytes, in which only those stand alone that make a difference.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::InForce;
use super::bucket::Bucket;

#[derive(Clone, Debug, Default)]
pub(super) struct Beginnings {
    root: Node,
}

/// Short ones lie in their node: every step to another place in memory costs as much as all else.
type Label = SmallVec<[u8; 24]>;

#[derive(Clone, Debug, Default)]
struct Node {
    /// What it adds to the node above.
    label: Label,
    /// Of patterns whose beginning ends here.
    here: Bucket,
    /// Of the labels below, in order.
    firsts: SmallVec<[u8; 16]>,
    below: Vec<Arc<Node>>,
}

impl Beginnings {
    pub fn is_empty(&self) -> bool {
        self.root.here.is_empty() && self.root.below.is_empty()
    }

    pub fn put(&mut self, begin: &[u8], limit: Arc<InForce>) {
        self.root.at(begin).put(limit);
    }

    pub fn remove(&mut self, begin: &[u8], limit: &Arc<InForce>) {
        self.root.remove(begin, limit);
    }

    /// Calls `visit` with the limits of each beginning that `text` has, the shortest first.
    pub fn find<'t>(&'t self, text: &str, mut visit: impl FnMut(&'t Bucket)) {
        let (mut node, mut rest) = (&self.root, text.as_bytes());
        loop {
            visit(&node.here);
            let Some(first) = rest.first() else { return };
            let Ok(index) = node.firsts.binary_search(first) else {
                return;
            };
            node = &node.below[index];
            // The first byte is known to be the same, and most labels are no longer.
            if node.label.len() > 1 && !rest.starts_with(&node.label) {
                return;
            }
            rest = &rest[node.label.len()..];
        }
    }
}

impl Node {
    /// Where limits of a beginning stand, or are to stand, that goes on from here with `rest`.
    fn at(&mut self, rest: &[u8]) -> &mut Bucket {
        let Some(first) = rest.first() else {
            return &mut self.here;
        };
        let index = match self.firsts.binary_search(first) {
            Ok(index) => index,
            Err(index) => {
                let leaf = Node {
                    label: rest.into(),
                    ..Node::default()
                };
                self.firsts.insert(index, *first);
                self.below.insert(index, Arc::new(leaf));
                index
            }
        };
        let child = Arc::make_mut(&mut self.below[index]);
        let common = child.label.iter().zip(rest).take_while(|(a, b)| a == b).count();
        if common < child.label.len() {
            child.split(common);
        }
        child.at(&rest[common..])
    }

    /// Puts a node between this one and what is above it, so that its label ends after `length` bytes.
    fn split(&mut self, length: usize) {
        let upper = Label::from_slice(&self.label[..length]);
        let mut lower = std::mem::take(self);
        lower.label = Label::from_slice(&lower.label[length..]);
        self.label = upper;
        self.firsts = smallvec![lower.label[0]];
        self.below = vec![Arc::new(lower)];
    }

    fn remove(&mut self, rest: &[u8], limit: &Arc<InForce>) {
        let Some(first) = rest.first() else {
            self.here.remove(limit);
            return;
        };
        let Ok(index) = self.firsts.binary_search(first) else {
            return;
        };
        let child = Arc::make_mut(&mut self.below[index]);
        let Some(behind) = rest.strip_prefix(&*child.label) else {
            return;
        };
        child.remove(behind, limit);
        if child.here.is_empty() {
            match &child.below[..] {
                [] => {
                    self.firsts.remove(index);
                    self.below.remove(index);
                }
                [only] => {
                    let joined = Node {
                        label: [&*child.label, &*only.label].concat().into(),
                        ..Node::clone(only)
                    };
                    *child = joined;
                }
                _ => {}
            }
        }
    }
}
