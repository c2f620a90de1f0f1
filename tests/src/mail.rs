//! Mail: clients of the harness's own and of other people, and the application that gets it.

pub mod application;
pub mod certificate;
pub mod clients;
pub mod postfix;
pub mod session;
pub mod submitted;
