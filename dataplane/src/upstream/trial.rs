//! Trying whether an upstream that was set aside is well again.

use std::sync::Arc;

use super::endpoint::Endpoint;

/// One request tries an upstream that is in doubt, until this is dropped: when its answer has begun, or it has failed.
/// Others stay away meanwhile, unless they have nothing else.
pub struct Trial(Arc<Endpoint>);

/// It is being tried by as many as may.
#[derive(Debug, PartialEq, Eq)]
pub struct Crowded;

impl Trial {
    /// None where nothing is in doubt. `is_alone`: only if nobody else tries it.
    pub fn begin(endpoint: &Arc<Endpoint>, is_alone: bool) -> Result<Option<Trial>, Crowded> {
        let health = endpoint.health();
        if health.doubt().is_none() {
            return Ok(None);
        }
        match health.begin_trial(is_alone) {
            true => Ok(Some(Trial(endpoint.clone()))),
            false => Err(Crowded),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.health().end_trial();
    }
}
