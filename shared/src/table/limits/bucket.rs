//! Limits in one place of an index: hardly ever more than one.

use std::sync::Arc;

use super::InForce;

#[derive(Clone, Debug, Default)]
pub(super) enum Bucket {
    #[default]
    None,
    One(Arc<InForce>),
    More(Arc<Vec<Arc<InForce>>>),
}

impl Bucket {
    pub fn is_empty(&self) -> bool {
        matches!(self, Bucket::None)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<InForce>> {
        match self {
            Bucket::None => &[],
            Bucket::One(one) => std::slice::from_ref(one),
            Bucket::More(more) => &more[..],
        }
        .iter()
    }

    /// One that is not in it; another form of the same limit may be.
    pub fn put(&mut self, limit: Arc<InForce>) {
        *self = match std::mem::take(self) {
            Bucket::None => Bucket::One(limit),
            Bucket::One(one) => Bucket::More(Arc::new(vec![one, limit])),
            Bucket::More(mut more) => {
                Arc::make_mut(&mut more).push(limit);
                Bucket::More(more)
            }
        };
    }

    pub fn remove(&mut self, limit: &Arc<InForce>) {
        *self = match std::mem::take(self) {
            Bucket::One(one) if Arc::ptr_eq(&one, limit) => Bucket::None,
            Bucket::More(mut more) => {
                let held = Arc::make_mut(&mut more);
                held.retain(|held| !Arc::ptr_eq(held, limit));
                match &held[..] {
                    [] => Bucket::None,
                    [one] => Bucket::One(one.clone()),
                    _ => Bucket::More(more),
                }
            }
            other => other,
        };
    }
}
