//! Stories of a client, the proxy and its origins, told byte by byte over loopback.

mod authorizing;
mod bodies;
mod ending;
mod failing;
mod forwarding;
mod holding;
mod patience;
mod queueing;
mod refusing;
mod stage;
mod switching;
