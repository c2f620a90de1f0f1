//! Snapshots of any bytes: within its limits, refused or understood, and what is understood is written as it was read.

use shared::snapshot::{self, Limits, Scope};
use shared::state::State;

const LIMITS: Limits = Limits {
    bytes: 64 << 10,
    objects: 64,
    line_bytes: 8 << 10,
};

/// As they are, and as what a compressor made of them: no fuzzer finds its way through compression.
pub fn check(data: &[u8]) {
    read(data);
    let packed = zstd::encode_all(data, 1).expect("memory");
    read(&packed);
    // A little that unpacks to a lot is left as soon as it is too much.
    if let [byte] = data {
        let bomb = zstd::encode_all(&vec![*byte; 8 << 20][..], 1).expect("memory");
        assert!(snapshot::read(&bomb[..], LIMITS).is_err());
    }
}

fn read(bytes: &[u8]) -> Option<State> {
    let state = match snapshot::read(bytes, LIMITS) {
        Ok(state) => state,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    assert!(state.objects.len() as u64 <= LIMITS.objects);
    assert!(state.configured <= state.revision);
    let mut written = Vec::new();
    snapshot::write(&state, Scope::Whole, &mut written).expect("memory");
    let again = snapshot::read(&written[..], Limits::default()).expect("what was written is read");
    assert_eq!(
        (again.epoch, again.revision, again.configured),
        (state.epoch, state.revision, state.configured)
    );
    assert_eq!((again.digest, &again.objects), (state.digest, &state.objects));
    Some(state)
}
