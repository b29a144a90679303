//! What SIGs publish beside their packages: groups, advisories and module streams of a branch; on the embedded defaults, and on
//! PostgreSQL and RabbitMQ, and with a real dnf.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use cli::verify::{Keys, Place};
use farm::api::{Page, PromotionView};
use farm::ids::PromotionId;
use farm::promotion::{Promotion, PromotionState};
use farm::request::Status;
use flate2::read::MultiGzDecoder;
use serde_json::json;
use tests::{Behaviour, Farm, Options, Package, audit, stories};

stories!(
    what_is_published_beside_packages_was_tested_with_them,
    what_is_no_list_of_groups_is_told_and_holds_up_nobody_else,
    files_that_fail_their_tests_are_refused_once,
);

/// Four looks at the heads of branches are in this.
const WAIT: u64 = 1_200;
const TESTING: &str = "demo9s-hello-2-testing";
const RELEASE: &str = "demo9s-hello-2-release";
const METADATA: &str = "[project.metadata]\nrepo = \"metadata/demo\"\nbranch = \"main\"\n";

/// Another SIG on the same farm.
const OTHER: &str = r#"
name = "other"
[[member]]
name = "ada"
roles = ["maintainer"]
[[project]]
name = "moon"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["moon"]
image = "dummy"
[project.tests]
required = ["installs"]
"#;

fn comps(name: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<comps>\n  <group>\n    <id>{}</id>\n    <name>{name}</name>\n    \
         <description>What greets</description>\n    <default>true</default>\n    <uservisible>true</uservisible>\n    \
         <packagelist>\n      <packagereq type=\"mandatory\">hello</packagereq>\n    </packagelist>\n  </group>\n</comps>\n",
        name.to_lowercase()
    )
}

const ADVISORY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates><update from=\"demo\" status=\"final\" \
    type=\"security\" version=\"1\"><id>DEMO-2026:1</id><title>A greeting</title><issued date=\"2026-01-01 00:00:00\"/>\
    <severity>Important</severity><description>It greets better.</description><pkglist><collection short=\"demo\">\
    <name>demo</name><package name=\"hello\" version=\"1\" release=\"1\" epoch=\"0\" arch=\"x86_64\">\
    <filename>hello-1-1.x86_64.rpm</filename></package></collection></pkglist></update></updates>\n";

const MODULES: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: greet\n  stream: \"1\"\n  version: 1\n  context: abcdef\n  \
    arch: x86_64\n  summary: Greetings\n  description: >-\n    Greetings of all sorts.\n  license:\n    module: [MIT]\n  \
    profiles:\n    default:\n      rpms: [world]\n  artifacts:\n    rpms:\n    - world-0:1-1.x86_64\n...\n";

async fn farm() -> Farm {
    let farm = Farm::bare(Options { recheck_ms: WAIT, ..Options::default() }).await;
    farm.apply_demo_with(METADATA).await;
    farm
}

fn hello(version: &str) -> Package {
    Package::new("hello", version, Behaviour::Builds)
}

/// Pushes these files, and gives what the pusher reads.
fn push(farm: &Farm, files: &[(&str, &str)]) -> String {
    let pushed = farm.push_files("ada", "metadata/demo", files);
    let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(pushed.status.success(), "{said}");
    said
}

/// What stands beside the packages of a folder that users see, by name. Links lead to what they saw before.
fn beside(farm: &Farm, tag: &str, folder: &str) -> BTreeMap<String, String> {
    let repodata = farm.data.join("public/live").join(tag).join(folder).join("repodata");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(repodata).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches(".gz").to_owned();
        let kind = name.split_once('-').map_or("", |(_, kind)| kind);
        let is_own = !path.is_symlink();
        if is_own && ["comps.xml", "updateinfo.xml", "modules.yaml"].contains(&kind) {
            let mut text = String::new();
            let packed = std::fs::File::open(&path).unwrap();
            MultiGzDecoder::new(packed).read_to_string(&mut text).unwrap();
            assert!(found.insert(kind.to_owned(), text).is_none(), "two of one kind");
        }
    }
    found
}

fn groups(farm: &Farm, tag: &str) -> Option<String> {
    beside(farm, tag, "x86_64").remove("comps.xml")
}

async fn shows(farm: &Farm, tag: &str, text: &str) {
    farm.until(&format!("{tag} shows other groups"), || async {
        (groups(farm, tag).as_deref() == Some(text)).then_some(())
    })
    .await;
}

/// Several looks at the heads of branches go by.
async fn looks() {
    tokio::time::sleep(Duration::from_millis(2 * WAIT)).await;
}

async fn publish(farm: &Farm, package: &Package) {
    farm.closed(farm.build(package)).await;
    let promotion = farm.tested(&package.nvr()).await;
    assert_eq!(promotion.phase(), "published", "{:?}", promotion.state);
}

async fn release(farm: &Farm, nvrs: &[&str]) {
    let (status, body) = farm.promote("rex", nvrs).await;
    assert!((200..300).contains(&status), "{body}");
    is_published(farm, body["id"].as_str().unwrap().parse().unwrap()).await;
}

async fn is_published(farm: &Farm, id: PromotionId) {
    let settled = farm.settled(id).await;
    assert_eq!(settled.promotion.phase(), "published", "{}", settled.sentence);
}

async fn roll_back(farm: &Farm, tag: &str) {
    let body = json!({"tag": tag, "reason": "these groups were a mistake"});
    let (status, body) = farm.post("rex-token", "/api/v1/rollbacks", &body).await;
    assert!((200..300).contains(&status), "{body}");
    is_published(farm, body["id"].as_str().unwrap().parse().unwrap()).await;
}

/// The promotions that opened for the files alone, the newest first.
async fn brought(farm: &Farm) -> Vec<Promotion> {
    let (_, body) = farm.get("/api/v1/promotions?limit=200").await;
    let page: Page<serde_json::Value> = serde_json::from_value(body).unwrap();
    let promotion = |item: serde_json::Value| {
        let item = item.get("promotion").cloned().unwrap_or(item);
        serde_json::from_value::<Promotion>(item).unwrap()
    };
    page.items.into_iter().map(promotion).filter(|promotion| promotion.brings.is_some()).collect()
}

/// Both auditors find nothing.
async fn is_clean(farm: &Farm) {
    assert_eq!(audit(&farm.db, &farm.data).await, Vec::<String>::new());
    assert_eq!(stranger_finds(farm).await, Vec::<String>::new());
}

/// What the independent auditor finds in the public tree.
async fn stranger_finds(farm: &Farm) -> Vec<String> {
    let place = Place::open(&format!("{}/repos/", farm.url)).unwrap();
    let keys = Keys::read(&farm.data.join("public/keys")).unwrap();
    let options = cli::verify::Options { deep: true, ..cli::verify::Options::default() };
    let report = cli::verify::audit(&place, &keys, &options).await.unwrap();
    report.all_violations().map(|wrong| format!("{}: {}", wrong.file, wrong.reason)).collect()
}

async fn what_is_published_beside_packages_was_tested_with_them() {
    let farm = farm().await;
    let (first, second) = (comps("Greeters"), comps("Parrots"));
    let eves = farm.push_files("eve", "metadata/demo", &[("comps.xml", &first)]);
    assert!(!eves.status.success(), "who maintains no SIG that takes from it pushes nothing");
    let files = [
        ("comps.xml", &*first),
        ("updateinfo.xml", ADVISORY),
        ("modules.yaml", MODULES),
        ("README", "what else lies there is nobody's business"),
    ];
    let said = push(&farm, &files);
    assert!(
        said.contains("demo9s-hello-2-el9s") && said.contains("comps.xml, updateinfo.xml, modules.yaml"),
        "{said}"
    );

    // They come with the first package that is tested, as they were pushed, and where clients look for them.
    publish(&farm, &hello("1")).await;
    let all = beside(&farm, TESTING, "x86_64");
    for (name, text) in &files[..3] {
        assert_eq!(all.get(*name).map(String::as_str), Some(*text));
    }
    for folder in ["debug-x86_64", "source"] {
        assert_eq!(beside(&farm, TESTING, folder), BTreeMap::new(), "{folder}");
    }
    release(&farm, &["hello-1-1"]).await;
    assert_eq!(groups(&farm, RELEASE).as_deref(), Some(&*first));

    // The branch moves: testing follows by itself, once the same packages have passed with the new files; production does not.
    push(&farm, &[("comps.xml", &second)]);
    shows(&farm, TESTING, &second).await;
    let [bringer] = &brought(&farm).await[..] else { panic!("{:?}", brought(&farm).await) };
    is_published(&farm, bringer.id).await;
    assert!(bringer.what().starts_with("the files of metadata/demo at "), "{}", bringer.what());
    assert_eq!(beside(&farm, TESTING, "x86_64").len(), 1, "what is gone from the branch is gone");
    assert_eq!(groups(&farm, RELEASE).as_deref(), Some(&*first));
    is_clean(&farm).await;

    // A maintainer's promotion of what is live already brings them to production, and what is pushed after it was composed stays
    // out, although nobody had agreed then.
    let (status, body) = farm.promote("ada", &["hello-1-1"]).await;
    assert!((200..300).contains(&status), "{body}");
    let waiting: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    farm.until("it waits for a word", || async {
        let view = farm.promotion(waiting).await;
        matches!(view.promotion.state, PromotionState::Ready { .. }).then_some(())
    })
    .await;
    let third = comps("Owls");
    push(&farm, &[("comps.xml", &third)]);
    let (status, body) =
        farm.post("rex-token", &format!("/api/v1/promotions/{waiting}/approve"), &json!({})).await;
    assert!((200..300).contains(&status), "{body}");
    is_published(&farm, waiting).await;
    assert_eq!(groups(&farm, RELEASE).as_deref(), Some(&*second), "what was tested, and nothing newer");
    shows(&farm, TESTING, &third).await;
    release(&farm, &["hello-1-1"]).await;
    assert_eq!(groups(&farm, RELEASE).as_deref(), Some(&*third));
    let (status, body) = farm.promote("rex", &["hello-1-1"]).await;
    assert_eq!(status, 409, "nothing at all would change: {body}");

    // Going back brings back the files, and the commit that was gone back from is not brought again.
    roll_back(&farm, RELEASE).await;
    assert_eq!(groups(&farm, RELEASE).as_deref(), Some(&*second));
    let times = brought(&farm).await.len();
    roll_back(&farm, TESTING).await;
    looks().await;
    assert_eq!(groups(&farm, TESTING).as_deref(), Some(&*second));
    assert_eq!(brought(&farm).await.len(), times);
    is_clean(&farm).await;

    // A commit that changes something else is no reason for anything; the next one that does is.
    push(&farm, &[("comps.xml", &second), ("README", "more")]);
    looks().await;
    assert_eq!(brought(&farm).await.len(), times);
    push(&farm, &[("comps.xml", &first)]);
    shows(&farm, TESTING, &first).await;
    is_clean(&farm).await;
    farm.ends_well().await;
}

async fn what_is_no_list_of_groups_is_told_and_holds_up_nobody_else() {
    let farm = farm().await;
    farm.apply(OTHER).await;
    let good = comps("Greeters");
    push(&farm, &[("comps.xml", &good), ("updateinfo.xml", ADVISORY)]);
    publish(&farm, &hello("1")).await;

    let said = push(&farm, &[("comps.xml", "<comps>\n<group>\n</comps>\n")]);
    assert!(
        said.contains("warning: comps.xml in metadata/demo at ") && said.contains(", line 3: "),
        "{said}"
    );
    let bringer = farm.until("somebody is told", || async { brought(&farm).await.into_iter().next() }).await;
    let told = |view: &PromotionView| {
        view.sentence.contains("comps.xml in metadata/demo at ") && view.sentence.contains(", line 3: ")
    };
    farm.until("it says why", || async { told(&farm.promotion(bringer.id).await).then_some(()) }).await;
    let (status, why) = farm.get(&format!("/api/v1/why/{}", bringer.id)).await;
    assert!(status == 200 && why.to_string().contains("comps.xml in metadata/demo at "), "{why}");

    // Builds go on, with the files that candidate had; another SIG's promotions too.
    let built = farm.closed(farm.build(&hello("2"))).await;
    assert_eq!(built.status, Status::Complete, "{:?}", built.reason);
    farm.repo_holds("candidate", &["hello-2-1"]).await;
    let pushed = farm.push("ada", &Package::new("moon", "1", Behaviour::Builds), "c9s-sig-other-moon");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    assert_eq!(farm.tested("moon-1-1").await.phase(), "published");
    assert_eq!(farm.repo("testing").await, ["hello-1-1"]);
    let shown = beside(&farm, TESTING, "x86_64");
    assert_eq!(
        (shown.len(), shown.get("comps.xml")),
        (2, Some(&good)),
        "what was published stays, all of it"
    );

    // It is mended, and everything that waited goes on.
    let mended = comps("Parrots");
    push(&farm, &[("comps.xml", &mended)]);
    assert_eq!(farm.tested("hello-2-1").await.phase(), "published");
    assert_eq!(groups(&farm, TESTING).as_deref(), Some(&*mended));
    is_clean(&farm).await;
    farm.ends_well().await;
}

async fn files_that_fail_their_tests_are_refused_once() {
    let farm = farm().await;
    let (good, bad) = (comps("Greeters"), comps("Vandals"));
    push(&farm, &[("comps.xml", &good)]);
    publish(&farm, &hello("1")).await;
    farm.breaks(&hello("1"));
    push(&farm, &[("comps.xml", &bad)]);
    let bringer = farm.until("they are tried", || async { brought(&farm).await.into_iter().next() }).await;
    let refused = farm.settled(bringer.id).await;
    assert_eq!(refused.promotion.phase(), "rejected", "{}", refused.sentence);
    assert!(refused.sentence.contains("suite runs on x86_64 failed"), "{}", refused.sentence);
    looks().await;
    assert_eq!(brought(&farm).await.len(), 1, "once");
    assert_eq!(groups(&farm, TESTING).as_deref(), Some(&*good));
    is_clean(&farm).await;
    farm.ends_well().await;
}

/// Runs dnf with nothing but the farm's `.repo` file of a tag, in a root of its own below `place`.
fn dnf(repo: &str, place: &Path, words: &[&str]) -> String {
    let (root, repos) = (place.join("root"), place.join("repos"));
    std::fs::create_dir_all(&repos).unwrap();
    std::fs::write(repos.join("farm.repo"), repo).unwrap();
    let conf = place.join("dnf.conf");
    let main = "[main]\ngpgcheck=1\nrepo_gpgcheck=1\nplugins=0\nretries=1\n";
    std::fs::write(&conf, format!("{main}module_platform_id=platform:el9\n")).unwrap();
    let shown = |path: &Path| path.display().to_string();
    let output: Output = Command::new("dnf")
        // People wait until what they have is some hours old; here it looks at once.
        .args(["-y", "--refresh", "--noplugins", "--releasever=9", "--forcearch=x86_64", "-c", &shown(&conf)])
        .arg(format!("--installroot={}", shown(&root)))
        .arg(format!("--setopt=reposdir={}", shown(&repos)))
        .arg(format!("--setopt=cachedir={}", shown(&place.join("cache"))))
        .arg(format!("--setopt=logdir={}", shown(place)))
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "dnf {words:?}: {said}");
    said
}

fn installed(place: &Path) -> Vec<String> {
    let rpm = Command::new("rpm")
        .arg(format!("--root={}", place.join("root").display()))
        .args(["--query", "--all", "--queryformat", "%{NVR}\\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(rpm.stdout).unwrap();
    text.lines().filter(|nvr| !nvr.starts_with("gpg-pubkey")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dnf_sees_groups_advisories_and_streams_and_the_former_ones_after_a_way_back() {
    if Command::new("dnf").arg("--version").output().is_err() {
        println!("SKIPPED: dnf is not installed");
        return;
    }
    let farm = farm().await;
    push(
        &farm,
        &[("comps.xml", &comps("Greeters")), ("updateinfo.xml", ADVISORY), ("modules.yaml", MODULES)],
    );
    publish(&farm, &hello("1")).await;
    publish(&farm, &Package::new("world", "1", Behaviour::Builds)).await;
    release(&farm, &["hello-1-1", "world-1-1"]).await;
    let url = format!("{}/api/v1/repos/{RELEASE}.repo", farm.public_url);
    let repo = reqwest::get(url).await.unwrap().text().await.unwrap();
    let client = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| dnf(&repo, client.path(), words);

    let said = run(&["group", "list"]);
    assert!(said.contains("Greeters"), "{said}");
    let said = run(&["module", "list"]);
    assert!(said.contains("greet") && said.contains("Greetings"), "{said}");
    run(&["group", "install", "Greeters"]);
    assert_eq!(installed(client.path()), ["hello-1-1"]);
    let said = run(&["updateinfo", "list", "--installed"]);
    assert!(said.contains("DEMO-2026:1") && said.contains("hello-1-1.x86_64"), "{said}");
    // What is in a stream is there for who has enabled it.
    run(&["module", "enable", "greet:1"]);
    run(&["install", "world"]);
    let mut all = installed(client.path());
    all.sort();
    assert_eq!(all, ["hello-1-1", "world-1-1"]);

    // Other groups, and no advisories or streams any more; and the way back.
    let parrots = comps("Parrots");
    push(&farm, &[("comps.xml", &parrots)]);
    shows(&farm, TESTING, &parrots).await;
    release(&farm, &["hello-1-1"]).await;
    let said = run(&["group", "list"]);
    assert!(said.contains("Parrots"), "{said}");
    assert!(!run(&["updateinfo", "list", "--installed"]).contains("DEMO-2026:1"));
    roll_back(&farm, RELEASE).await;
    let said = run(&["group", "list"]);
    assert!(said.contains("Greeters") && !said.contains("Parrots"), "{said}");
    let said = run(&["updateinfo", "list", "--installed"]);
    assert!(said.contains("DEMO-2026:1"), "{said}");
    is_clean(&farm).await;

    // Somebody with the disk exchanges the groups of what is live: the stranger's audit says so, and dnf does not take them.
    let repodata = farm.data.join("public/live").join(RELEASE).join("x86_64/repodata");
    let path = std::fs::read_dir(repodata).unwrap().map(|entry| entry.unwrap().path());
    let mut own = path.filter(|path| !path.is_symlink());
    let path = own.find(|path| path.to_str().unwrap().ends_with("-comps.xml.gz")).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, parrots).unwrap();
    let found = stranger_finds(&farm).await;
    assert!(found.iter().any(|said| said.contains("-comps.xml.gz: ")), "{found:?}");
    farm.ends_well().await;
}
