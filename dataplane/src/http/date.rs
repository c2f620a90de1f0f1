//! The `Date` of answers (RFC 9110, 6.6.1), made once a second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
use tokio::time::Instant;

thread_local! {
    static DATE: RefCell<Option<Date>> = const { RefCell::new(None) };
}

struct Date {
    text: String,
    /// The second ends here.
    until: Instant,
}

/// As a field's line.
pub fn write(now: Instant, out: &mut Vec<u8>) {
    DATE.with_borrow_mut(|date| {
        let date = match date {
            Some(date) if now < date.until => date,
            date => date.insert(made(now, SystemTime::now())),
        };
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date.text.as_bytes());
        out.extend_from_slice(b"\r\n");
    });
}

fn made(now: Instant, time: SystemTime) -> Date {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Date {
        text: HttpDate::from(time).to_string(),
        until: now + (Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_for_a_second() {
        let now = Instant::now();
        let date = made(now, UNIX_EPOCH + Duration::from_millis(784_111_777_600));
        assert_eq!(date.text, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.until, now + Duration::from_millis(400));

        let mut out = Vec::new();
        write(now, &mut out);
        let length = out.len();
        write(now, &mut out);
        assert_eq!(out[..length], out[length..]);
        assert_eq!(&out[..6], b"date: ");
    }
}
