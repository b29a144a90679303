//! Small things of the farm, to write tests with.
#![allow(dead_code, reason = "each test file uses some of it")]

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::{Id, Minter};
use farm::job::{Class, Job, JobKind, JobState};
use farm::nvr::Nevra;
use farm::recipe::{Input, Recipe, Work};
use farm::sig::template::parse;
use farm::sig::{Community, Project, Sig};
use farm::snapshot::{Member, Rpm, RpmKind};
use farm::stamp::Stamp;

pub(crate) fn at(millis: i64) -> Stamp {
    Stamp::from_millis(millis)
}

/// The same number is the same id.
pub(crate) fn id<T: Id>(number: u64) -> T {
    Minter::new(number).mint(at(i64::try_from(number).unwrap()))
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(crate) fn sig(text: &str) -> Sig {
    parse("sig.toml", text).unwrap_or_else(|faults| panic!("{faults}"))
}

pub(crate) fn community(templates: &[&str]) -> Community {
    templates.iter().fold(Community::default(), |community, text| community.with(sig(text)))
}

/// SIG `demo`, project `hello` release 2 for 9s on two architectures; `installs` and `runs` are required.
pub(crate) fn project() -> Project {
    sig("name = 'demo'\n[[project]]\nname = 'hello'\nrelease = '2'\ndist = '9s'\n\
         arches = ['x86_64', 'aarch64']\npackages = ['hello']\n\
         [project.tests]\nrequired = ['installs', 'runs']\n")
    .projects
    .remove(0)
}

pub(crate) fn job(number: u64, kind: JobKind, arch: Arch) -> Job {
    let input = Input { name: "hello-2.10-1.src.rpm".into(), digest: digest("srpm"), size: 1 };
    Job {
        id: id(number),
        request: id(9_000),
        sig: "demo".into(),
        class: Class::Push,
        kind,
        arch,
        created: at(0),
        recipe: Recipe {
            image: "image".into(),
            arch,
            work: Work::Build { srpm: input },
            repos: Vec::new(),
            macros: std::collections::BTreeMap::new(),
            limits: farm::recipe::Limits::default(),
            sharing: None,
        },
        turn: 0,
        tries: 0,
        state: JobState::Waiting { not_before: at(0) },
        history: Vec::new(),
        labels: std::collections::BTreeSet::new(),
        height: 0,
    }
}

/// One build of one package with a source RPM and a binary; the version is part of its body.
pub(crate) fn member(package: &str, version: &str) -> Member {
    let rpm = |arch: &str, kind, built_on| {
        let nevra = Nevra {
            name: package.into(),
            epoch: 0,
            version: version.into(),
            release: "1.el9s".into(),
            arch: arch.into(),
        };
        Rpm {
            file: nevra.file_name(),
            body: digest(&format!("body of {nevra}")),
            digest: digest(&format!("file of {nevra}")),
            size: 100,
            kind,
            nevra,
            built_on,
        }
    };
    Member {
        build: id(version.bytes().chain(package.bytes()).map(u64::from).sum()),
        package: package.into(),
        nvr: format!("{package}-{version}-1.el9s"),
        rpms: vec![rpm("src", RpmKind::Source, None), rpm("x86_64", RpmKind::Binary, Some(Arch::X86_64))],
    }
}
