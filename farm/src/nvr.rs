//! Names of packages: NVR, EVR and NEVRA, and how the distribution orders versions.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Name, version and release: what a build is called. Written `name-version-release`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nvr {
    /// The package's name, which may itself contain hyphens.
    pub name: String,
    /// The upstream version; never contains a hyphen.
    pub version: String,
    /// The packager's release; never contains a hyphen.
    pub release: String,
}

/// A text that cannot be taken apart into name, version and release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an NVR: expected name-version-release, such as hello-2.10-1.el9s")]
pub struct BadNvr(pub String);

impl FromStr for Nvr {
    type Err = BadNvr;
    fn from_str(text: &str) -> Result<Self, BadNvr> {
        let bad = || BadNvr(text.chars().take(200).collect());
        let mut parts = text.rsplitn(3, '-');
        let (release, version, name) = (parts.next(), parts.next(), parts.next());
        let (Some(release), Some(version), Some(name)) = (release, version, name) else { return Err(bad()) };
        if !is_package_name(name) || !is_version_part(version) || !is_version_part(release) {
            return Err(bad());
        }
        Ok(Nvr { name: name.into(), version: version.into(), release: release.into() })
    }
}
impl fmt::Display for Nvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.name, self.version, self.release)
    }
}
impl TryFrom<String> for Nvr {
    type Error = BadNvr;
    fn try_from(text: String) -> Result<Self, BadNvr> {
        text.parse()
    }
}
impl From<Nvr> for String {
    fn from(nvr: Nvr) -> String {
        nvr.to_string()
    }
}

/// Is this a package name rpm would accept, and safe as a path segment?
#[must_use]
pub fn is_package_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c))
}

/// Is this a version or a release rpm would accept, and safe as a path segment?
#[must_use]
pub fn is_version_part(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.+~^".contains(c))
}

/// Epoch, version and release, ordered as rpm orders them (`rpmvercmp`, with `~` before and `^` after).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Evr {
    /// The epoch; a package without one has 0.
    pub epoch: u32,
    /// The version.
    pub version: String,
    /// The release.
    pub release: String,
}

impl Evr {
    fn as_rpm(&self) -> rpm_version::Evr<'_> {
        let epoch = std::borrow::Cow::from(self.epoch.to_string());
        rpm_version::Evr::new(epoch, self.version.as_str().into(), self.release.as_str().into())
    }
}

impl Ord for Evr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_rpm().cmp(&other.as_rpm())
    }
}
impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One RPM's full name. `arch` is `src` for a source package and may be `noarch`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Nevra {
    /// The package's name.
    pub name: String,
    /// The epoch; 0 when the package has none.
    pub epoch: u32,
    /// The version.
    pub version: String,
    /// The release.
    pub release: String,
    /// `x86_64`, `noarch`, `src`, …
    pub arch: String,
}

impl Nevra {
    /// The file name the package has in a repo: `name-version-release.arch.rpm`, without the epoch.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch)
    }

    /// What dnf compares.
    #[must_use]
    pub fn evr(&self) -> Evr {
        Evr { epoch: self.epoch, version: self.version.clone(), release: self.release.clone() }
    }

    /// Is every part of it well-formed, so that it may become a file name?
    #[must_use]
    pub fn is_sound(&self) -> bool {
        is_package_name(&self.name)
            && is_version_part(&self.version)
            && is_version_part(&self.release)
            && (1..=32).contains(&self.arch.len())
            && self.arch.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch > 0 {
            write!(f, "{}-{}:{}-{}.{}", self.name, self.epoch, self.version, self.release, self.arch)
        } else {
            write!(f, "{}-{}-{}.{}", self.name, self.version, self.release, self.arch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nvr_is_taken_apart_from_the_right() {
        let nvr: Nvr = "perl-JSON-XS-4.03-5.el9s".parse().unwrap();
        assert_eq!((&*nvr.name, &*nvr.version, &*nvr.release), ("perl-JSON-XS", "4.03", "5.el9s"));
        assert_eq!(nvr.to_string(), "perl-JSON-XS-4.03-5.el9s");
    }

    #[test]
    fn what_could_leave_its_folder_is_no_nvr() {
        for text in ["hello", "hello-1", "../x-1-1", "a/b-1-1", "x-../1-1", "-1-1", "x-1-", ""] {
            assert!(text.parse::<Nvr>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_as_rpm_orders_them() {
        let evr = |epoch, version: &str, release: &str| Evr {
            epoch,
            version: version.into(),
            release: release.into(),
        };
        assert!(evr(0, "1.10", "1") > evr(0, "1.9", "1"));
        assert!(evr(1, "1.0", "1") > evr(0, "9.0", "1"));
        assert!(evr(0, "1.0~rc1", "1") < evr(0, "1.0", "1"));
        assert!(evr(0, "1.0^git1", "1") > evr(0, "1.0", "1"));
        assert!(evr(0, "1.0", "10.el9s") > evr(0, "1.0", "9.el9s"));
    }
}
