//! Versions and ranges of versions, as the distribution's package manager compares them.

use std::cmp::Ordering;

use rpm_version::Evr as RpmEvr;

/// Which side of a version a range takes in: any sum of [`LESS`], [`EQUAL`] and [`GREATER`]; 0 says no version at all.
pub(super) type Sense = u8;
/// Older versions.
pub(super) const LESS: Sense = 1;
/// The version itself.
pub(super) const EQUAL: Sense = 2;
/// Newer versions.
pub(super) const GREATER: Sense = 4;

/// Epoch, version and release; the release is empty where a range does not say one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Evr<'a> {
    pub(super) epoch: &'a str,
    pub(super) version: &'a str,
    pub(super) release: &'a str,
}

impl<'a> Evr<'a> {
    /// Reads `[epoch:]version[-release]`.
    pub(super) fn parse(text: &'a str) -> Self {
        let (epoch, version, release) = RpmEvr::parse_values(text);
        Self { epoch, version, release }
    }

    /// Which of two packages is newer.
    pub(super) fn compare(self, other: Evr<'_>) -> Ordering {
        self.upstream(other).then_with(|| vercmp(self.release, other.release))
    }

    fn upstream(self, other: Evr<'_>) -> Ordering {
        RpmEvr::new(self.epoch, self.version, "").cmp(&RpmEvr::new(other.epoch, other.version, ""))
    }

    /// As people write it.
    pub(super) fn written(self) -> String {
        let mut text = String::new();
        if !self.epoch.is_empty() && self.epoch != "0" {
            text.push_str(self.epoch);
            text.push(':');
        }
        text.push_str(self.version);
        if !self.release.is_empty() {
            text.push('-');
            text.push_str(self.release);
        }
        text
    }
}

fn vercmp(one: &str, other: &str) -> Ordering {
    RpmEvr::new("", one, "").cmp(&RpmEvr::new("", other, ""))
}

/// A range: what is provided, or what is wanted. Without a version it is every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Range<'a> {
    pub(super) sense: Sense,
    pub(super) evr: Evr<'a>,
}

impl<'a> Range<'a> {
    /// Every version.
    pub(super) const ANY: Range<'static> =
        Range { sense: 0, evr: Evr { epoch: "", version: "", release: "" } };

    /// Exactly this one.
    pub(super) fn exactly(evr: Evr<'a>) -> Self {
        Self { sense: EQUAL, evr }
    }

    /// Does what is provided meet what is wanted? A side that says no release takes in every release of its version, if it
    /// takes in the version itself: this is how libsolv decides, which differs from rpm only where a provide without a
    /// release meets a range that has one.
    pub(super) fn meets(self, wanted: Range<'_>) -> bool {
        if self.sense == 0 || wanted.sense == 0 || self.sense & wanted.sense & (LESS | GREATER) != 0 {
            return true;
        }
        let releases = || match (self.evr.release.is_empty(), wanted.evr.release.is_empty()) {
            (true, true) => Some(Ordering::Equal),
            (false, false) => Some(vercmp(self.evr.release, wanted.evr.release)),
            (true, false) | (false, true) => None,
        };
        let order = match self.evr.upstream(wanted.evr) {
            Ordering::Equal => releases(),
            unequal => Some(unequal),
        };
        match order {
            Some(Ordering::Less) => wanted.sense & LESS != 0 || self.sense & GREATER != 0,
            Some(Ordering::Equal) => self.sense & wanted.sense & EQUAL != 0,
            Some(Ordering::Greater) => wanted.sense & GREATER != 0 || self.sense & LESS != 0,
            None if self.evr.release.is_empty() => self.sense & EQUAL != 0,
            None => wanted.sense & EQUAL != 0,
        }
    }

    /// As specs write it, with a space before: ` >= 1.2`. Nothing for every version.
    pub(super) fn written(self) -> String {
        let sign = match self.sense {
            LESS => "<",
            EQUAL => "=",
            GREATER => ">",
            3 => "<=",
            6 => ">=",
            5 => "<>",
            _ => return String::new(),
        };
        format!(" {sign} {}", self.evr.written())
    }
}

/// The sense of a sign in a spec.
pub(super) fn sense_of_sign(sign: &str) -> Option<Sense> {
    Some(match sign {
        "<" => LESS,
        "=" | "==" => EQUAL,
        ">" => GREATER,
        "<=" | "=<" => LESS | EQUAL,
        ">=" | "=>" => GREATER | EQUAL,
        "<>" => LESS | GREATER,
        _ => return None,
    })
}

/// The sense of `flags` in repository metadata.
pub(super) fn sense_of_flags(flags: &str) -> Option<Sense> {
    Some(match flags {
        "LT" => LESS,
        "EQ" => EQUAL,
        "GT" => GREATER,
        "LE" => LESS | EQUAL,
        "GE" => GREATER | EQUAL,
        "NE" => LESS | GREATER,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range<'_> {
        text.split_once(' ').map_or(Range::ANY, |(sign, evr)| Range {
            sense: sense_of_sign(sign).unwrap(),
            evr: Evr::parse(evr),
        })
    }

    #[test]
    fn ranges_meet_as_libsolv_says() {
        // What is provided, what is wanted; the answers were asked of hawkey.
        for (provided, wanted, answer) in [
            ("", ">= 5", true),
            ("= 1", "", true),
            ("= 1", "> 1-3", true),
            ("= 1", "= 1-3", true),
            ("= 1", "< 1-3", true),
            ("= 1-3", "> 1", false),
            ("= 1-3", "= 1", true),
            ("= 1-3", ">= 1", true),
            ("= 1-3", "< 1", false),
            ("= 1-3", "<= 1-3", true),
            ("= 1-3", "< 1-3", false),
            ("= 1:1-3", "< 2", false),
            ("= 1.0~rc1-1", "< 1.0", true),
            ("= 1.0^git1-1", "> 1.0", true),
            ("< 3", "< 1", true),
            ("< 3", "= 3", false),
            ("<= 3", "= 3", true),
            ("> 3", "< 3", false),
        ] {
            assert_eq!(range(provided).meets(range(wanted)), answer, "{provided:?} meets {wanted:?}");
        }
    }
}
