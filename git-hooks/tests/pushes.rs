//! Real pushes with git into bare repos with our hooks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod stage;

use std::path::PathBuf;
use std::time::Instant;

use stage::{Mood, Stage, TOKEN, TestHub, deliver, plain};

const BRANCH: &str = "c9s-sig-demo-hello";

#[test]
fn a_push_is_reported_and_the_hubs_words_are_shown() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    let commit = stage.commit("second");
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted().saw("build of c9s-sig-demo-hello queued");
    assert_eq!(hub.told(), [format!("rpms/hello ada {commit}")]);
    let old = hub.reports.lock().unwrap()[0].updates[0].old.clone();
    assert_eq!(old, "0".repeat(40));
    let next = stage.commit("third");
    stage.push(&hub, "root", "rpms/hello", &[BRANCH]).accepted();
    assert_eq!(hub.told()[1], format!("rpms/hello root {next}"));
    assert_eq!(hub.reports.lock().unwrap()[1].updates[0].old, commit);
    assert_eq!(stage.spooled(), 0);
}

#[test]
fn what_a_person_has_no_right_to_is_refused_with_the_reason() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    let pushed = |person: &str, repo: &str, branch: &str| {
        let pushed = stage.push(&hub, person, repo, &[&format!("HEAD:refs/heads/{branch}")]);
        pushed.refused();
        assert_eq!(stage.head(repo, branch), None, "the branch must not exist");
        pushed
    };
    pushed("sten", "rpms/hello", BRANCH)
        .saw("sten is not a maintainer of SIG demo")
        .saw("fix: a maintainer of demo");
    pushed("ada", "rpms/hello", "c9s")
        .saw("belongs to no SIG")
        .saw("fix: distribution branches are import-only");
    pushed("root", "rpms/hello", "main").saw("belongs to no SIG");
    pushed("ada", "rpms/other", BRANCH).saw("package other is not in project hello-2");
    pushed("mallory", "tests/demo", "main").saw("mallory is not a maintainer of SIG demo");
    pushed("sten", "tests/demo", "main").saw("sten is not a maintainer of SIG demo, which takes suites");
    pushed("ada", "tests/other", "main")
        .saw("no SIG takes suites")
        .saw("fix: name it in your SIG's template");
    // Names that begin alike are not alike.
    pushed("sten", "rpms/ceph", "c9s-sig-storagex-ceph").saw("SIG storagex");
    pushed("sten", "rpms/ceph", "c9s-sig-storagex").saw("SIG storagex");
    pushed("xenia", "rpms/ceph", "c9s-sig-storage-x").saw("SIG storage,");
    assert_eq!(hub.told(), Vec::<String>::new());
}

#[test]
fn suite_repos_take_their_sigs_maintainers_branches() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    let commit = stage.git(&["rev-parse", "HEAD"]);
    let commit = commit.trim();
    stage.push(&hub, "ada", "tests/demo", &["HEAD:refs/heads/main", "HEAD:refs/heads/next"]).accepted();
    assert_eq!(hub.told(), [format!("tests/demo ada {commit}"), format!("tests/demo ada {commit}")]);
    stage.push(&hub, "root", "tests/other", &["HEAD:refs/heads/main"]).accepted();
}

#[test]
fn history_stays() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    let second = stage.commit("second");
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted();
    stage.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    stage
        .push(&hub, "ada", "rpms/hello", &["--force", BRANCH])
        .refused()
        .saw("would take commits out of")
        .saw("fix: history is what builds are traced to");
    stage.commit("another second");
    stage.push(&hub, "root", "rpms/hello", &["--force", BRANCH]).refused().saw("would take commits out of");
    stage.push(&hub, "ada", "rpms/hello", &["--delete", BRANCH]).refused().saw("cannot be deleted");
    stage
        .push(&hub, "ada", "rpms/hello", &["HEAD:refs/tags/v1"])
        .refused()
        .saw("refs/tags/v1 is not a branch");
    assert_eq!(stage.head("rpms/hello", BRANCH), Some(second));
    assert_eq!(hub.told().len(), 1);
}

#[test]
fn of_several_branches_the_rightful_ones_move() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    let pushed =
        stage.push(&hub, "ada", "rpms/hello", &[BRANCH, "HEAD:refs/heads/c9s-sig-demo-next", "HEAD:c9s"]);
    pushed.refused().saw("branch c9s belongs to no SIG");
    let branches: Vec<String> =
        hub.reports.lock().unwrap()[0].updates.iter().map(|update| update.branch.clone()).collect();
    assert_eq!(branches, [BRANCH, "c9s-sig-demo-next"]);
}

#[test]
fn while_the_hub_is_down_pushes_are_kept_and_delivered_in_order() {
    let stage = Stage::new();
    let hub = TestHub::start();
    let address = hub.address;
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted();
    assert_eq!(hub.told().len(), 1);
    hub.is(Mood::Broken);
    let mut commits = Vec::new();
    for text in ["a", "b"] {
        commits.push(format!("rpms/hello ada {}", stage.commit(text)));
        stage
            .push(&hub, "ada", "rpms/hello", &[BRANCH])
            .accepted()
            .saw("the hub cannot be reached; your push is kept");
    }
    drop(hub);
    commits.push(format!("rpms/hello ada {}", stage.commit("c")));
    stage
        .push_towards(&format!("http://{address}"), "ada", "rpms/hello", &[BRANCH])
        .accepted()
        .saw("spooled");
    assert_eq!(stage.spooled(), 3);

    let hub = TestHub::start_at(address);
    commits.push(format!("rpms/hello ada {}", stage.commit("d")));
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted().saw("queued");
    assert_eq!(hub.told(), commits);
    assert_eq!(stage.spooled(), 0);
}

#[test]
fn a_refusal_of_the_hub_is_shown_and_not_repeated() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    hub.is(Mood::Refusing);
    stage
        .push(&hub, "ada", "rpms/hello", &[BRANCH])
        .accepted()
        .saw("The spec cannot be read: hello.spec:3: unknown tag");
    assert_eq!(stage.spooled(), 0);
}

#[test]
fn what_the_hub_cannot_have_now_waits_and_holds_up_its_own_repo_only() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    hub.is(Mood::Unable);
    let first = stage.commit("a");
    stage
        .push(&hub, "ada", "rpms/hello", &[BRANCH])
        .accepted()
        .saw("the hub cannot take it in now; your push is kept")
        .saw("Not now: no such commit there");
    let second = stage.commit("b");
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted().saw("earlier pushes are waiting");
    stage.push(&hub, "root", "tests/demo", &["HEAD:refs/heads/main"]).accepted().saw("build of main queued");
    assert_eq!(hub.told(), [format!("tests/demo root {second}")]);
    assert_eq!(stage.spooled(), 2);

    hub.is(Mood::Well);
    let third = stage.commit("c");
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted().saw("queued");
    let hello = [first, second, third].map(|commit| format!("rpms/hello ada {commit}"));
    assert_eq!(hub.told()[1..], hello);
    assert_eq!(stage.spooled(), 0);
}

#[test]
fn what_no_hub_said_is_no_answer() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    hub.is(Mood::Strange);
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted().saw("your push is kept");
    assert_eq!(stage.spooled(), 1);
}

#[test]
fn a_kept_report_that_is_refused_or_damaged_holds_up_no_other() {
    let (stage, hub) = (Stage::new(), TestHub::start());
    hub.is(Mood::Broken);
    stage.push(&hub, "ada", "rpms/hello", &[BRANCH]).accepted().saw("your push is kept");
    std::fs::write(stage.spool().join(format!("{:020}.report", 1)), "{ half a rep").unwrap();
    hub.is(Mood::Refusing);
    stage.commit("next");
    let pushed = stage.push(&hub, "ada", "rpms/hello", &[BRANCH]);
    pushed.accepted().saw("it is put aside").saw("an earlier push to rpms/hello by ada was refused");
    assert_eq!(stage.spooled(), 0);
    assert!(stage.spool().join(format!("{:020}.unreadable", 1)).exists());
}

/// A git server of its own, with a configuration file.
struct OtherServer {
    stage: Stage,
    config: PathBuf,
}

impl OtherServer {
    fn new(hub: &str) -> OtherServer {
        let stage = Stage::new();
        let config = stage.path("srv/grange-hooks.toml");
        std::fs::create_dir_all(stage.path("srv")).unwrap();
        std::fs::write(stage.path("token"), format!("{TOKEN}\n")).unwrap();
        let other = OtherServer { stage, config };
        other.configure(hub, 60);
        other
    }

    fn configure(&self, hub: &str, seconds: u64) {
        let path = |below: &str| self.stage.path(below).display().to_string();
        let text = format!(
            "hub = \"{hub}\"\ntoken-file = \"{}\"\nroot = \"{}\"\nrepo-url = \"https://git.example.org/{{repo}}.git\"\n\
             spool = \"{}\"\ntimeout-seconds = {seconds}\n",
            path("token"),
            path("srv"),
            path("spool"),
        );
        std::fs::write(&self.config, text).unwrap();
    }

    fn push(&self, person: &str) -> stage::Pushed {
        self.stage.push_with(&[("GL_USER", person)], "rpms/hello", &[BRANCH])
    }
}

#[test]
fn any_other_git_server_works_with_a_file() {
    let hub = TestHub::start();
    let server = OtherServer::new(&hub.url());
    let commit = server.stage.commit("second");
    server.push("sten").refused().saw("sten is not a maintainer of SIG demo");
    server.push("ada").accepted().saw("build of c9s-sig-demo-hello queued");
    assert_eq!(hub.told(), [format!("https://git.example.org/rpms/hello.git ada {commit}")]);

    let nobody = server.stage.push_with(&[], "rpms/hello", &["HEAD:refs/heads/c9s-sig-demo-x"]);
    nobody.refused().saw("does not say who pushes: none of GL_USER, REMOTE_USER");
}

#[test]
fn rules_once_read_hold_while_the_hub_is_down() {
    let hub = TestHub::start();
    let server = OtherServer::new(&hub.url());
    hub.is(Mood::Broken);
    server.push("ada").refused().saw("the hub cannot be reached").saw("its rules have never been read here");
    hub.is(Mood::Well);
    server.push("ada").accepted();
    drop(hub);

    server.stage.commit("while the hub is down");
    server.push("sten").refused().saw("sten is not a maintainer of SIG demo");
    server.push("ada").accepted().saw("your push is kept");
    let (delivered, said) = deliver(&server.config);
    assert!(!delivered && said.contains("1 push reports are still waiting"), "{said}");

    let hub = TestHub::start();
    server.configure(&hub.url(), 5);
    assert_eq!(deliver(&server.config), (true, String::new()));
    assert_eq!(hub.told().len(), 1);
    assert_eq!(deliver(&server.config), (true, String::new()));
    assert_eq!(hub.told().len(), 1, "a delivered report is not delivered again");
}

#[test]
fn a_silent_hub_holds_nobody_up_for_long() {
    let hub = TestHub::start();
    let server = OtherServer::new(&hub.url());
    server.push("ada").accepted();
    server.configure(&hub.url(), 1);
    hub.is(Mood::Silent);
    server.stage.commit("into the silence");
    let begun = Instant::now();
    server.push("ada").accepted().saw("no answer in time");
    assert!(begun.elapsed().as_secs() < 60);
    assert_eq!(server.stage.spooled(), 1);
}

#[test]
fn the_hub_says_how_long_its_own_hooks_wait_for_it() {
    let (hub, stage) = (TestHub::start(), Stage::new());
    let push = |ms| stage.push_within(ms, &hub.url(), "ada", "rpms/hello", &[BRANCH]);
    push("soon").refused().saw("GRANGE_TIMEOUT_MS: `soon` is no number");
    hub.is(Mood::Silent);
    push("300").accepted().saw("no answer in time");
    assert_eq!(stage.spooled(), 1);
}

#[test]
fn a_hub_that_does_not_know_the_server_says_so() {
    let hub = TestHub::start();
    let server = OtherServer::new(&hub.url());
    std::fs::write(server.stage.path("token"), "an old token's first line").unwrap();
    server.push("ada").refused().saw("token is not one line of visible characters");
    std::fs::write(server.stage.path("token"), "an-old-token\n").unwrap();
    server.push("ada").refused().saw("Unknown token: the hook's token is not known");
}

#[test]
fn a_server_without_configuration_says_what_is_missing() {
    let stage = Stage::new();
    stage
        .push_with(&[("GL_USER", "ada")], "rpms/hello", &[BRANCH])
        .refused()
        .saw("the hook is not configured: there is no grange-hooks.toml");
}

#[test]
fn a_hook_called_by_hand_explains_itself() {
    let output = plain(stage::UPDATE).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("grange-update <ref> <old> <new>"));
}
