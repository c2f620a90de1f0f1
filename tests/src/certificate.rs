//! A certificate that nobody but its own chain vouches for.

use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};

/// Writes `chain.pem` and `key.pem`, for these names and addresses, into a directory; says where they are.
pub fn write(directory: &Path, names: &[&str]) -> (PathBuf, PathBuf) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("names are names");
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    std::fs::write(&chain, cert.pem()).expect("the directory is there");
    std::fs::write(&key, signing_key.serialize_pem()).expect("the directory is there");
    (chain, key)
}
