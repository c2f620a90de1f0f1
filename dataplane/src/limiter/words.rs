//! A few words that many read and few write.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Read without a lock and without writing: so that a reader waits for no other place in memory (a sequence lock; H.-J. Boehm, Can
/// Seqlocks Get Along With Programming Language Memory Models?, 2012).
#[derive(Debug)]
#[repr(C)]
pub struct Words<const N: usize> {
    /// Odd: they are being written.
    version: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Default for Words<N> {
    fn default() -> Words<N> {
        Words {
            version: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl<const N: usize> Words<N> {
    /// What `look` makes of words that stood there together; it may be made of others, too, and is dropped then. None: they were
    /// written meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&Words<N>) -> R) -> Option<R> {
        let before = self.version.load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        let seen = look(self);
        fence(Ordering::Acquire);
        (self.version.load(Ordering::Relaxed) == before).then_some(seen)
    }

    /// One by itself, as of some time.
    pub fn peek(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Unless somebody else is writing.
    pub fn write(&self, words: &[u64]) {
        let before = self.version.load(Ordering::Relaxed) & !1;
        let begun = self
            .version
            .compare_exchange(before, before + 1, Ordering::Acquire, Ordering::Relaxed);
        if begun.is_err() {
            return;
        }
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(words) {
            word.store(*value, Ordering::Relaxed);
        }
        self.version.store(before + 2, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn nobody_reads_words_of_two_writings() {
        let (words, is_over) = (Words::<8>::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut seen = 0;
                        while !is_over.load(Ordering::Relaxed) || seen == 0 {
                            let Some(all) = words.read(|words| [0, 1, 2, 3, 4, 5, 6, 7].map(|at| words.peek(at)))
                            else {
                                continue;
                            };
                            assert!(all.iter().all(|word| *word == all[0]), "{all:?}");
                            seen += 1;
                        }
                    })
                })
                .collect();
            for writer in 0..2 {
                let (words, is_over) = (&words, &is_over);
                scope.spawn(move || {
                    (0..200_000).for_each(|turn| words.write(&[turn * 2 + writer; 8]));
                    is_over.store(true, Ordering::Relaxed);
                });
            }
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}
