//! Sessions with doubles of everything behind them.

mod authenticating;
mod encrypting;
mod ending;
mod sending;
mod smuggling;
pub mod stage;
mod trusting;
