//! What a hub on a shared store learns from the store and from the other control planes.

use super::{Hub, PlaneId, Row, Told};
use crate::time::Time;

impl Hub {
    /// The own row was refreshed by a write that began then.
    pub fn row_written(&mut self, began: Time, now: Time) {
        self.roster.row_written(began, now);
    }

    /// The rows of all control planes, by a read that began then.
    pub fn rows_read(&mut self, rows: &[Row], began: Time, now: Time) {
        self.roster.rows_read(rows, began, now);
    }

    /// All that was in the log when a read of it began has been handed to [`Hub::committed`].
    pub fn log_read(&mut self, began: Time, now: Time) {
        let configured = self.ring.head().revision;
        self.roster.log_read(began, configured, now);
    }

    /// Another control plane begins to say all that it holds.
    pub fn plane_begins(&mut self, id: PlaneId) {
        if let Some(speaker) = self.roster.speaker(id) {
            speaker.begin();
        }
    }

    /// What it holds is no longer known.
    pub fn plane_ends(&mut self, id: PlaneId) {
        if let Some(speaker) = self.roster.speaker(id) {
            speaker.end();
        }
    }

    pub fn plane_says(&mut self, id: PlaneId, told: Told, now: Time) {
        self.roster.pulse(now);
        let Some(speaker) = self.roster.speaker(id) else { return };
        match told {
            Told::Holds { slot, holding } => {
                let (name, instance, level) = (holding.name.clone(), holding.instance, holding.level.clone());
                let before = speaker.hold(slot, holding);
                let same = before.filter(|before| before.name == name && before.instance == instance);
                if let (Some(slot), Some(level)) = (self.roster.slot_of(&name, instance), level) {
                    self.advanced(slot, same.and_then(|before| before.level), &level, now);
                }
            }
            Told::Advanced(advanced) => {
                for ((name, instance), before) in speaker.advance(&advanced) {
                    if let Some(slot) = self.roster.slot_of(&name, instance) {
                        let mut level = before.clone();
                        level.applied = advanced.to;
                        self.advanced(slot, Some(before), &level, now);
                    }
                }
            }
            Told::Released { slots } => speaker.release(&slots),
            Told::Pong { sent } => speaker.prove(sent, now),
            Told::Welcome { .. } | Told::Head { .. } => {}
        }
    }
}
