//! Where a repo outside is, and whether it may be read.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use farm::arch::Arch;
use farm::digest::Digest;
use url::Url;

/// Where a repo is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In this folder, all links resolved.
    Folder(PathBuf),
    /// At this address, with a slash at the end.
    Web(Url),
}

impl Place {
    /// Where dnf's `baseurl` points to for an architecture.
    ///
    /// # Errors
    /// A sentence, when it must not be read.
    pub(super) fn of(baseurl: &str, arch: Arch, file_repos: &[PathBuf]) -> Result<Self, String> {
        let address = baseurl.replace("$basearch", arch.as_str());
        if address.contains('$') {
            return Err(format!("the address {baseurl} has a variable that is not $basearch"));
        }
        if let Some(path) = address.strip_prefix("file://") {
            let real = Path::new(path)
                .canonicalize()
                .map_err(|error| format!("cannot read the repo {path}: {error}"))?;
            let within = |root: &PathBuf| root.canonicalize().is_ok_and(|root| real.starts_with(root));
            return if file_repos.iter().any(within) {
                Ok(Place::Folder(real))
            } else {
                Err(format!("this hub is not configured to read the repo {path} (file_repos)"))
            };
        }
        let mut url =
            Url::parse(&address).map_err(|error| format!("the address {baseurl} is none: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(format!(
                "no repo can be read from {baseurl}: it begins with none of file, http and https"
            ));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Place::Web(url))
    }

    /// A name for it that is a file name.
    pub(super) fn key(&self) -> String {
        let address = match self {
            Place::Folder(path) => path.display().to_string(),
            Place::Web(url) => url.to_string(),
        };
        Digest::of(address.as_bytes()).short().to_owned()
    }

    /// The file at `href`, which still lies in the folder when links are followed.
    pub(super) fn file(folder: &Path, href: &str) -> io::Result<File> {
        let real = folder.join(href).canonicalize()?;
        if !real.starts_with(folder) {
            return Err(io::Error::other(format!("{href} leads out of the repo")));
        }
        File::open(real)
    }
}
