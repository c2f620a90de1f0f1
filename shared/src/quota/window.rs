//! What was charged to which bucket of one account.

use super::{Algorithm, Label, Rule};

/// Bounded by the buckets of a period and of an allowance's validity: what is older is pruned at every charge.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// By bucket, ascending.
    charges: Vec<(u64, u64)>,
}

impl Window {
    pub fn is_empty(&self) -> bool {
        self.charges.is_empty()
    }

    /// What counts against a grant at `now`: under `sliding` all that may be admitted within one real period of it, and
    /// what is charged to later buckets; under `fixed` what is charged to the window of now.
    pub fn charged(&self, rule: &Rule, now: Label) -> u64 {
        let current = rule.bucket_of(now);
        let counts = |bucket: u64| match rule.algorithm {
            Algorithm::Sliding => rule.end(bucket) > now.before(rule.span()),
            Algorithm::Fixed => bucket == current,
        };
        self.sum(counts)
    }

    pub fn charged_to(&self, bucket: u64) -> u64 {
        self.sum(|other| other == bucket)
    }

    fn sum(&self, counts: impl Fn(u64) -> bool) -> u64 {
        let counted = self.charges.iter().filter(|(bucket, _)| counts(*bucket));
        counted.fold(0, |sum, (_, tokens)| sum.saturating_add(*tokens))
    }

    pub fn charge(&mut self, bucket: u64, tokens: u64) {
        if tokens == 0 {
            return;
        }
        match self.charges.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(index) => self.charges[index].1 = self.charges[index].1.saturating_add(tokens),
            Err(index) => self.charges.insert(index, (bucket, tokens)),
        }
    }

    /// Takes back what was charged; no more than that.
    pub fn discharge(&mut self, bucket: u64, tokens: u64) -> u64 {
        let Ok(index) = self.charges.binary_search_by_key(&bucket, |(bucket, _)| *bucket) else {
            return 0;
        };
        let taken = self.charges[index].1.min(tokens);
        self.charges[index].1 -= taken;
        if self.charges[index].1 == 0 {
            self.charges.remove(index);
        }
        taken
    }

    /// Forgets what can count no more.
    pub fn prune(&mut self, rule: &Rule, now: Label) {
        self.charges
            .retain(|(bucket, _)| rule.end(*bucket) > now.before(rule.span()));
    }

    /// When so many tokens that count now will count no more, or all that there are; 0 is as good as one.
    pub fn frees_at(&self, rule: &Rule, now: Label, tokens: u64) -> Label {
        match rule.algorithm {
            Algorithm::Fixed => rule.end(rule.bucket_of(now)),
            Algorithm::Sliding => {
                let ends = self
                    .charges
                    .iter()
                    .map(|(bucket, of)| (rule.end(*bucket).after(rule.span()), *of));
                frees_at(ends.filter(|(free, _)| *free > now), tokens).unwrap_or(now)
            }
        }
    }

    /// What was charged in the last period by one rule, charged anew by another: all of it to the last moment at which
    /// any of it may have been admitted.
    pub fn convert(&mut self, from: &Rule, to: &Rule, now: Label) {
        self.prune(from, now);
        let last = self.charges.iter().map(|(bucket, _)| *bucket).max();
        let sum = self.sum(|_| true);
        self.charges.clear();
        if let Some(last) = last {
            // An allowance is valid for less than a whole fixed window.
            let until = from.end(last).min(now.after(from.validity()));
            let (first, last) = (to.bucket_of(now), to.bucket_of(until));
            match to.algorithm {
                Algorithm::Sliding => self.charge(last, sum),
                Algorithm::Fixed => (first..=last).for_each(|bucket| self.charge(bucket, sum)),
            }
        }
    }

    pub fn charges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.charges.iter().copied()
    }
}

/// When so many of these are free, which become so one after another.
pub fn frees_at(charges: impl Iterator<Item = (Label, u64)>, tokens: u64) -> Option<Label> {
    let (mut free, mut last) = (0_u64, None);
    for (at, of) in charges {
        last = Some(at);
        free = free.saturating_add(of);
        if free >= tokens {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests;
