//! Durations as people write them: a whole number and one unit, `"1500ms"`, `"5s"`, `"2m"`, `"1h"`.

use std::time::Duration;

/// A year: longer than anything that is waited for or remembered, and short enough that sums never overflow.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) const TOO_LONG: &str = "a duration is at most 8760h";

/// Up to a year, by whole milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const RULE: &str = "a duration is a whole number with a unit: \"1500ms\", \"5s\", \"2m\", \"1h\"";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(RULE),
    };
    if digits == 0 {
        return Err(RULE);
    }
    let duration = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit_ms))
        .map(Duration::from_millis);
    duration.filter(|duration| *duration <= MAX).ok_or(TOO_LONG)
}

/// The one way to print a duration: the largest unit that holds it whole, but `60s` for a single minute.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match () {
        _ if !ms.is_multiple_of(1_000) => format!("{ms}ms"),
        _ if ms >= 3_600_000 && ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms >= 120_000 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ => format!("{}s", ms / 1_000),
    }
}
