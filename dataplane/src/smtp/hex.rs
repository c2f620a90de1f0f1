use std::fmt::Write;

/// Lower case.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Nothing fails to be written to a string.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
