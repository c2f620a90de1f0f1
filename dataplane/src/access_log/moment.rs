//! Times as logs tell them: UTC, by the calendar of Gregory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

pub(super) struct Moment {
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    second_of_day: u64,
    millis: u32,
}

impl From<SystemTime> for Moment {
    /// Whatever is before 1970 is 1970.
    fn from(at: SystemTime) -> Moment {
        let since: Duration = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March, and so
        // end with the day that some of them have more.
        let days = since.as_secs() / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Moment {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            second_of_day: since.as_secs() % 86_400,
            millis: since.subsec_millis(),
        }
    }
}

impl Moment {
    /// `2026-11-26T06:28:08.123Z` (RFC 3339)
    pub fn internet(&self) -> String {
        let Moment {
            year,
            month,
            day,
            millis,
            ..
        } = self;
        let (hour, minute, second) = self.time();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }

    /// `26/Nov/2026:06:28:08 +0000`
    pub fn common(&self) -> String {
        let Moment { year, month, day, .. } = self;
        let month = MONTHS.get(*month as usize - 1).copied().unwrap_or_default();
        let (hour, minute, second) = self.time();
        format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
    }

    fn time(&self) -> (u64, u64, u64) {
        let second = self.second_of_day;
        (second / 3_600, second / 60 % 60, second % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_names() {
        for (seconds, internet, common) in [
            (0, "1970-01-01T00:00:00.007Z", "01/Jan/1970:00:00:00 +0000"),
            (951_827_696, "2000-02-29T12:34:56.007Z", "29/Feb/2000:12:34:56 +0000"),
            (1_795_674_488, "2026-11-26T06:28:08.007Z", "26/Nov/2026:06:28:08 +0000"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z", "28/Feb/2100:23:59:59 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            let moment = Moment::from(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7));
            assert_eq!(moment.internet(), internet);
            assert_eq!(moment.common(), common);
        }
    }
}
