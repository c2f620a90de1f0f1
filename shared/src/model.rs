//! The domain: services and upstreams, already validated.
