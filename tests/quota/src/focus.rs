//! What a run looks for.

/// Seeds take turns over these.
pub const FOCI: [Focus; 11] = [
    Focus::Chaos,
    Focus::Sleeper,
    Focus::Share,
    Focus::Edits,
    Focus::Ledger,
    Focus::Members,
    Focus::Clocks,
    Focus::Delays,
    Focus::Succession,
    Focus::Crossing,
    Focus::Heirs,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// A little of everything.
    Chaos,
    /// Owners whose machines sleep while a successor is at work, which some proxies do not hear.
    Sleeper,
    /// Proxies are cut off, and go on with their standbys.
    Share,
    /// Limits are changed, deleted, made again.
    Edits,
    /// Long periods, several owners on one row, a store that does not tell what it did.
    Ledger,
    /// Proxies join, leave, restart, are forgotten.
    Members,
    /// Wall clocks step, proxies are stopped, machines sleep.
    Clocks,
    /// Messages are late, doubled and overtaken, and processes stopped.
    Delays,
    /// Owners are killed and followed, hastily.
    Succession,
    /// Proxies restart, and then their owners, which alone knew what they had spent.
    Heirs,
    /// What is asked for moves from proxy to proxy, and what is said overtakes what was said before.
    Crossing,
    /// Limits on what is in flight at a time, and on nothing else: everything happens.
    Permits,
    /// Nothing happens.
    Peace,
}

impl Focus {
    pub fn of(seed: u64) -> Focus {
        FOCI[(seed % FOCI.len() as u64) as usize]
    }

    /// Whether label time stays near the true time.
    pub fn keeps_wall_clocks(self) -> bool {
        !matches!(self, Focus::Clocks | Focus::Sleeper | Focus::Chaos)
    }
}
