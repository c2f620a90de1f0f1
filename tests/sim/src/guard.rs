//! A service that only some may use: who they are, the authorization server that knows them, and what is taken back.
//!
//! The server's token for a user counts how often something was taken back from them: whoever carries an older one was
//! let in by what was said before. Chance here is its own, so that it does not stir what else a seed brings.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use serde_json::json;
use shared::model::{AuthorizerName, Revocation, TokenHash};

use crate::clients::What;
use crate::dice::{Dice, MILLI, SECOND};
use crate::world::{Actor, World};

pub const GUARDED: &str = "g0";
const AUTH: &str = "auth";
const USERS: [&str; 3] = ["ann", "bob", "eve"];
const ADDRESSES: [&str; 2] = ["10.0.1.1:80", "10.0.1.2:80"];

/// The number of one of `USERS`.
pub type User = usize;

pub struct Guard {
    pub dice: Dice,
    /// Not in every run, so that others are not full of it, nor where one kind of trouble is to be alone.
    is_there: bool,
    /// What the server's tokens say now.
    versions: [u64; USERS.len()],
    /// For those that remember; as of the event that happens.
    pub clock: Rc<Cell<Instant>>,
    between: u64,
    /// How far the first writes have come.
    writes: usize,
}

/// What somebody was told is withdrawn, once it is.
#[derive(Clone, Debug)]
pub enum Withdrawn {
    /// From each of them, what was said under that version and all before.
    All([u64; USERS.len()]),
    User(User, u64),
    /// That alone.
    Token(User, u64),
}

pub fn authorizer() -> AuthorizerName {
    AuthorizerName::try_from("main").expect("a good name")
}

pub fn name_of(user: User) -> &'static str {
    USERS[user]
}

pub fn token(user: User, version: u64) -> String {
    format!("{}.{version}", USERS[user])
}

/// Of whom it is, and of which version.
pub fn read_token(token: &str) -> Option<(User, u64)> {
    let (name, version) = token.split_once('.')?;
    Some((USERS.iter().position(|user| *user == name)?, version.parse().ok()?))
}

impl Withdrawn {
    pub fn revocation(&self) -> Revocation {
        match self {
            Withdrawn::All(_) => Revocation::All,
            Withdrawn::User(user, _) => Revocation::Username(USERS[*user].into()),
            Withdrawn::Token(user, version) => Revocation::Token(TokenHash::of(&token(*user, *version))),
        }
    }

    pub fn is_of(&self, user: User, version: u64) -> bool {
        match self {
            Withdrawn::All(last) => version <= last[user],
            Withdrawn::User(whose, last) => *whose == user && version <= *last,
            Withdrawn::Token(whose, only) => *whose == user && version == *only,
        }
    }
}

impl Guard {
    pub fn new(seed: u64, may_be_there: bool) -> Guard {
        let mut dice = Dice::new(!seed);
        Guard {
            is_there: may_be_there && dice.percent(55),
            versions: [0; USERS.len()],
            clock: Rc::new(Cell::new(Instant::now())),
            between: dice.between(200, 2_500) * MILLI,
            writes: 0,
            dice,
        }
    }

    pub fn is_there(&self) -> bool {
        self.is_there
    }

    pub fn some_user(&mut self) -> User {
        self.dice.index(USERS.len())
    }

    /// What the server says of a user now.
    pub fn token(&self, user: User) -> String {
        token(user, self.versions[user])
    }

    /// Whoever is to lose something loses it at the server first.
    fn withdraw(&mut self) -> Withdrawn {
        let user = self.some_user();
        let last = self.versions[user];
        match self.dice.below(100) {
            0..50 => {
                self.versions[user] += 1;
                Withdrawn::User(user, last)
            }
            50..75 => {
                self.versions[user] += 1;
                Withdrawn::Token(user, last)
            }
            _ => {
                let last = self.versions;
                self.versions.iter_mut().for_each(|version| *version += 1);
                Withdrawn::All(last)
            }
        }
    }

    /// What is needed first comes first; once all is there, any of it is written again now and then.
    fn some_write(&mut self) -> What {
        self.writes += 1;
        let turn = match self.writes {
            turn @ 1..=4 => turn,
            _ if self.dice.percent(75) => return What::Revoke(self.withdraw()),
            _ => 1 + self.dice.index(5),
        };
        let ttl = self.dice.one(&["3s", "60s", "60s"]);
        let stale = self.dice.one(&["0s", "20s"]);
        let balance = self.dice.one(&["least_request", "round_robin", "random"]);
        let address = self.dice.one(&ADDRESSES);
        match turn {
            1 => What::PutService(AUTH, json!({"match": []}).to_string()),
            2 => What::PutAuthorizer(json!({"service": AUTH, "cache": {"ttl": ttl, "stale": stale}}).to_string()),
            3 => {
                let body = json!({"match": [{"hosts": [format!("{GUARDED}.test")]}], "authorizer": "main", "balance": balance});
                What::PutService(GUARDED, body.to_string())
            }
            4 => What::PutUpstream(GUARDED, "a", json!({"address": address}).to_string()),
            _ => What::PutUpstream(GUARDED, "b", json!({"address": address}).to_string()),
        }
    }
}

impl World {
    pub fn next_guarding(&mut self) {
        let pause = match self.guard.writes {
            0..4 => SECOND / 2,
            _ => self.guard.dice.below(2 * self.guard.between),
        };
        self.after(Actor::World, pause, |world| {
            if world.faults.over || !world.guard.is_there {
                return;
            }
            let what = world.guard.some_write();
            world.ask(what, None);
            world.next_guarding();
        });
    }
}
