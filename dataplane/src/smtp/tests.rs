//! Messages on their way to applications that are scripts.

mod dying;
mod failing;
mod passing;
mod stage;
mod validating;
