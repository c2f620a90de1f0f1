//! One simulated proxy's side of the stream, without any I/O. It follows revisions and acknowledges them like a real one,
//! but holds no table: what it costs should not be taken for the server's cost.

use std::sync::Arc;

use serde_json::Error;
use shared::change::{Epoch, Revision};
use shared::digest::Digest;
use shared::stream::message::{Down, Hello, Level, SnapshotOffer, State, Up};
use shared::time::Time;
use uuid::Uuid;

const LEASE_MS: u64 = 10_000;
/// A line longer than this is no line of this protocol.
const LINE_MAX: usize = 8 << 20;
/// Changes that may come while a snapshot is fetched.
const AHEAD_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub struct Counts {
    pub changes: u64,
    /// Of the lines that told them.
    pub change_bytes: u64,
    /// Acknowledged levels; one may acknowledge many changes.
    pub levels: u64,
    pub snapshots: u64,
    pub gaps: u64,
}

pub struct Link {
    name: Arc<str>,
    instance: Uuid,
    epoch: Option<Epoch>,
    pub applied: Revision,
    /// The last digest that was told for a revision that was applied then.
    known: (Revision, Digest),
    /// What the server said must be applied before a proxy serves; `None` before its welcome.
    head: Option<Revision>,
    line: Vec<u8>,
    /// Under way, with the changes that came since.
    pub offer: Option<SnapshotOffer>,
    ahead: Vec<(Revision, Revision)>,
    /// A level is owed.
    pub owes: bool,
}

/// The stream cannot go on.
#[derive(Debug)]
pub struct Broken(pub String);

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken(error.to_string())
    }
}

impl Link {
    pub fn new(name: &str) -> Link {
        Link {
            name: name.into(),
            instance: Uuid::new_v4(),
            epoch: None,
            applied: Revision::ZERO,
            known: (Revision::ZERO, Digest::default()),
            head: None,
            line: Vec::new(),
            offer: None,
            ahead: Vec::new(),
            owes: false,
        }
    }

    /// The first line of a new connection. Where the digest of what is applied was never told, the last that was is
    /// gone on from: changes already applied come again and are ignored.
    pub fn hello(&mut self) -> Result<Vec<u8>, Broken> {
        (self.applied, self.head, self.offer, self.owes) = (self.known.0, None, None, false);
        self.line.clear();
        self.ahead.clear();
        line(&Up::Hello(Hello {
            name: self.name.clone(),
            instance: self.instance,
            boot: 1,
            epoch: self.epoch,
            since: self.known.0,
            digest: self.known.1,
            lease_ms: LEASE_MS,
            build: env!("CARGO_PKG_VERSION").into(),
            features: Vec::new(),
            resync: false,
        }))
    }

    pub fn welcomed(&self) -> bool {
        self.head.is_some()
    }

    pub fn caught_up(&self) -> bool {
        self.offer.is_none() && self.head.is_some_and(|head| self.applied >= head)
    }

    /// The whole level, or the bare sign of life between.
    pub fn state(&self, now: Time, whole: bool) -> Result<Vec<u8>, Broken> {
        let level = Level {
            applied: self.applied,
            persisted: true,
            ..Level::default()
        };
        line(&Up::State(State {
            sent: now,
            level: whole.then_some(level),
        }))
    }

    /// Bytes of the stream, cut anywhere.
    pub fn feed(&mut self, mut bytes: &[u8], counts: &mut Counts) -> Result<(), Broken> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.line.is_empty() {
                self.take(line, counts)?;
            } else {
                let mut joined = std::mem::take(&mut self.line);
                joined.extend_from_slice(line);
                self.take(&joined, counts)?;
            }
            bytes = rest;
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > LINE_MAX {
            Err(Broken("an endless line".into()))
        } else {
            Ok(())
        }
    }

    fn take(&mut self, line: &[u8], counts: &mut Counts) -> Result<(), Broken> {
        if let Some((from, to)) = change(line) {
            counts.change_bytes += line.len() as u64 + 1;
            return self.advance(from, to, counts);
        }
        match serde_json::from_slice(line)? {
            Down::Welcome(welcome) => {
                self.epoch = Some(welcome.epoch);
                self.head = Some(welcome.head);
                self.owes = true;
            }
            Down::Snapshot(offer) => self.offer = Some(offer),
            Down::Change(change) => self.advance(change.from, change.to, counts)?,
            Down::Beat(beat) if beat.head == self.applied => self.known = (beat.head, beat.digest),
            Down::Beat(_) | Down::Query(_) | Down::Limits(_) | Down::Epochs { .. } => {}
            Down::Goaway { .. } => return Err(Broken("sent away".into())),
        }
        Ok(())
    }

    fn advance(&mut self, from: Revision, to: Revision, counts: &mut Counts) -> Result<(), Broken> {
        counts.changes += 1;
        if self.offer.is_some() {
            self.ahead.push((from, to));
            let full = self.ahead.len() > AHEAD_MAX;
            return if full {
                Err(Broken("too many changes during a snapshot".into()))
            } else {
                Ok(())
            };
        }
        if from > self.applied {
            counts.gaps += 1;
            return Err(Broken(format!("a gap: {from} to {to} after {}", self.applied)));
        }
        if to > self.applied {
            self.applied = to;
            self.owes = true;
        }
        Ok(())
    }

    /// The offered snapshot has been read to its end.
    pub fn fetched(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        let Some(offer) = self.offer.take() else { return Ok(()) };
        counts.snapshots += 1;
        self.applied = offer.revision;
        self.known = (offer.revision, offer.digest);
        self.owes = true;
        std::mem::take(&mut self.ahead)
            .into_iter()
            .try_for_each(|(from, to)| self.advance(from, to, counts))
    }
}

/// The two revisions of a change in the form that the server writes, without reading its operations.
fn change(line: &[u8]) -> Option<(Revision, Revision)> {
    let (from, rest) = number(line.strip_prefix(br#"{"change":{"from":"#)?)?;
    let (to, _) = number(rest.strip_prefix(br#","to":"#)?)?;
    Some((Revision(from), Revision(to)))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = bytes.split_at(digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

fn line(message: &Up) -> Result<Vec<u8>, Broken> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use shared::stream::message::{Beat, Change, Welcome};

    use super::*;

    fn lines(messages: &[Down]) -> Vec<u8> {
        messages
            .iter()
            .flat_map(|message| [serde_json::to_vec(message).unwrap(), b"\n".to_vec()].concat())
            .collect()
    }

    fn welcome(head: u64) -> Down {
        Down::Welcome(Welcome {
            epoch: Epoch(Uuid::nil()),
            succeeds: Vec::new(),
            head: Revision(head),
            leased: true,
            current: true,
        })
    }

    fn step(from: u64, to: u64) -> Down {
        Down::Change(Change {
            from: Revision(from),
            to: Revision(to),
            ops: Vec::new(),
        })
    }

    #[test]
    fn follows_changes_in_order_however_they_are_cut() {
        let bytes = lines(&[welcome(9), step(0, 4), step(4, 9), step(4, 9)]);
        let told = (bytes.len() - lines(&[welcome(9)]).len()) as u64;
        for size in 1..bytes.len() {
            let (mut link, mut counts) = (Link::new("p"), Counts::default());
            bytes
                .chunks(size)
                .for_each(|chunk| link.feed(chunk, &mut counts).unwrap());
            assert_eq!(
                (link.applied, link.caught_up(), link.owes, counts.changes),
                (Revision(9), true, true, 3)
            );
            assert_eq!(counts.change_bytes, told);
        }
    }

    #[test]
    fn the_short_way_of_reading_a_change_is_the_long_one() {
        let line = lines(&[step(41, 77)]);
        assert_eq!(change(&line), Some((Revision(41), Revision(77))));
    }

    #[test]
    fn a_gap_ends_the_stream_and_the_next_goes_on_from_what_is_known() {
        let (mut link, mut counts) = (Link::new("p"), Counts::default());
        let beat = Beat {
            head: Revision(4),
            digest: Digest::default(),
            echo: None,
        };
        link.feed(
            &lines(&[welcome(4), step(0, 4), Down::Beat(beat), step(4, 6)]),
            &mut counts,
        )
        .unwrap();
        assert!(link.feed(&lines(&[step(8, 9)]), &mut counts).is_err());
        assert_eq!((link.applied, counts.gaps), (Revision(6), 1));
        link.hello().unwrap();
        assert_eq!((link.applied, link.welcomed()), (Revision(4), false));
    }

    #[test]
    fn changes_that_come_during_a_snapshot_follow_it() {
        let (mut link, mut counts) = (Link::new("p"), Counts::default());
        let offer = SnapshotOffer {
            revision: Revision(5),
            path: "/v1/snapshot".into(),
            digest: Digest::default(),
        };
        link.feed(&lines(&[welcome(5), Down::Snapshot(offer), step(5, 7)]), &mut counts)
            .unwrap();
        assert_eq!((link.applied, link.caught_up()), (Revision::ZERO, false));
        link.fetched(&mut counts).unwrap();
        assert_eq!(
            (link.applied, link.caught_up(), counts.snapshots),
            (Revision(7), true, 1)
        );
    }
}
