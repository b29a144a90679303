//! Buildroots: what exactly was installed when a build ran.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::recipe::Recipe;

/// The file an attempt uploads its buildroot's [`Lock`] as, beside its packages.
pub const LOCK_FILE: &str = "buildroot.json";
/// Bytes a lock's file may have: a hundred thousand packages.
pub const LARGEST_LOCK: u64 = 16 * 1024 * 1024;

/// Packages a lock may name.
const MOST_PACKAGES: usize = 100_000;
/// Characters a NEVRA may have.
const LONGEST_NEVRA: usize = 512;
/// What the names of packages begin with that are parts of compilers, or that compilers compute with.
const TOOLCHAIN: [&str; 11] =
    ["annobin", "binutils", "clang", "cpp", "gcc", "gmp", "isl", "libmpc", "lld", "llvm", "mpfr"];
/// How rpm writes a value that is not there.
const NONE: &str = "(none)";

/// Everything that was in a buildroot: it is made again from this, or something else is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The image, as the recipe names it.
    pub image: String,
    /// The image's content, as the container engine identifies it: `sha256:…`.
    pub image_digest: String,
    /// Every package installed on top of the image or in it, by NEVRA.
    pub packages: Vec<Installed>,
    /// Had the build at hand what earlier builds of its target had compiled (a ccache)? No part of the digests: it is not
    /// meant to change what comes out, but whoever asks where a package's bytes come from must know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ccache: bool,
}

/// One package in a buildroot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// `name-[epoch:]version-release.arch`
    pub nevra: String,
    /// SHA-256 over its immutable header, as rpm keeps it (`SHA256HEADER`); empty where the package has none.
    pub digest: String,
}

/// What a build keeps of its buildroot; the lock itself is a file of the job, [`LOCK_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RootFacts {
    /// The image, as the recipe names it.
    pub image: String,
    /// The image's content, as the container engine identifies it.
    pub image_digest: String,
    /// [`Lock::digest`] of what was installed.
    pub lock: Digest,
    /// [`input_digest`]: two builds with the same one had the same input.
    pub input: Digest,
    /// [`Lock::ccache`].
    #[serde(default)]
    pub ccache: bool,
}

/// Why something is not a lock, or not the one it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockFault {
    /// It is not written as one.
    #[error("it is not a buildroot's lock: {0}")]
    NotOne(String),
    /// It is of another image than the recipe's.
    #[error("it is of the image `{found}`, but the recipe's is `{expected}`")]
    OtherImage {
        /// What it names.
        found: String,
        /// What it should name.
        expected: String,
    },
    /// The image's content is not named by a digest.
    #[error("`{0}` is not the digest of an image: expected sha256: and 64 hexadecimal digits")]
    NoDigest(String),
    /// A package in it has no name or digest that rpm could have said.
    #[error("`{0}` is not an installed package with its digest")]
    NoPackage(String),
    /// There are too many packages in it.
    #[error("it names {0} packages, more than {MOST_PACKAGES}")]
    TooMany(usize),
    /// There is no package in it: no root is empty.
    #[error("it names no package")]
    Empty,
    /// There was a ccache where there must be none.
    #[error("it says that there was a ccache, which the recipe does not allow")]
    Ccache,
}

/// What has changed from one buildroot to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LockDiff {
    /// The digests of the images, if they differ: of the first and of the other.
    pub images: Option<(String, String)>,
    /// In the other only.
    pub added: Vec<String>,
    /// In the first only.
    pub removed: Vec<String>,
    /// In both under the same name, but with another content.
    pub rebuilt: Vec<String>,
}

impl Lock {
    /// Makes a lock of what `rpm --query --all` lists, a line `NEVRA SHA256HEADER` for each package, in any order.
    ///
    /// # Errors
    /// [`LockFault`]
    pub fn of_listing(recipe: &Recipe, image_digest: &str, listing: &str) -> Result<Self, LockFault> {
        let mut packages = Vec::new();
        for line in listing.lines() {
            let (nevra, digest) = line.split_once(' ').ok_or_else(|| LockFault::NoPackage(shown(line)))?;
            // What is no package of anybody's, such as a key, has no architecture.
            let nevra = nevra.trim_end_matches(&format!(".{NONE}")).to_owned();
            let digest = if digest == NONE { String::new() } else { digest.to_owned() };
            packages.push(Installed { nevra, digest });
        }
        packages.sort();
        packages.dedup();
        let (image, image_digest) = (recipe.image.clone(), image_digest.to_owned());
        let lock = Self { image, image_digest, packages, ccache: false };
        lock.check(recipe)?;
        Ok(lock)
    }

    /// Reads what a builder has uploaded as the lock of this recipe's buildroot. Nothing in it is believed but what can
    /// be checked: its form, and that it is of the image the recipe names.
    ///
    /// # Errors
    /// [`LockFault`]
    pub fn read(recipe: &Recipe, bytes: &[u8]) -> Result<Self, LockFault> {
        let lock: Self =
            serde_json::from_slice(bytes).map_err(|error| LockFault::NotOne(error.to_string()))?;
        lock.check(recipe)?;
        Ok(lock)
    }

    fn check(&self, recipe: &Recipe) -> Result<(), LockFault> {
        let Self { image, image_digest, packages, ccache } = self;
        if *image != recipe.image {
            return Err(LockFault::OtherImage { found: shown(image), expected: recipe.image.clone() });
        }
        if !image_digest.strip_prefix("sha256:").is_some_and(is_sha256) {
            return Err(LockFault::NoDigest(shown(image_digest)));
        }
        if packages.is_empty() {
            return Err(LockFault::Empty);
        }
        if *ccache && recipe.ccache_mb() == 0 {
            return Err(LockFault::Ccache);
        }
        if packages.len() > MOST_PACKAGES {
            return Err(LockFault::TooMany(packages.len()));
        }
        match packages.iter().find(|package| !package.is_sane()) {
            Some(bad) => Err(LockFault::NoPackage(shown(&format!("{} {}", bad.nevra, bad.digest)))),
            None => Ok(()),
        }
    }

    /// The digest of image and packages, whatever order they were listed in.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut packages: Vec<String> =
            self.packages.iter().map(|Installed { nevra, digest }| format!("{nevra} {digest}\n")).collect();
        packages.sort();
        packages.dedup();
        Digest::of(format!("{}\n{}", self.image_digest, packages.concat()).as_bytes())
    }

    /// The digest of what compiles in it: the image, and every package that looks like a part of a compiler. What was compiled
    /// elsewhere is as good as what is compiled here only where this is the same; ccache itself looks at the compiler's driver
    /// and at what it reads of sources, headers and plugins, but not at the programs that the driver starts.
    #[must_use]
    pub fn toolchain(&self) -> Digest {
        let compiles = |package: &&Installed| TOOLCHAIN.iter().any(|name| package.nevra.starts_with(name));
        let mut packages: Vec<String> = self
            .packages
            .iter()
            .filter(compiles)
            .map(|Installed { nevra, digest }| format!("{nevra} {digest}\n"))
            .collect();
        packages.sort();
        Digest::of(format!("{}\n{}", self.image_digest, packages.concat()).as_bytes())
    }

    /// What is different in `other`.
    #[must_use]
    pub fn diff(&self, other: &Lock) -> LockDiff {
        let by_name = |lock: &Lock| -> BTreeMap<String, String> {
            lock.packages.iter().map(|package| (package.nevra.clone(), package.digest.clone())).collect()
        };
        let (ours, theirs) = (by_name(self), by_name(other));
        let only = |one: &BTreeMap<String, String>, two: &BTreeMap<String, String>| -> Vec<String> {
            one.keys().filter(|name| !two.contains_key(*name)).cloned().collect()
        };
        let rebuilt =
            ours.iter().filter(|(name, digest)| theirs.get(*name).is_some_and(|other| other != *digest));
        LockDiff {
            images: (self.image_digest != other.image_digest)
                .then(|| (self.image_digest.clone(), other.image_digest.clone())),
            added: only(&theirs, &ours),
            removed: only(&ours, &theirs),
            rebuilt: rebuilt.map(|(name, _)| name.clone()).collect(),
        }
    }
}

impl LockDiff {
    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Installed {
    /// Could rpm have said this?
    fn is_sane(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~^:-".contains(&byte);
        (1..=LONGEST_NEVRA).contains(&self.nevra.len())
            && self.nevra.bytes().all(plain)
            && self.nevra.contains('-')
            && (self.digest.is_empty() || is_sha256(&self.digest))
    }
}

/// 64 hexadecimal digits, as rpm and container engines write them.
fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What of a stranger's text is repeated to people.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// The digest of everything that went into a build: the source RPM, the buildroot, and what of the recipe reaches the build
/// (macros and limits; not where the packages came from, which the lock says better).
#[must_use]
pub fn input_digest(source: &Digest, lock: &Lock, recipe: &Recipe) -> Digest {
    let told = serde_json::json!({
        "source": source, "lock": lock.digest(), "arch": recipe.arch, "macros": recipe.macros, "limits": recipe.limits,
    });
    Digest::of(told.to_string().as_bytes())
}
