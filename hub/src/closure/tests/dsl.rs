//! A universe as a few lines of text:
//!
//! ```text
//! base:
//!   glibc-1 provides libc = 2.34; files /usr/bin/ldd
//! live:
//!   app-1 requires libc >= 2, (a if b)
//! candidate:
//!   app-2-3.noarch requires libc; conflicts other; obsoletes old < 2
//! ```
//!
//! `base` is there before and after, below the others; `live` before, `candidate` after.

use std::fmt::Write as _;
use std::io::Read;
use std::sync::Arc;

use farm::arch::Arch;
use sha2::{Digest as _, Sha256};

use crate::closure::{CheckError, Layer, Question, RepoData, Report, World, check};

/// The priority of the repo under test; that of the base is dnf's own.
pub(super) const FIRST: u32 = 1;
pub(super) const BASE: u32 = 99;

/// One package of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) evr: String,
    pub(super) arch: String,
    /// `provides`, `requires`, …, each with one dependency.
    pub(super) relations: Vec<(String, String)>,
    pub(super) files: Vec<String>,
}

impl Spec {
    pub(super) fn nevra(&self) -> String {
        format!("{}-{}.{}", self.name, self.evr, self.arch)
    }

    pub(super) fn parse(line: &str) -> Self {
        let (id, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let arches = ["x86_64", "noarch", "i686", "aarch64", "src"];
        let (id, arch) = match id.rsplit_once('.') {
            Some((id, arch)) if arches.contains(&arch) => (id, arch),
            _ => (id, "x86_64"),
        };
        let digit = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        let parts: Vec<&str> = id.rsplitn(3, '-').collect();
        let (name, evr) = match parts.as_slice() {
            [release, version, name] if digit(version) => {
                ((*name).to_owned(), format!("{version}-{release}"))
            }
            [version, rest @ ..] => {
                let name: Vec<&str> = rest.iter().rev().copied().collect();
                (name.join("-"), format!("{version}-1"))
            }
            [] => unreachable!(),
        };
        let mut spec = Spec { name, evr, arch: arch.to_owned(), relations: Vec::new(), files: Vec::new() };
        for clause in rest.split(';').map(str::trim).filter(|clause| !clause.is_empty()) {
            let (kind, list) = clause.split_once(' ').unwrap();
            for item in list.split(',').map(|item| item.trim().to_owned()) {
                if kind == "files" {
                    spec.files.push(item);
                } else {
                    spec.relations.push((kind.to_owned(), item));
                }
            }
        }
        spec
    }
}

/// The three repos of a text.
#[derive(Debug, Clone, Default)]
pub(super) struct Repos {
    pub(super) base: Vec<Spec>,
    pub(super) live: Vec<Spec>,
    pub(super) candidate: Vec<Spec>,
}

impl Repos {
    pub(super) fn parse(text: &str) -> Self {
        let (mut repos, mut current) = (Repos::default(), "base");
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line {
                "base:" | "live:" | "candidate:" => current = line.trim_end_matches(':'),
                line => match current {
                    "base" => repos.base.push(Spec::parse(line)),
                    "live" => repos.live.push(Spec::parse(line)),
                    _ => repos.candidate.push(Spec::parse(line)),
                },
            }
        }
        repos
    }

    /// The layers before and after.
    pub(super) fn layers(&self) -> [Vec<Layer>; 2] {
        let base = Layer { priority: BASE, data: data(&self.base) };
        [&self.live, &self.candidate]
            .map(|own| vec![Layer { priority: FIRST, data: data(own) }, base.clone()])
    }

    pub(super) fn check(&self, world: World) -> Result<Report, CheckError> {
        let [before, after] = self.layers();
        check(&Question { arch: Arch::X86_64, before: &before, after: &after, world })
    }
}

pub(super) fn data(specs: &[Spec]) -> Arc<RepoData> {
    let read = RepoData::read(primary(specs).as_bytes()).unwrap();
    let lists = filelists(specs);
    let open = move || Ok(Box::new(std::io::Cursor::new(lists.clone())) as Box<dyn Read + Send>);
    Arc::new(read.with_filelists(Box::new(open)))
}

fn pkgid(spec: &Spec) -> String {
    farm::digest::hex(&Sha256::digest(format!("{spec:?}")))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn version(evr: &str) -> String {
    let (epoch, rest) = evr.split_once(':').unwrap_or(("0", evr));
    let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
    let release = if release.is_empty() { String::new() } else { format!(" rel=\"{release}\"") };
    format!("epoch=\"{epoch}\" ver=\"{version}\"{release}")
}

fn entry(dependency: &str) -> String {
    let parts: Vec<&str> = dependency.split(' ').collect();
    match parts.as_slice() {
        [name, sign, evr] if !name.starts_with('(') => {
            let flags = match *sign {
                "=" => "EQ",
                "<" => "LT",
                ">" => "GT",
                "<=" => "LE",
                ">=" => "GE",
                other => panic!("no sign: {other}"),
            };
            format!("<rpm:entry name=\"{}\" flags=\"{flags}\" {}/>", escape(name), version(evr))
        }
        _ => format!("<rpm:entry name=\"{}\"/>", escape(dependency)),
    }
}

/// A main index, as createrepo_c would write it.
pub(super) fn primary(specs: &[Spec]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
        specs.len()
    );
    for spec in specs {
        let Spec { name, evr, arch, relations, files } = spec;
        let _ = write!(
            xml,
            "<package type=\"rpm\"><name>{name}</name><arch>{arch}</arch><version {}/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum><summary>s</summary><description/><packager/><url/>\
             <time file=\"1\" build=\"1\"/><size package=\"1\" installed=\"1\" archive=\"1\"/>\
             <location href=\"{name}-{evr}.{arch}.rpm\"/><format><rpm:license>MIT</rpm:license>",
            version(evr),
            pkgid(spec)
        );
        let own = ("provides".to_owned(), format!("{name} = {evr}"));
        for kind in ["provides", "requires", "conflicts", "obsoletes", "recommends"] {
            let entries: String = relations
                .iter()
                .chain((arch != "src").then_some(&own))
                .filter(|(other, _)| other == kind)
                .map(|(_, dependency)| entry(dependency))
                .collect();
            if !entries.is_empty() {
                let _ = write!(xml, "<rpm:{kind}>{entries}</rpm:{kind}>");
            }
        }
        for file in files.iter().filter(|file| file.starts_with("/etc/") || file.contains("bin/")) {
            let _ = write!(xml, "<file>{}</file>", escape(file));
        }
        xml.push_str("</format></package>\n");
    }
    xml + "</metadata>\n"
}

/// The filelists that go with it.
pub(super) fn filelists(specs: &[Spec]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" \
         packages=\"{}\">\n",
        specs.len()
    );
    for spec in specs {
        let files: String = spec
            .files
            .iter()
            .map(|file| format!("<file>{}</file>", escape(file).replace("&amp;", "&#38;")))
            .collect();
        let Spec { name, evr, arch, .. } = spec;
        let id = pkgid(spec);
        let _ = writeln!(
            xml,
            "<package pkgid=\"{id}\" name=\"{name}\" arch=\"{arch}\"><version {}/>{files}</package>",
            version(evr)
        );
    }
    xml + "</filelists>\n"
}
