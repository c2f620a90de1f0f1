//! The rules of the limits, step by step in orders that chance hardly brings about, and in runs under seeds. They are one binary
//! as each known defect (`tests/mutants/quota`) is linked into it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crossings;
mod heirs;
mod interleavings;
mod owners;
mod permits;
mod simulation;
