//! Sizes in bytes: an integer, or a string with a unit, `"10MB"` = 10^7, `"10MiB"`.

use serde_json::Value;

/// The largest integer that every JSON reader keeps exact (RFC 8259, 6).
const MAX: u64 = (1 << 53) - 1;

/// Largest first within a base, so that printing finds the shortest form.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Up to 2^53 - 1 bytes.
pub fn parse_size(value: &Value) -> Result<u64, &'static str> {
    const RULE: &str = "a size is an integer or a string with a unit: 10485760, \"10MB\", \"10MiB\"";
    const TOO_LARGE: &str = "a size is at most 2^53 - 1 bytes";
    let size = match value {
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(size), _) => size,
            (None, Some(size)) if size < 0.0 => return Err("a size is not negative: 0 is the least"),
            (None, Some(size)) if size > MAX as f64 => return Err(TOO_LARGE),
            _ => return Err(RULE),
        },
        Value::String(text) => {
            let (number, unit) = UNITS
                .iter()
                .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
                .ok_or(RULE)?;
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(RULE);
            }
            number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(unit))
                .unwrap_or(u64::MAX)
        }
        _ => return Err(RULE),
    };
    if size <= MAX { Ok(size) } else { Err(TOO_LARGE) }
}

/// The one way to print a size: whole megabytes and more with their unit, everything else as the number of bytes.
pub fn format_size(size: u64) -> Value {
    let whole = |(_, unit): &&(&str, u64)| *unit >= 1_000_000 && size >= *unit && size.is_multiple_of(*unit);
    match UNITS.iter().find(whole) {
        Some((name, unit)) => Value::from(format!("{}{name}", size / unit)),
        None => Value::from(size),
    }
}
