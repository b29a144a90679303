//! The sample packages through a real container engine: source package, build, suite.
//!
//! Runs where `GRANGE_TEST_DOCKER` or `GRANGE_TEST_PODMAN` (a socket, as `unix:///path`) and `GRANGE_TEST_IMAGE` (the
//! project's image for this architecture) are set, and needs createrepo_c.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod farmyard;

use std::path::{Path, PathBuf};

use builder::Engine;
use farm::chain::PROVIDES_FILE;
use farm::outcome::Outcome;
use farm::recipe::{Limits, Recipe, RepoOrigin, RepoSource, Sharing, Work};

use farmyard::{Attempt, Farmyard, tar_of};

fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/packages")
}

async fn farm(variable: &str) -> Option<Farmyard> {
    let (Ok(address), Ok(image)) = (std::env::var(variable), std::env::var("GRANGE_TEST_IMAGE")) else {
        println!("SKIPPED: {variable} and GRANGE_TEST_IMAGE are not both set");
        return None;
    };
    Some(Farmyard::start(Engine::connect(&address).unwrap(), &image).await)
}

/// The repo of these RPMs, as createrepo_c makes it.
fn repo_folder(rpms: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("Packages")).unwrap();
    for (name, content) in rpms {
        std::fs::write(folder.path().join("Packages").join(name), content).unwrap();
    }
    let made = std::process::Command::new("createrepo_c").arg("--quiet").arg(folder.path()).status().unwrap();
    assert!(made.success());
    folder
}

/// The same as a snapshot of the hub.
fn repo(farm: &Farmyard, rpms: &[(&str, &[u8])]) -> RepoSource {
    let folder = repo_folder(rpms);
    let mut files = Vec::new();
    for sub in ["repodata", "Packages"] {
        for entry in std::fs::read_dir(folder.path().join(sub)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{sub}/{}", entry.file_name().to_string_lossy());
            files.push((path, std::fs::read(entry.path()).unwrap()));
        }
    }
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    farm.repo(&files)
}

/// Serves a folder where containers can reach it, if they can reach a network at all.
async fn serve(folder: PathBuf) -> String {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let files = axum::Router::new().fallback(move |address: axum::http::Uri| {
        let path = folder.join(address.path().trim_start_matches('/'));
        async move { std::fs::read(path).map_err(|_| axum::http::StatusCode::NOT_FOUND) }
    });
    tokio::spawn(async move { axum::serve(listener, files).await });
    // Sends nothing; the system only decides from which address it would.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    probe.connect("198.51.100.1:9").unwrap();
    format!("http://{}:{port}", probe.local_addr().unwrap().ip())
}

fn srpm_recipe(farm: &Farmyard, name: &str) -> Recipe {
    let folder = packages().join(name);
    let tree = farm.hub.input("tree.tar", &tar_of(&folder));
    let exploded = folder.join("SPECS").is_dir();
    let spec = if exploded { format!("SPECS/{name}.spec") } else { format!("{name}.spec") };
    let mut sources = Vec::new();
    if let Ok(lookaside) = std::fs::read_dir(packages().join("lookaside").join(name)) {
        for entry in lookaside {
            let entry = entry.unwrap();
            let content = std::fs::read(entry.path()).unwrap();
            sources.push(farm.hub.input(&entry.file_name().to_string_lossy(), &content));
        }
    }
    farm.recipe(Work::Srpm { tree, spec, sources })
}

async fn srpm(farm: &mut Farmyard, name: &str) -> (String, Vec<u8>) {
    let recipe = srpm_recipe(farm, name);
    let (outcome, attempt) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("build.log"));
    let provides = farm::chain::provided_names(&String::from_utf8_lossy(&attempt.files[PROVIDES_FILE]));
    assert!(provides.contains(name), "{provides:?}");
    attempt.files.into_iter().find(|(file, _)| file.ends_with(".src.rpm")).unwrap()
}

/// Makes the source package and builds it with these RPMs at hand.
async fn build(
    farm: &mut Farmyard,
    name: &str,
    rpms: &[(&str, &[u8])],
    change: impl FnOnce(&mut Limits),
) -> (Outcome, Attempt) {
    let (file, content) = srpm(farm, name).await;
    let srpm = farm.hub.input(&file, &content);
    let mut recipe = farm.recipe(Work::Build { srpm });
    recipe.repos = vec![repo(farm, rpms)];
    change(&mut recipe.limits);
    farm.done(recipe).await
}

async fn test(farm: &mut Farmyard, name: &str, suite: &str, rpms: &[(&str, &[u8])]) -> (Outcome, Attempt) {
    let folder = packages().join(name).join("tests").join(suite);
    let folder = folder.is_dir().then(|| farm.hub.input("suite.tar", &tar_of(&folder)));
    let names = rpms.iter().map(|(file, _)| file.trim_end_matches(".rpm").to_owned()).collect();
    let mut recipe = farm.recipe(Work::Test { suite: suite.to_owned(), folder, packages: names });
    recipe.repos = vec![repo(farm, rpms)];
    farm.done(recipe).await
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::FailedByPackage { reason } => reason,
        other => panic!("{other:?}"),
    }
}

async fn good_packages(farm: &mut Farmyard) {
    let (outcome, built) = build(farm, "builds", &[], |_| {}).await;
    assert_eq!(outcome, Outcome::Passed, "{}{}", built.log("root.log"), built.log("build.log"));
    let (file, rpm) = built.files.iter().find(|(name, _)| name.ends_with(".rpm")).unwrap();
    assert!(file.starts_with("builds-1.0-1.g1.") && built.files.len() == 2, "{:?}", built.files.keys());
    let rpms: &[(&str, &[u8])] = &[(file, rpm)];

    for suite in ["installs", "runs"] {
        let (outcome, tested) = test(farm, "builds", suite, rpms).await;
        assert_eq!(outcome, Outcome::Passed, "{}{}", tested.log("root.log"), tested.log("test.log"));
    }

    let (outcome, built) = build(farm, "needs-builds", rpms, |_| {}).await;
    assert_eq!(outcome, Outcome::Passed, "{}{}", built.log("root.log"), built.log("build.log"));
    let (outcome, built) = build(farm, "needs-builds", &[], |_| {}).await;
    assert!(reason(&outcome).contains("builds"), "{}", built.log("root.log"));
    assert!(reason(&outcome).contains("No matching package to install"), "{}", reason(&outcome));

    for name in ["noarch", "exploded", "climbs-out"] {
        let (outcome, built) = build(farm, name, &[], |_| {}).await;
        assert_eq!(outcome, Outcome::Passed, "{name}: {}", built.log("build.log"));
        assert!(!built.files.is_empty());
    }
}

async fn bad_packages(farm: &mut Farmyard) {
    let recipe = srpm_recipe(farm, "does-not-parse");
    let (outcome, attempt) = farm.done(recipe).await;
    println!("does-not-parse: {}\n{}", reason(&outcome), attempt.log("build.log"));
    assert!(reason(&outcome).ends_with("; see build.log"));

    for (name, words) in [
        ("fails-to-build", "rpmbuild failed in %build: "),
        ("wants-network", "rpmbuild failed in %build: "),
        ("hangs", "took longer than 20 s"),
        ("prints-forever", "wrote more than 4 MiB of log"),
        ("eats-memory", "out of memory (limit 512 MiB)"),
        ("fills-the-disk", "no space left on the build's disk (limit 128 MiB)"),
        ("forks-forever", "reached the limit of 128 processes"),
    ] {
        let limit = |limits: &mut Limits| {
            (limits.memory_mb, limits.disk_mb, limits.pids) = (512, 128, 128);
            // What is waited out is short; it holds for each container, and a slow machine may need long for what comes before.
            limits.seconds = if name == "hangs" { 20 } else { 600 };
        };
        let (outcome, attempt) = build(farm, name, &[], limit).await;
        let log = attempt.log("build.log");
        let end = log.len().saturating_sub(2000);
        println!("{name}: {}", reason(&outcome));
        assert!(reason(&outcome).contains(words), "{name}: {outcome:?}\n{}", log.get(end..).unwrap_or(""));
    }

    for (name, suite, words) in [
        ("fails-its-tests", "runs", "run.sh ended with 1"),
        ("fails-in-junit", "reports", "test cases failed"),
    ] {
        let (outcome, built) = build(farm, name, &[], |_| {}).await;
        assert_eq!(outcome, Outcome::Passed, "{name}: {}", built.log("build.log"));
        let rpms: Vec<(&str, &[u8])> = built
            .files
            .iter()
            .filter(|(name, _)| name.ends_with(".rpm"))
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        let (outcome, tested) = test(farm, name, suite, &rpms).await;
        println!("{name}: {}", reason(&outcome));
        assert!(reason(&outcome).contains(words), "{outcome:?}\n{}", tested.log("test.log"));
    }
}

/// A spec that is written here, because what is special about it is how it comes by its needs.
const FINDS_OUT: &str = "\
Name: finds-out
Version: 1.0
Release: 1%{?dist}
Summary: A package that finds out what it needs
License: Apache-2.0
%description
%{summary}.
%generate_buildrequires
echo builds
%build
builds > said
%install
install -D -m 0644 said %{buildroot}%{_datadir}/finds-out/said
%files
%{_datadir}/finds-out
%changelog
* Mon Jun 01 2026 Grange Tests <tests@grange.invalid> - 1.0-1
- First build
";

/// Needs that a build works out itself come from the farm's repos too.
async fn needs_found_out(farm: &mut Farmyard) {
    let (_, built) = build(farm, "builds", &[], |_| {}).await;
    let (file, rpm) = built.files.iter().find(|(name, _)| name.ends_with(".rpm")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("finds-out.spec"), FINDS_OUT).unwrap();
    let tree = farm.hub.input("tree.tar", &tar_of(folder.path()));
    let spec = "finds-out.spec".to_owned();
    let recipe = farm.recipe(Work::Srpm { tree, spec, sources: Vec::new() });
    let (outcome, made) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed, "{}", made.log("build.log"));
    let (name, content) = made.files.first_key_value().unwrap();
    let srpm = farm.hub.input(name, content);
    for (rpms, passes) in [(&[(file.as_str(), rpm.as_slice())] as &[(&str, &[u8])], true), (&[], false)] {
        let mut recipe = farm.recipe(Work::Build { srpm: srpm.clone() });
        recipe.repos = vec![repo(farm, rpms)];
        let (outcome, attempt) = farm.done(recipe).await;
        let log = format!("{}{}", attempt.log("root.log"), attempt.log("build.log"));
        assert_eq!(outcome == Outcome::Passed, passes, "{outcome:?}\n{log}");
        assert!(passes || reason(&outcome).contains("No matching package to install"), "{outcome:?}");
    }
}

/// Without any repo the image must have everything; a repo that is not one is the farm's fault.
async fn repos_that_are_none(farm: &mut Farmyard) {
    let (file, content) = srpm(farm, "builds").await;
    let srpm = farm.hub.input(&file, &content);
    let mut recipe = farm.recipe(Work::Build { srpm });
    let (outcome, attempt) = farm.done(recipe.clone()).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("root.log"));

    recipe.repos = vec![farm.repo(&[("README", b"not a repo")])];
    let (outcome, attempt) = farm.done(recipe.clone()).await;
    println!("no repo: {outcome:?}");
    assert!(matches!(outcome, Outcome::FailedByFarm { .. }), "{outcome:?}{}", attempt.log("root.log"));

    // A layer that has nothing for the architecture is no repo that is broken.
    recipe.repos = vec![farm.repo(&[])];
    let (outcome, attempt) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("root.log"));
}

/// Repos outside the farm: over the network, which the build itself still does not get, and on the builder's disk.
async fn repos_of_others(farm: &mut Farmyard) {
    let (_, built) = build(farm, "builds", &[], |_| {}).await;
    let (file, rpm) = built.files.iter().find(|(name, _)| name.ends_with(".rpm")).unwrap();
    let arch = farm::arch::Arch::native().unwrap();
    let folder = repo_folder(&[(file, rpm)]);
    let shared = farm.folder.path().join("mirror").join(arch.as_str());
    std::fs::create_dir_all(&shared).unwrap();
    for sub in ["repodata", "Packages"] {
        std::fs::rename(folder.path().join(sub), shared.join(sub)).unwrap();
    }
    let mirror = farm.folder.path().join("mirror");
    let served = serve(mirror.clone()).await;
    for (package, baseurl, words) in [
        ("needs-builds", format!("{served}/$basearch"), None),
        ("needs-builds", format!("file://{}/$basearch/", mirror.display()), None),
        ("needs-builds", "http://127.0.0.1:1/".to_owned(), Some("dnf cannot read a repo")),
        ("wants-network", format!("{served}/$basearch"), Some("the network is not reachable")),
    ] {
        let (name, content) = srpm(farm, package).await;
        let srpm = farm.hub.input(&name, &content);
        let mut recipe = farm.recipe(Work::Build { srpm });
        let origin = RepoOrigin::External { baseurl: baseurl.clone() };
        recipe.repos = vec![RepoSource { name: "others".to_owned(), priority: 50, origin }];
        // Another one of that name hides nothing.
        recipe.repos.push(RepoSource { name: "others".to_owned(), priority: 60, ..repo(farm, &[]) });
        let (outcome, attempt) = farm.done(recipe).await;
        let log = format!("{}{}", attempt.log("root.log"), attempt.log("build.log"));
        match words {
            None => assert_eq!(outcome, Outcome::Passed, "{baseurl}: {log}"),
            Some(words) => assert!(outcome.sentence().contains(words), "{baseurl}: {outcome:?} {log}"),
        }
    }
}

/// What needs the same as before starts without dnf, in the same root, also in the next life of the builder; other
/// packages in the repo that bear on it make another, and what is made anew of the same is the same.
async fn a_root_is_made_once(farm: &mut Farmyard) {
    let (_, built) = build(farm, "builds", &[], |_| {}).await;
    let (file, rpm) = built.files.iter().find(|(name, _)| name.ends_with(".rpm")).unwrap();
    let (_, other) = build(farm, "noarch", &[], |_| {}).await;
    let (other, content) = other.files.iter().find(|(name, _)| name.ends_with(".rpm")).unwrap();
    let once: &[(&str, &[u8])] = &[(file, rpm)];
    let grown: &[(&str, &[u8])] = &[(file, rpm), (other, content)];
    let mut locks = Vec::new();
    for (rpms, life, made) in
        [(once, "one", true), (grown, "one", false), (once, "next", false), (once, "emptied", true)]
    {
        match life {
            "next" => farm.restart(|_| {}).await,
            "emptied" => {
                farm.restart(|config| config.roots_mb = 0).await;
                farm.present(|_| true).await;
                let left = farm.engine.leftovers(&farm.name, &builder::engine::Kept::new()).await.unwrap();
                assert_eq!(left, 0, "without room no root is kept");
                farm.restart(|config| config.roots_mb = builder::Config::default().roots_mb).await;
            }
            _ => {}
        }
        let (outcome, built) = build(farm, "needs-builds", rpms, |_| {}).await;
        let state = built.log("state.log");
        assert_eq!(outcome, Outcome::Passed, "{state}{}", built.log("root.log"));
        println!("{}", state.lines().find(|line| line.contains("Root: ")).unwrap());
        assert_eq!(state.contains("Start: dependencies"), made, "{state}");
        let lock = built.files[farm::buildroot::LOCK_FILE].clone();
        assert!(String::from_utf8_lossy(&lock).contains("builds-1.0-1.g1."));
        locks.push(lock);
    }
    assert!(locks.windows(2).all(|pair| pair[0] == pair[1]), "the same was installed every time");
    let (outcome, built) = build(farm, "needs-builds", &[], |_| {}).await;
    assert!(reason(&outcome).contains("No matching package"), "{}", built.log("root.log"));
}

/// Something to compile, with debug packages, in which the folder it was compiled in is written.
const COMPILES: &str = "\
Name: compiles
Version: 1.0
Release: 1%{?dist}
Summary: A package with something to compile
License: Apache-2.0
Source0: one.c
Source1: two.c
%description
%{summary}.
%prep
%setup -q -c -T
cp %{SOURCE0} %{SOURCE1} .
%build
gcc %{optflags} -c one.c
cc %{optflags} -c two.c
gcc one.o two.o -o compiles
%install
install -D -m 0755 compiles %{buildroot}%{_bindir}/compiles
%files
%{_bindir}/compiles
%changelog
* Mon Jun 01 2026 Grange Tests <tests@grange.invalid> - 1.0-1
- First build
";

/// What one build compiled the next of its target does not compile again, also in the next life of the builder, and what
/// comes out is the same. Another target and scratch builds have nothing of it.
async fn what_was_compiled_is_not_compiled_again(farm: &mut Farmyard) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("compiles.spec", COMPILES),
        (
            "one.c",
            "const char *two(void);\nint puts(const char *);\nint main(void) { return puts(two()) < 0; }\n",
        ),
        ("two.c", "const char *two(void) { return __FILE__; }\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let tree = farm.hub.input("tree.tar", &tar_of(folder.path()));
    let recipe = farm.recipe(Work::Srpm { tree, spec: "compiles.spec".to_owned(), sources: Vec::new() });
    let (outcome, made) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed, "{}", made.log("build.log"));
    let (name, content) = made.files.iter().find(|(file, _)| file.ends_with(".src.rpm")).unwrap();
    let srpm = farm.hub.input(name, content);
    let mut packages = Vec::new();
    for (what, target, scratch, ccache_mb, told) in [
        ("none", "demo", false, 0, None),
        ("the first", "demo", false, 64, Some("Ccache: 0 hits, 2 misses; ")),
        ("the second", "demo", false, 64, Some("Ccache: 2 hits, 0 misses; kept as it was")),
        ("a scratch build", "demo", true, 64, None),
        ("another target", "other", false, 64, Some("Ccache: 0 hits, 2 misses; ")),
    ] {
        if what == "the second" {
            farm.restart(|_| {}).await;
        }
        let mut recipe = farm.recipe(Work::Build { srpm: srpm.clone() });
        recipe.sharing = Some(Sharing { target: target.to_owned(), scratch, ccache_mb });
        let (outcome, built) = farm.done(recipe).await;
        let state = built.log("state.log");
        assert_eq!(outcome, Outcome::Passed, "{what}: {state}{}", built.log("build.log"));
        let said: Vec<&str> = state.lines().filter(|line| line.contains("Ccache: ")).collect();
        println!("{what}: {said:?}");
        match told {
            None => assert_eq!(said.len(), 0, "{what}: {state}"),
            Some(told) => assert!(
                said.iter().any(|line| line.contains(told)),
                "{what}: {state}{}",
                built.log("build.log")
            ),
        }
        let rpms: Vec<_> = built.files.into_iter().filter(|(name, _)| name.ends_with(".rpm")).collect();
        packages.push((what, rpms));
    }
    let (_, without) = packages.remove(0);
    assert_eq!(
        without.len(),
        3,
        "with those for debugging: {:?}",
        without.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    for (what, rpms) in packages {
        assert!(rpms == without, "{what}: the packages are not the same byte for byte");
    }
}

async fn cancelled_in_the_middle(farm: &mut Farmyard) {
    let (file, content) = srpm(farm, "hangs").await;
    let srpm = farm.hub.input(&file, &content);
    let mut recipe = farm.recipe(Work::Build { srpm });
    recipe.repos = vec![repo(farm, &[])];
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.log("build.log").contains("Executing(%build)")).await;
    farm.hub.cancel(job);
    farm.send_stop(job).await;
    let asked = std::time::Instant::now();
    assert!(matches!(farm.ended(job).await.0, Outcome::Cancelled { .. }));
    // Long before its time is over.
    assert!(asked.elapsed() < std::time::Duration::from_secs(100), "{:?}", asked.elapsed());
}

async fn story(variable: &str) {
    let Some(mut farm) = farm(variable).await else { return };
    a_root_is_made_once(&mut farm).await;
    what_was_compiled_is_not_compiled_again(&mut farm).await;
    repos_that_are_none(&mut farm).await;
    repos_of_others(&mut farm).await;
    needs_found_out(&mut farm).await;
    good_packages(&mut farm).await;
    bad_packages(&mut farm).await;
    cancelled_in_the_middle(&mut farm).await;
    farm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_through_docker() {
    story("GRANGE_TEST_DOCKER").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_through_podman() {
    story("GRANGE_TEST_PODMAN").await;
}
