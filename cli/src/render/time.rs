//! Moments and spans, the way people say them.

use std::time::Duration;

use farm::stamp::Stamp;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// After this many days the date says more than the distance.
const DAYS_COUNTED: u64 = 30;

/// `3 min ago`; the date when it is long ago.
#[must_use]
pub fn ago(then: Stamp, now: Stamp) -> String {
    let seconds = (now - then).as_secs();
    match seconds {
        0..10 => "just now".to_owned(),
        10..MINUTE => format!("{seconds} s ago"),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        _ if seconds < DAYS_COUNTED * DAY => format!("{} d ago", seconds / DAY),
        _ => moment(then).map_or_else(String::new, |then| then.strftime("%Y-%m-%d").to_string()),
    }
}

/// `in 7 d`. It is rounded, so that a week is one a moment later, too.
#[must_use]
pub fn ahead(then: Stamp, now: Stamp) -> String {
    let seconds = (then - now).as_secs();
    let rounded = |unit: u64| (seconds + unit / 2) / unit;
    let (count, unit) = [(rounded(DAY), "d"), (rounded(HOUR), "h"), (rounded(MINUTE), "min")]
        .into_iter()
        .find(|(count, _)| *count > 1)
        .unwrap_or((seconds, "s"));
    format!("in {count} {unit}")
}

/// `expires 2026-06-08 14:03 (in 7 d)`, or `expired 3 d ago`: the word, and when.
#[must_use]
pub fn expiry(expires: Stamp, now: Stamp) -> (&'static str, String) {
    if expires <= now {
        return ("expired", ago(expires, now));
    }
    let day = moment(expires).map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M").to_string());
    ("expires", format!("{day} ({})", ahead(expires, now)))
}

/// `1 min 12 s`
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min {} s", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{} h {} min", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{} d {} h", seconds / DAY, seconds % DAY / HOUR),
    }
}

/// The wall clock where the person is: `14:03:59`.
#[must_use]
pub fn clock(at: Stamp) -> String {
    moment(at).map_or_else(String::new, |at| at.strftime("%H:%M:%S").to_string())
}

fn moment(at: Stamp) -> Option<jiff::Zoned> {
    Timestamp::from_millisecond(at.millis()).ok().map(|at| at.to_zoned(TimeZone::system()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_read_like_speech() {
        let now = Stamp::from_millis(1_700_000_000_000);
        let before = |seconds: i64| Stamp::from_millis(now.millis() - seconds * 1000);
        for (seconds, expected) in [
            (0, "just now"),
            (42, "42 s ago"),
            (200, "3 min ago"),
            (2 * 3600 + 5, "2 h ago"),
            (3 * 86_400, "3 d ago"),
        ] {
            assert_eq!(ago(before(seconds), now), expected);
        }
        assert!(ago(before(400 * 86_400), now).starts_with("2022-10-1"));
        assert_eq!(ago(now + Duration::from_secs(60), now), "just now");
        for (seconds, expected) in [
            (5, "in 5 s"),
            (200, "in 3 min"),
            (2 * 3600 - 5, "in 2 h"),
            (7 * 86_400, "in 7 d"),
            (7 * 86_400 - 90, "in 7 d"),
            (40 * 86_400, "in 40 d"),
        ] {
            assert_eq!(ahead(now + Duration::from_secs(seconds), now), expected);
        }
        let (word, when) = expiry(now + Duration::from_secs(7 * 86_400), now);
        assert!(word == "expires" && when.starts_with("2023-11-2") && when.ends_with(" (in 7 d)"), "{when}");
        assert_eq!(expiry(now, now), ("expired", "just now".to_owned()));
        assert_eq!(expiry(before(3 * 86_400), now), ("expired", "3 d ago".to_owned()));
        for (seconds, expected) in [(5, "5 s"), (72, "1 min 12 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }
}
