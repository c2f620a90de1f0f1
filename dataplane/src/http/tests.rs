//! Stories of a client, the proxy and its origins, told byte by byte over loopback.

mod asking;
mod astray;
mod authorizing;
mod bodies;
mod breaking;
mod ending;
mod failing;
mod forwarding;
mod holding;
mod keeping;
mod limiting;
mod patience;
mod proving;
mod queueing;
mod refusing;
mod replying;
mod revoking;
mod stage;
mod switching;
