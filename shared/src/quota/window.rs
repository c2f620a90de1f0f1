//! What was charged to which bucket of one account.

use super::{Algorithm, Label, Rule};

/// Bounded by the buckets of a period and of an allowance's validity: what is older is pruned at every charge.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// By bucket, ascending.
    charges: Vec<(u64, u64)>,
    /// What nobody may spend yet: it counts from when it may be spent. Of one moment and bucket there is one.
    ahead: Vec<Ahead>,
}

#[derive(Clone, Copy, Debug)]
struct Ahead {
    from: Label,
    bucket: u64,
    tokens: u64,
}

impl Window {
    pub fn is_empty(&self) -> bool {
        self.charges.is_empty() && self.ahead.is_empty()
    }

    /// What counts at that moment: under `sliding` all that may be admitted within one real period before it, and what may be
    /// spent by then in later buckets; under `fixed` what is charged to its window.
    pub fn charged(&self, rule: &Rule, at: Label) -> u64 {
        let current = rule.bucket_of(at);
        let counts = |bucket: u64| match rule.algorithm {
            Algorithm::Sliding => rule.end(bucket) > at.before(rule.span()),
            Algorithm::Fixed => bucket == current,
        };
        let begun = self.ahead.iter().filter(|of| of.from <= at && counts(of.bucket));
        begun.fold(self.sum(counts), |sum, of| sum.saturating_add(of.tokens))
    }

    /// The most that counts at each of these moments, ascending, or at any later one: all that is granted from then on counts
    /// beside it.
    pub fn peaks(&self, rule: &Rule, moments: &[Label]) -> Vec<u64> {
        let mut peaks: Vec<u64> = moments.iter().map(|at| self.charged(rule, *at)).collect();
        // Many begin at the same moment, whose charges are summed once.
        let mut begin: Vec<Label> = self.ahead.iter().map(|of| of.from).collect();
        begin.sort_unstable();
        begin.dedup();
        for begins in begin {
            let before = moments.partition_point(|at| *at < begins);
            if moments.get(before) == Some(&begins) {
                continue;
            }
            if let Some(peak) = before.checked_sub(1).and_then(|last| peaks.get_mut(last)) {
                *peak = (*peak).max(self.charged(rule, begins));
            }
        }
        let mut most = 0;
        for peak in peaks.iter_mut().rev() {
            most = most.max(*peak);
            *peak = most;
        }
        peaks
    }

    /// The most that counts now, or later.
    pub fn peak(&self, rule: &Rule, now: Label) -> u64 {
        self.peaks(rule, &[now]).into_iter().fold(0, u64::max)
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

    /// Of tokens that may be spent from then on.
    pub fn charge_ahead(&mut self, from: Label, bucket: u64, tokens: u64) {
        match self.ahead.iter_mut().find(|of| (of.from, of.bucket) == (from, bucket)) {
            Some(of) => of.tokens = of.tokens.saturating_add(tokens),
            None => self.ahead.push(Ahead { from, bucket, tokens }),
        }
    }

    /// Takes back what was charged for tokens that could be spent from then on; no more than that.
    pub fn withdraw(&mut self, from: Label, bucket: u64, tokens: u64) -> u64 {
        let Some(index) = self.ahead.iter().position(|of| (of.from, of.bucket) == (from, bucket)) else {
            return self.discharge(bucket, tokens);
        };
        let taken = self.ahead[index].tokens.min(tokens);
        self.ahead[index].tokens -= taken;
        if self.ahead[index].tokens == 0 {
            self.ahead.swap_remove(index);
        }
        taken
    }

    /// What may be spent by now is charged like everything else.
    fn arrive(&mut self, now: Label) {
        for of in self.ahead.extract_if(.., |of| of.from <= now).collect::<Vec<_>>() {
            self.charge(of.bucket, of.tokens);
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
        self.arrive(now);
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
        self.arrive(Label::MAX);
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

    /// Buckets, ascending, and tokens: all that may be spent by then.
    pub fn charges(&self, by: Label) -> Vec<(u64, u64)> {
        let mut all = self.clone();
        all.arrive(by);
        all.charges
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
