//! Spans of time as people say them.

use std::time::Duration;

/// `42 s`, `7 min`, `3 h`, `2 days`: in the largest unit of which there are at least two, rounded down.
#[must_use]
pub fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_the_largest_unit_that_fits_twice() {
        let said = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|s| span(Duration::from_secs(s)));
        assert_eq!(said, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
    }
}
