//! The HTTP path beside nginx and HAProxy: every proxy on one core, load and origin on the other, rounds interleaved.

pub mod compare;
pub mod load;
pub mod origin;
pub mod relay;
pub mod rivals;
pub mod wire;

#[cfg(test)]
mod tests;
