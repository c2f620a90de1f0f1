//! A set of roster slots, as a bitmap.

/// One place in the roster: a name and an instance. Free again once nothing remembers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) u32);

impl Slot {
    pub(in crate::stream) fn index(self) -> usize {
        self.0 as usize
    }

    /// Names it to others.
    pub fn number(self) -> u32 {
        self.0
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    words: Vec<u64>,
    len: usize,
}

impl Slots {
    pub fn insert(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit == 0 {
            self.words[word] |= bit;
            self.len += 1;
        }
    }

    pub fn remove(&mut self, slot: Slot) {
        if self.contains(slot) {
            let (word, bit) = place(slot);
            self.words[word] &= !bit;
            self.len -= 1;
        }
    }

    pub fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(Slot(index as u32 * 64 + bit))
            })
        })
    }
}

fn place(slot: Slot) -> (usize, u64) {
    (slot.index() / 64, 1 << (slot.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut slots = Slots::default();
        [0, 63, 64, 200, 64].into_iter().for_each(|n| slots.insert(Slot(n)));
        assert_eq!(slots.iter().map(|slot| slot.0).collect::<Vec<_>>(), [0, 63, 64, 200]);
        assert_eq!(slots.len(), 4);
        slots.remove(Slot(64));
        slots.remove(Slot(65));
        assert_eq!(
            (slots.len(), slots.contains(Slot(64)), slots.contains(Slot(9_999))),
            (3, false, false)
        );
    }
}
