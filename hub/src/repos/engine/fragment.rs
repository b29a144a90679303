//! What repository metadata says of one package: its three pieces of XML, as createrepo_c writes them.
//!
//! Two things differ on purpose. Where the package is in a repo is filled in when a repo is written; and the time of the
//! file is the time of the build, so that a package has the same fragment wherever and whenever it is made.

use std::fmt::Write as _;

use farm::digest::Digest;
use rpm::IndexTag;

use super::changes::changes;
use super::deps::{Dependency, dependencies};
use super::files::{File, files, is_primary};
use super::header::Header;
use super::xml::{attribute, clean, element, is_inexpressible, text};
use crate::rpms::{Front, RpmError};

/// The three pieces of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fragment {
    /// The primary metadata up to where the package is.
    pub(super) before_href: String,
    /// The rest of it.
    pub(super) after_href: String,
    /// The list of all files.
    pub(super) filelists: String,
    /// The changelog.
    pub(super) other: String,
}

impl Fragment {
    /// Makes the fragment of the RPM that begins so, whose file has this digest and size.
    ///
    /// # Errors
    /// [`RpmError::NotRpm`], [`RpmError::ControlCharacters`].
    pub(super) fn of(front: &Front, digest: &Digest, size: u64) -> Result<Self, RpmError> {
        let header = Header::of(front)?;
        let files = files(&header)?;
        let arch = if header.is_source() { b"src" } else { header.text(IndexTag::RPMTAG_ARCH) };
        let about = About { header: &header, arch, digest, size };
        let made = Self {
            before_href: about.before_href(),
            after_href: about.after_href(&files),
            filelists: about.filelists(&files),
            other: about.other(),
        };
        let pieces = [&made.before_href, &made.after_href, &made.filelists, &made.other];
        if pieces.into_iter().any(|piece| is_inexpressible(piece)) {
            return Err(RpmError::ControlCharacters);
        }
        Ok(made)
    }
}

/// What the pieces have in common.
struct About<'a, 'b> {
    header: &'b Header<'a>,
    arch: &'a [u8],
    digest: &'b Digest,
    size: u64,
}

impl About<'_, '_> {
    fn before_href(&self) -> String {
        let mut out = String::from("<package type=\"rpm\">\n");
        let header = self.header;
        element(&mut out, "  ", "name", header.text(IndexTag::RPMTAG_NAME));
        element(&mut out, "  ", "arch", self.arch);
        self.version(&mut out);
        let digest = self.digest.as_str();
        add(&mut out, format_args!("  <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>\n"));
        element(&mut out, "  ", "summary", header.text(IndexTag::RPMTAG_SUMMARY));
        element(&mut out, "  ", "description", header.text(IndexTag::RPMTAG_DESCRIPTION));
        element(&mut out, "  ", "packager", header.text(IndexTag::RPMTAG_PACKAGER));
        element(&mut out, "  ", "url", header.text(IndexTag::RPMTAG_URL));
        let built = header.number(IndexTag::RPMTAG_BUILDTIME);
        add(&mut out, format_args!("  <time file=\"{built}\" build=\"{built}\"/>\n"));
        let (package, installed, archive) = (self.size, header.installed_size(), header.archive_size());
        add(
            &mut out,
            format_args!("  <size package=\"{package}\" installed=\"{installed}\" archive=\"{archive}\"/>\n"),
        );
        out.push_str("  <location href=\"");
        out
    }

    fn after_href(&self, files: &[File<'_>]) -> String {
        let mut out = String::from("\"/>\n  <format>\n");
        let header = self.header;
        element(&mut out, "    ", "rpm:license", header.text(IndexTag::RPMTAG_LICENSE));
        element(&mut out, "    ", "rpm:vendor", header.text(IndexTag::RPMTAG_VENDOR));
        element(&mut out, "    ", "rpm:group", header.text(IndexTag::RPMTAG_GROUP));
        element(&mut out, "    ", "rpm:buildhost", header.text(IndexTag::RPMTAG_BUILDHOST));
        element(&mut out, "    ", "rpm:sourcerpm", header.text(IndexTag::RPMTAG_SOURCERPM));
        let (start, end) = header.range;
        add(&mut out, format_args!("    <rpm:header-range start=\"{start}\" end=\"{end}\"/>\n"));
        let found = dependencies(header, files);
        list(&mut out, "rpm:provides", &found.provides);
        list(&mut out, "rpm:requires", &found.requires);
        list(&mut out, "rpm:conflicts", &found.conflicts);
        list(&mut out, "rpm:obsoletes", &found.obsoletes);
        list(&mut out, "rpm:suggests", &found.suggests);
        list(&mut out, "rpm:enhances", &found.enhances);
        list(&mut out, "rpm:recommends", &found.recommends);
        list(&mut out, "rpm:supplements", &found.supplements);
        for one in files.iter().filter(|file| is_primary(&file.path())) {
            file(&mut out, "    ", one);
        }
        out.push_str("  </format>\n</package>\n");
        out
    }

    fn filelists(&self, files: &[File<'_>]) -> String {
        let mut out = self.opening();
        for one in files {
            file(&mut out, "  ", one);
        }
        out.push_str("</package>\n");
        out
    }

    fn other(&self) -> String {
        let mut out = self.opening();
        for change in changes(self.header) {
            out.push_str("  <changelog");
            attribute(&mut out, "author", change.author);
            add(&mut out, format_args!(" date=\"{}\">", change.date));
            text(&mut out, &clean(change.text));
            out.push_str("</changelog>\n");
        }
        out.push_str("</package>\n");
        out
    }

    /// How a package begins outside the primary metadata.
    fn opening(&self) -> String {
        let mut out = String::from("<package");
        attribute(&mut out, "pkgid", self.digest.as_str().as_bytes());
        attribute(&mut out, "name", self.header.text(IndexTag::RPMTAG_NAME));
        attribute(&mut out, "arch", self.arch);
        out.push_str(">\n");
        self.version(&mut out);
        out
    }

    fn version(&self, out: &mut String) {
        add(out, format_args!("  <version epoch=\"{}\"", self.header.number(IndexTag::RPMTAG_EPOCH)));
        attribute(out, "ver", self.header.text(IndexTag::RPMTAG_VERSION));
        attribute(out, "rel", self.header.text(IndexTag::RPMTAG_RELEASE));
        out.push_str("/>\n");
    }
}

fn list(out: &mut String, name: &str, dependencies: &[Dependency<'_>]) {
    if dependencies.is_empty() {
        return;
    }
    let named = || dependencies.iter().filter(|dependency| !dependency.name.is_empty());
    if named().next().is_none() {
        add(out, format_args!("    <{name}/>\n"));
        return;
    }
    add(out, format_args!("    <{name}>\n"));
    for dependency in named() {
        out.push_str("      <rpm:entry");
        attribute(out, "name", dependency.name);
        if let Some(compare) = dependency.compare {
            attribute(out, "flags", compare.as_bytes());
            let version = dependency.version;
            for (name, value) in
                [("epoch", version.epoch), ("ver", version.version), ("rel", version.release)]
            {
                if !value.is_empty() {
                    attribute(out, name, value);
                }
            }
        }
        if dependency.pre {
            attribute(out, "pre", b"1");
        }
        out.push_str("/>\n");
    }
    add(out, format_args!("    </{name}>\n"));
}

fn file(out: &mut String, indent: &str, file: &File<'_>) {
    out.push_str(indent);
    out.push_str("<file");
    if let Some(kind) = file.kind {
        attribute(out, "type", kind.as_bytes());
    }
    out.push('>');
    text(out, &clean(&file.path()));
    out.push_str("</file>\n");
}

fn add(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(what);
}
