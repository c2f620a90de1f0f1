//! What outlives this life of the proxy: whether standby was used.

use shared::quota::proxy::Input;

use super::Limiter;

impl Limiter {
    /// Whether the next life is to find a mark, once that is to be changed: that this one used no standby. Until it is told to be
    /// done, durably, there is none to be used.
    pub async fn to_mark(&self) -> bool {
        loop {
            if let Some(is_set) = self.lock().to_mark {
                return is_set;
            }
            self.marking.notified().await;
        }
    }

    pub fn marked(&self, is_set: bool) {
        let mut inner = self.lock();
        inner.to_mark.take_if(|wanted| *wanted == is_set);
        inner.handle(self, Input::Marked(is_set));
    }
}
