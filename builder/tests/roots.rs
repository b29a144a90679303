//! When a root that was made for one build serves another, and when it goes, told with an engine that runs no containers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod farmyard;

use std::io::Write as _;
use std::path::PathBuf;

use builder::Engine;
use builder::engine::{Dummy, Script, Step};
use farm::buildroot::LOCK_FILE;
use farm::outcome::Outcome;
use farm::recipe::{Recipe, RepoOrigin, RepoSource, Work};

use farmyard::{Attempt, Farmyard};

/// What an image of the dummy takes beyond the one it was made from.
const IMAGE_MB: u64 = 100;

/// What each container does; what is installed is what the macro `root` says.
fn builds(recipe: &Recipe, step: Step) -> Script {
    match step {
        Step::Build => Script::default().puts_out("any-1-1.x86_64.rpm", "an RPM"),
        Step::Lock => {
            let name = recipe.macros.get("root").map_or("base", String::as_str);
            Script::default()
                .puts_out("packages.txt", format!("{name}-1-1.noarch (none)\n"))
                .puts_out("names.txt", format!("{name}\n"))
        }
        Step::Dependencies | Step::Srpm | Step::Install | Step::Suite => Script::default(),
    }
}

async fn farm(roots_mb: u64) -> (Farmyard, Dummy) {
    let dummy = Dummy::new(builds);
    let change = |config: &mut builder::Config| config.roots_mb = roots_mb;
    (Farmyard::start_with(Engine::Dummy(dummy.clone()), "base", change).await, dummy)
}

/// A source package that requires this and has this release, and otherwise nothing that is looked at.
fn package(needs: &str, release: &str) -> Vec<u8> {
    const STRING_ARRAY: u32 = 8;
    let header = |tags: &[(u32, &str)]| {
        let (mut index, mut store) = (Vec::new(), Vec::new());
        for (tag, text) in tags {
            for number in [*tag, STRING_ARRAY, store.len() as u32, 1] {
                index.extend(number.to_be_bytes());
            }
            store.extend(text.bytes().chain([0]));
        }
        let mut bytes = vec![0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
        bytes.extend((tags.len() as u32).to_be_bytes());
        bytes.extend((store.len() as u32).to_be_bytes());
        [bytes, index, store].concat()
    };
    [vec![0; 96], header(&[]), header(&[(1002, release), (1049, needs)])].concat()
}

/// A repo of the farm's with packages of these names; their content is `content`.
fn repo(farm: &Farmyard, names: &[&str], content: &str) -> RepoSource {
    let mut index = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(index, "<metadata>").unwrap();
    for name in names {
        write!(
            index,
            "<package><name>{name}</name><checksum>{content}</checksum><format><rpm:provides><rpm:entry \
             name=\"{name}\"/></rpm:provides></format></package>"
        )
        .unwrap();
    }
    write!(index, "</metadata>").unwrap();
    let index = index.finish().unwrap();
    let paths: Vec<String> = names.iter().map(|name| format!("Packages/{name}.rpm")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("repodata/1-primary.xml.gz", &index)];
    files.extend(paths.iter().map(|path| (path.as_str(), content.as_bytes())));
    farm.repo(&files)
}

fn recipe(farm: &Farmyard, needs: &str, release: &str) -> Recipe {
    let srpm = farm.hub.input(&format!("any-1-{release}.src.rpm"), &package(needs, release));
    let mut recipe = farm.recipe(Work::Build { srpm });
    recipe.repos = vec![repo(farm, &["base"], "1")];
    recipe
}

/// Builds, and says whether anything was installed for it.
async fn build(farm: &mut Farmyard, dummy: &Dummy, recipe: Recipe) -> (bool, Attempt) {
    let before = dummy.ran().len();
    let (outcome, attempt) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("state.log"));
    let installed = dummy.ran()[before..].iter().any(|(_, step)| *step == Step::Dependencies);
    (installed, attempt)
}

async fn is_made(farm: &mut Farmyard, dummy: &Dummy, recipe: Recipe) -> bool {
    build(farm, dummy, recipe).await.0
}

fn folder(farm: &Farmyard) -> PathBuf {
    farm.folder.path().join("data/roots")
}

fn files(farm: &Farmyard) -> Vec<PathBuf> {
    std::fs::read_dir(folder(farm)).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn what_needs_the_same_starts_without_installing_anything() {
    let (mut farm, dummy) = farm(10 * IMAGE_MB).await;
    let first = recipe(&farm, "gcc", "1");
    let (made, first) = build(&mut farm, &dummy, first).await;
    assert!(made);
    let second = recipe(&farm, "gcc", "2");
    let (made, second) = build(&mut farm, &dummy, second).await;
    assert!(!made, "{}", second.log("state.log"));
    assert_eq!(first.files[LOCK_FILE], second.files[LOCK_FILE]);
    assert!(second.log("root.log").contains("kept from an earlier build"), "{}", second.log("root.log"));
    assert!(first.log("state.log").contains("made anew in "), "{}", first.log("state.log"));
    let other = recipe(&farm, "clang", "3");
    assert!(is_made(&mut farm, &dummy, other).await, "it needs something else");
    farm.close().await;
}

#[tokio::test]
async fn whatever_could_make_another_root_makes_it_anew() {
    let (mut farm, dummy) = farm(10 * IMAGE_MB).await;
    let mirror = farm.folder.path().join("mirror");
    let repomd = mirror.join("repodata/repomd.xml");
    std::fs::create_dir_all(repomd.parent().unwrap()).unwrap();
    std::fs::write(&repomd, "<repomd/>").unwrap();
    let mut like = recipe(&farm, "gcc", "1");
    let origin = RepoOrigin::External { baseurl: format!("file://{}", mirror.display()) };
    like.repos.push(RepoSource { name: "others".to_owned(), priority: 50, origin });
    assert!(is_made(&mut farm, &dummy, like.clone()).await);
    assert!(!is_made(&mut farm, &dummy, like.clone()).await);

    let mut own = like.clone();
    own.repos[0] = repo(&farm, &["base", "any"], "1");
    assert!(!is_made(&mut farm, &dummy, own).await, "that the farm has built something else means nothing");

    let with = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = like.clone();
        change(&mut recipe);
        recipe
    };
    let rebuilt = repo(&farm, &["base"], "2");
    let asked = repo(&farm, &["base", "gcc"], "1");
    for (what, recipe) in [
        ("a package in the root is another", with(&|recipe| recipe.repos[0] = rebuilt.clone())),
        ("there is a package it asks for", with(&|recipe| recipe.repos[0] = asked.clone())),
        ("another repo is preferred", with(&|recipe| recipe.repos[1].priority = 5)),
        ("there is one repo less", with(&|recipe| recipe.repos.truncate(1))),
        ("it is a scratch build", with(&|recipe| recipe.sharing.as_mut().unwrap().scratch = true)),
        ("it is another target's", with(&|recipe| recipe.sharing.as_mut().unwrap().target.push('x'))),
        ("the image is another", with(&|recipe| recipe.image = "base:2".to_owned())),
        ("nothing is to be shared", with(&|recipe| recipe.sharing = None)),
    ] {
        assert!(is_made(&mut farm, &dummy, recipe).await, "{what}");
    }
    assert!(!is_made(&mut farm, &dummy, like.clone()).await, "the first is still there");
    std::fs::write(&repomd, "<repomd>changed</repomd>").unwrap();
    assert!(is_made(&mut farm, &dummy, like.clone()).await, "the repo outside has changed");
    std::fs::remove_file(&repomd).unwrap();
    for _ in 0..2 {
        assert!(is_made(&mut farm, &dummy, like.clone()).await, "the repo outside does not say what it is");
    }
    farm.close().await;
}

#[tokio::test]
async fn the_root_that_was_not_used_for_longest_makes_room() {
    let (mut farm, dummy) = farm(2 * IMAGE_MB).await;
    let needing = |farm: &Farmyard, needs: &str| {
        let mut recipe = recipe(farm, needs, "1");
        recipe.macros.insert("root".to_owned(), needs.to_owned());
        recipe
    };
    let [a, b, c] = ["a", "b", "c"].map(|needs| needing(&farm, needs));
    for (recipe, made) in [(&a, true), (&b, true), (&a, false), (&c, true), (&a, false), (&b, true)] {
        assert_eq!(is_made(&mut farm, &dummy, recipe.clone()).await, made, "{recipe:?}");
        assert!(dummy.images() <= 2, "{}", dummy.images());
    }
    farm.restart(|config| config.roots_mb = IMAGE_MB).await;
    assert!(!is_made(&mut farm, &dummy, b).await, "the one that was used last stays");
    assert_eq!(dummy.images(), 1);
    farm.restart(|config| config.roots_mb = 0).await;
    assert!(is_made(&mut farm, &dummy, a.clone()).await && is_made(&mut farm, &dummy, a).await);
    assert_eq!((dummy.images(), files(&farm).len()), (0, 0));
    farm.close().await;
}

#[tokio::test]
async fn roots_outlive_their_builder_and_a_lost_one_is_made_anew() {
    let (mut farm, dummy) = farm(10 * IMAGE_MB).await;
    let recipe = recipe(&farm, "gcc", "1");
    assert!(is_made(&mut farm, &dummy, recipe.clone()).await);
    farm.restart(|_| {}).await;
    assert!(!is_made(&mut farm, &dummy, recipe.clone()).await);
    dummy.lose_images();
    assert!(is_made(&mut farm, &dummy, recipe.clone()).await, "somebody tidied up");
    assert!(!is_made(&mut farm, &dummy, recipe).await);
    assert_eq!((dummy.images(), files(&farm).len()), (1, 2));
    farm.close().await;
}

#[tokio::test]
async fn what_was_half_kept_when_a_builder_died_is_removed() {
    let (mut farm, dummy) = farm(10 * IMAGE_MB).await;
    let recipe = recipe(&farm, "gcc", "1");
    for damage in ["no promise yet", "a promise cut off", "no names", "half written"] {
        assert!(is_made(&mut farm, &dummy, recipe.clone()).await, "before {damage}");
        let kind = |kind: &str| {
            files(&farm).into_iter().find(|path| path.extension().is_some_and(|found| found == kind)).unwrap()
        };
        match damage {
            "no promise yet" => std::fs::remove_file(kind("json")).unwrap(),
            "a promise cut off" => std::fs::write(kind("json"), "{\"image\":").unwrap(),
            "no names" => std::fs::remove_file(kind("names")).unwrap(),
            _ => {
                std::fs::rename(kind("json"), folder(&farm).join("writing-x")).unwrap();
            }
        }
        farm.restart(|_| {}).await;
        farm.present(|_| true).await;
        if damage != "no names" {
            assert_eq!((dummy.images(), files(&farm).len()), (0, 0), "{damage}");
        }
    }
    farm.close().await;
}
