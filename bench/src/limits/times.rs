//! When requests were admitted, held against what their limit permits.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long before a fixed period begins what comes is counted for it. Who offers more than it may has nothing left then.
const EARLY: Duration = Duration::from_millis(30);

/// By lane and token.
pub type Times = BTreeMap<(usize, usize), Vec<Instant>>;

/// When each admitted request was sent and its answer heard, by lane and token.
pub type Spans = BTreeMap<(usize, usize), Vec<(Instant, Instant)>>;

/// The most that were admitted within one interval as long as `period` whatever delayed them on their way: sent and
/// answered in it. No answer takes as long as a period.
pub fn most_surely(spans: &[(Instant, Instant)], period: Duration) -> usize {
    let mut sent: Vec<Instant> = spans.iter().map(|(sent, _)| *sent).collect();
    let mut heard: Vec<Instant> = spans.iter().map(|(_, heard)| *heard).collect();
    sent.sort();
    heard.sort();
    let within = sent.iter().enumerate().map(|(before, sent)| {
        let answered = heard.partition_point(|heard| heard.duration_since(*sent) < period);
        answered.saturating_sub(before)
    });
    within.max().unwrap_or(0)
}

/// The most in any interval as long as `period`. `times` in order.
pub fn most(times: &[Instant], period: Duration) -> usize {
    let (mut first, mut most) = (0, 0);
    for (last, at) in times.iter().enumerate() {
        while at.duration_since(times[first]) >= period {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// The longest time in which none was admitted.
pub fn gap(times: &[Instant]) -> Duration {
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

/// Which of the offered requests one log of all would admit: each before which the period had less than the threshold.
fn permitted(offered: &[Instant], threshold: usize, period: Duration) -> Vec<Instant> {
    let mut log = VecDeque::new();
    let admits = |at: &&Instant| {
        while log.front().is_some_and(|first| at.duration_since(*first) >= period) {
            log.pop_front();
        }
        let admitted = log.len() < threshold;
        if admitted {
            log.push_back(**at);
        }
        admitted
    };
    offered.iter().filter(admits).copied().collect()
}

/// How much was admitted of what the limit permits of these requests. Where whole thresholds were: in how much time the
/// same number could have been, so that it does not matter which part of a period was the last.
pub fn admitted_of_permitted(admitted: &[Instant], offered: &[Instant], threshold: u64, period: Duration) -> f64 {
    let threshold = threshold as usize;
    let permitted = permitted(offered, threshold, period);
    let whole = (admitted.len().min(permitted.len()).saturating_sub(1)) / threshold * threshold;
    if whole == 0 {
        return admitted.len() as f64 / permitted.len().max(1) as f64;
    }
    let until = |times: &[Instant]| (times[whole] - times[0]).as_secs_f64();
    until(&permitted) / until(admitted)
}

/// How many came in each fixed period; these begin at multiples of themselves by the wall clock.
fn by_window(times: &[Instant], period: Duration) -> BTreeMap<u128, usize> {
    let (now, wall) = (
        Instant::now(),
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    );
    let mut windows = BTreeMap::new();
    for at in times {
        let at = (wall + EARLY).saturating_sub(now.saturating_duration_since(*at));
        *windows.entry(at.as_nanos() / period.as_nanos()).or_default() += 1;
    }
    windows
}

/// The most in a fixed period, and how much was admitted of what it permits of these requests, in all but the first and
/// the last; `NaN` where there were no others.
pub fn in_windows(admitted: &[Instant], offered: &[Instant], threshold: u64, period: Duration) -> (usize, f64) {
    let (admitted, offered) = (by_window(admitted, period), by_window(offered, period));
    let most = admitted.values().max().copied().unwrap_or(0);
    let (mut of, mut permitted) = (0, 0);
    let whole = offered.len().saturating_sub(2);
    for (window, offered) in offered.iter().skip(1).take(whole) {
        of += admitted.get(window).copied().unwrap_or(0);
        permitted += (*offered).min(threshold as usize);
    }
    (most, of as f64 / permitted as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begin: Instant, millis: impl IntoIterator<Item = u64>) -> Vec<Instant> {
        let at = |ms| begin + Duration::from_millis(ms);
        millis.into_iter().map(at).collect()
    }

    const PERIOD: Duration = Duration::from_millis(10);

    #[test]
    fn intervals_end_before_they_are_as_long_as_the_period() {
        let begin = Instant::now();
        assert_eq!(most(&[], PERIOD), 0);
        assert_eq!(most(&at(begin, [0, 9, 10, 11, 25]), PERIOD), 3);
        assert_eq!(most(&at(begin, [0, 10, 20]), PERIOD), 1);
        assert_eq!(gap(&at(begin, [0, 9, 10, 11, 25])), Duration::from_millis(14));
    }

    #[test]
    fn what_was_late_is_not_surely_in_an_interval() {
        let begin = Instant::now();
        let span = |sent, heard| {
            (
                begin + Duration::from_millis(sent),
                begin + Duration::from_millis(heard),
            )
        };
        let spans = [span(0, 1), span(1, 12), span(9, 9), span(12, 13)];
        assert_eq!(most_surely(&spans, PERIOD), 2);
        assert_eq!(most_surely(&spans[..2], PERIOD), 1);
        assert_eq!(most_surely(&[], PERIOD), 0);
    }

    #[test]
    fn one_log_admits_all_that_is_permitted() {
        let begin = Instant::now();
        let offered = at(begin, 0..40);
        let permitted = permitted(&offered, 3, PERIOD);
        assert_eq!(permitted, at(begin, [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]));
        assert_eq!(admitted_of_permitted(&permitted, &offered, 3, PERIOD), 1.0);
        // One period as long as that, but for the wait of one more at each end.
        let late = at(begin, [0, 1, 2, 11, 12, 13, 22, 23, 24, 33, 34, 35]);
        assert_eq!(admitted_of_permitted(&late, &offered, 3, PERIOD), 30.0 / 33.0);
        assert_eq!(admitted_of_permitted(&late[..1], &offered, 100, PERIOD), 1.0 / 40.0);
    }

    #[test]
    fn fixed_periods_are_counted_but_for_the_first_and_the_last() {
        let (now, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let second = Duration::from_secs(1);
        let into = Duration::from_nanos((wall.as_nanos() % second.as_nanos()) as u64);
        // The middle of a period, three before this one.
        let begin = now - into - 3 * second + second / 2;
        let offered = at(begin, (0..30).map(|n| n * 100));
        let admitted: Vec<Instant> = [&offered[..3], &offered[5..8], &offered[15..17]].concat();
        assert_eq!(in_windows(&admitted, &offered, 3, second), (3, 5.0 / 6.0));
        assert!(in_windows(&admitted, &offered[..12], 3, second).1.is_nan());
    }
}
