//! dnf's own solver as the oracle: which packages of a universe does it install, each alone?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use farm::arch::Arch;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::dsl::{BASE, FIRST, Repos, Spec, filelists, primary};
use super::stories::STORIES;
use crate::closure::World;
use crate::closure::encoding::Encoding;
use crate::closure::formula::Formula;
use crate::closure::goal::solve;
use crate::closure::judge::Judge;
use crate::closure::universe::{Time, Universe};

const SCRIPT: &str = include_str!("hawkey.py");
/// The Python that has dnf's modules; one from elsewhere in the path has not.
const PYTHON: &str = "/usr/bin/python3";

/// Of each package, `repo/nevra` where the repo is `own` or `base`, whether it can be installed.
type Verdicts = BTreeMap<String, bool>;

fn repomd(indexes: &[(&str, &str)]) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd \
                   xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1</revision>"
        .to_owned();
    for (kind, text) in indexes {
        let sum = farm::digest::hex(&Sha256::digest(text));
        let _ = write!(
            xml,
            "<data type=\"{kind}\"><checksum type=\"sha256\">{sum}</checksum><open-checksum \
             type=\"sha256\">{sum}</open-checksum><location href=\"repodata/{kind}.xml\"/><timestamp>1</timestamp>\
             <size>{0}</size><open-size>{0}</open-size></data>",
            text.len()
        );
    }
    xml + "</repomd>\n"
}

fn write_repo(folder: &Path, specs: &[Spec]) {
    std::fs::create_dir_all(folder.join("repodata")).unwrap();
    let (primary, filelists) = (primary(specs), filelists(specs));
    std::fs::write(folder.join("repodata/primary.xml"), &primary).unwrap();
    std::fs::write(folder.join("repodata/filelists.xml"), &filelists).unwrap();
    let repomd = repomd(&[("primary", &primary), ("filelists", &filelists)]);
    std::fs::write(folder.join("repodata/repomd.xml"), repomd).unwrap();
}

/// One question to dnf's solver.
struct Asked<'a> {
    own: &'a [Spec],
    base: &'a [Spec],
    /// What is installed; of nothing, every package is tried.
    installed: Vec<Spec>,
}

/// What dnf's solver answers, in one process for all; `None` when this machine has none.
fn ask<T: DeserializeOwned>(all: &[Asked<'_>]) -> Option<Vec<T>> {
    let modules = Command::new(PYTHON).args(["-c", "import dnf, hawkey"]).stderr(Stdio::null()).status();
    if !modules.is_ok_and(|status| status.success()) {
        println!("SKIPPED: {PYTHON} has no dnf: run dev/setup --tests");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut questions = Vec::new();
    for (at, asked) in all.iter().enumerate() {
        let home = folder.path().join(at.to_string());
        write_repo(&home.join("own"), asked.own);
        write_repo(&home.join("base"), asked.base);
        let rpms: Vec<_> = asked.installed.iter().map(|spec| rpm_file(&home, spec)).collect();
        questions.push(serde_json::json!({
            "folder": home,
            "repos": [{"name": "own", "priority": FIRST}, {"name": "base", "priority": BASE}],
            "installed": rpms,
        }));
    }
    let mut child = Command::new(PYTHON)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(&questions).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "hawkey failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A real RPM of a package.
pub(super) fn rpm_file(folder: &Path, spec: &Spec) -> PathBuf {
    let (version, release) = spec.evr.split_once('-').unwrap();
    let config = rpm::BuildConfig::v4().compression(rpm::CompressionType::None).source_date(1_700_000_000);
    let mut builder =
        rpm::PackageBuilder::new(&spec.name, version, "MIT", &spec.arch, "a package of a universe");
    builder.using_config(config).release(release).build_host("localhost");
    for (kind, dependency) in &spec.relations {
        let dependency = rpm_dependency(dependency);
        match kind.as_str() {
            "provides" => builder.provides(dependency),
            "requires" => builder.requires(dependency),
            "conflicts" => builder.conflicts(dependency),
            "obsoletes" => builder.obsoletes(dependency),
            _ => builder.recommends(dependency),
        };
    }
    for file in &spec.files {
        builder.with_file_contents(b"", rpm::FileOptions::new(file).permissions(0o644)).unwrap();
    }
    let path = folder.join(format!("{}.rpm", spec.nevra()));
    builder.build().unwrap().write_file(&path).unwrap();
    path
}

fn rpm_dependency(text: &str) -> rpm::Dependency {
    use rpm::Dependency;
    let parts: Vec<&str> = text.split(' ').collect();
    match parts.as_slice() {
        [name, "=", evr] => Dependency::eq(*name, *evr),
        [name, "<", evr] => Dependency::less(*name, *evr),
        [name, ">", evr] => Dependency::greater(*name, *evr),
        [name, "<=", evr] => Dependency::less_eq(*name, *evr),
        [name, ">=", evr] => Dependency::greater_eq(*name, *evr),
        _ => Dependency::any(text),
    }
}

/// The same from us.
fn ours(repos: &Repos, time: Time) -> Verdicts {
    let [before, after] = repos.layers();
    let universe = Universe::new(Arch::X86_64, &before, &after, World::Complete);
    let changes = universe.changes();
    let encoding = Encoding::new(&universe);
    let judge = Judge::new(&encoding, &changes);
    let own = |pkg| if universe.rank(pkg).0 == FIRST { "own" } else { "base" };
    let verdicts = universe.all(time).map(|pkg| {
        let name = format!("{}/{}", own(pkg), universe.nevra(pkg));
        (name, judge.is_installable(pkg, time).unwrap())
    });
    verdicts.collect()
}

/// Compares both for every package of these universes, before and after.
pub(super) fn compare(all: &[Repos]) {
    let sides = all.iter().flat_map(|repos| {
        [&repos.live, &repos.candidate].map(|own| Asked { own, base: &repos.base, installed: Vec::new() })
    });
    let Some(theirs) = ask::<Verdicts>(&sides.collect::<Vec<_>>()) else { return };
    let (mut packages, mut refused) = (0, 0);
    for (at, mut theirs) in theirs.into_iter().enumerate() {
        theirs.retain(|name, _| !name.ends_with(".src") && !name.ends_with(".aarch64"));
        let time = if at % 2 == 0 { Time::Before } else { Time::After };
        let repos = &all[at / 2];
        let ours = ours(repos, time);
        packages += ours.len();
        refused += ours.values().filter(|installable| !**installable).count();
        assert_eq!(ours, theirs, "universe {} {time:?}: ours, dnf's\n{repos:#?}", at / 2);
    }
    println!(
        "{} universes, {packages} packages, of which {refused} cannot be installed: as dnf says",
        all.len()
    );
}

/// Compares, of everyone who has one package installed with its needs, whether dnf upgrades without removing anything, and
/// gets where the check says one must get. Where a package that changed cannot be installed at all, the change is refused
/// for that, and dnf's ways around it are of no interest.
pub(super) fn compare_upgrades(all: &[Repos]) {
    let mut asked = Vec::new();
    let mut ours = Vec::new();
    for repos in all {
        let [before, after] = repos.layers();
        let universe = Universe::new(Arch::X86_64, &before, &after, World::Complete);
        let changes = universe.changes();
        let encoding = Encoding::new(&universe);
        let judge = Judge::new(&encoding, &changes);
        if !changes.added.iter().all(|pkg| judge.is_installable(*pkg, Time::After).unwrap()) {
            continue;
        }
        let specs: Vec<&Spec> = repos.live.iter().chain(&repos.base).collect();
        let mut seen = BTreeSet::new();
        for pkg in universe.all(Time::Before) {
            let alone = [Formula::Any(vec![pkg])];
            let Some(installed) = solve(&encoding, Time::Before, &judge.nothing, &alone).unwrap() else {
                continue;
            };
            let names: BTreeSet<String> = installed.iter().map(|pkg| universe.nevra(*pkg)).collect();
            if !seen.insert(names.clone()) {
                continue;
            }
            let installed_specs = names.iter().map(|name| {
                let spec = specs.iter().find(|spec| spec.nevra() == *name);
                (*spec.unwrap()).clone()
            });
            asked.push(Asked {
                own: &repos.candidate,
                base: &repos.base,
                installed: installed_specs.collect(),
            });
            let goals: Vec<(bool, Vec<String>)> = judge
                .demands(&installed)
                .into_iter()
                .map(|demand| (demand.must, demand.instead.iter().map(|pkg| universe.nevra(*pkg)).collect()))
                .collect();
            ours.push((names, judge.can_go_on(&installed).unwrap(), goals));
        }
    }
    let Some(theirs) = ask::<Option<Vec<String>>>(&asked) else { return };
    let mut stuck = 0;
    for (at, (theirs, (installed, can, goals))) in theirs.into_iter().zip(ours).enumerate() {
        let reached = theirs.as_ref().is_some_and(|there| {
            goals.iter().all(|(_, instead)| instead.iter().any(|name| there.contains(name)))
        });
        stuck += usize::from(!can);
        let Asked { own, base, .. } = &asked[at];
        assert_eq!(
            can, reached,
            "installed {installed:?}, dnf gets to {theirs:?}\nown {own:#?}\nbase {base:#?}"
        );
    }
    println!("{} upgrades, of which {stuck} are stuck: as dnf says", asked.len());
}

#[test]
fn who_can_go_on_is_whom_dnf_upgrades() {
    let all: Vec<Repos> = STORIES.iter().map(|story| Repos::parse(story.universe)).collect();
    compare_upgrades(&all);
}

#[test]
fn every_story_is_told_as_dnf_would_tell_it() {
    let all: Vec<Repos> = STORIES.iter().map(|story| Repos::parse(story.universe)).collect();
    compare(&all);
}
