//! What a builder makes of an offer, told with an engine that runs no containers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod farmyard;

use std::time::Duration;

use builder::Engine;
use builder::engine::{Dummy, Script, Step};
use farm::buildroot::{LOCK_FILE, Lock};
use farm::gate::UNDER_TEST;
use farm::outcome::Outcome;
use farm::recipe::{Recipe, RepoOrigin, RepoSource, Work};

use farmyard::Farmyard;

async fn farm(script: impl Fn(&Recipe, Step) -> Script + Send + Sync + 'static) -> Farmyard {
    Farmyard::start(Engine::Dummy(Dummy::new(script)), "base").await
}

fn builds(_: &Recipe, step: Step) -> Script {
    match step {
        Step::Build => Script::default().says("+ make").puts_out("any-1-1.x86_64.rpm", "an RPM"),
        Step::Dependencies => Script::default().says("Nothing to do."),
        Step::Srpm => Script::default().puts_out("any-1-1.src.rpm", "a source RPM"),
        Step::Lock | Step::Install | Step::Suite => Script::default(),
    }
}

fn package(reason: &str) -> Outcome {
    Outcome::FailedByPackage { reason: reason.to_owned() }
}

#[tokio::test]
async fn a_build_passes_and_everything_is_delivered() {
    let mut farm = farm(builds).await;
    let recipe = farm.any_build();
    let (outcome, attempt) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("state.log"));
    assert_eq!(attempt.files["any-1-1.x86_64.rpm"], b"an RPM");
    assert_eq!(attempt.log("build.log"), "+ make\n");
    assert_eq!(attempt.log("root.log"), "Nothing to do.\n");
    let lock = Lock::read(&farm.any_build(), &attempt.files[LOCK_FILE]).unwrap();
    assert_eq!(lock.packages[0].nevra, "base-1-1.noarch");
    let state = attempt.log("state.log");
    assert!(state.ends_with("Finish: passed\n"), "{state}");
    for said in [format!("Image: base is {}", lock.image_digest), format!("Root: lock {}", lock.digest())] {
        assert!(state.contains(&said), "{said}: {state}");
    }
    assert_eq!(attempt.builder.as_ref(), Some(&farm.name));
    farm.present(|presence| presence.running.is_empty() && !presence.draining).await;
    farm.close().await;
}

#[tokio::test]
async fn a_source_rpm_is_made_of_a_tree() {
    let mut farm = farm(builds).await;
    let tree = farm.hub.input("tree.tar", b"a tar");
    let sources = vec![farm.hub.input("any (1).tar.gz", b"a tarball")];
    let recipe = farm.recipe(Work::Srpm { tree, spec: "SPECS/any.spec".to_owned(), sources });
    let (outcome, attempt) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed);
    assert_eq!(attempt.files.keys().collect::<Vec<_>>(), ["any-1-1.src.rpm"]);
    farm.close().await;
}

#[tokio::test]
async fn every_way_to_fail_is_named() {
    for (script, expected) in [
        (
            Script::default().exits(1).says("error: Bad exit status from /var/tmp/rpm-tmp.x (%check)"),
            package("rpmbuild failed in %check; see build.log"),
        ),
        (Script::default().runs_out_of_memory(), package("out of memory (limit 1024 MiB)")),
        (Script::default().says("x".repeat(5 << 20)).hangs(), package("wrote more than 4 MiB of log")),
        (Script::default().hangs(), package("took longer than 1 s")),
        (
            Script::default().exits(1).says("cp: No space left on device"),
            package("no space left on the build's disk (limit 256 MiB)"),
        ),
        (Script::default(), package("rpmbuild made no package; see build.log")),
        (
            Script::default().puts_out("passwd", "root"),
            package("the files it made were refused: \"passwd\" is not the name of a file this step makes"),
        ),
        (
            Script::default()
                .exits(11)
                .says("error: Failed build dependencies:")
                .says("\tx is needed by any"),
            package("Failed build dependencies: x is needed by any; see build.log"),
        ),
        (
            Script::default().engine_fails("the daemon is drunk"),
            Outcome::FailedByFarm {
                reason: "the container engine failed to start a container: the daemon is drunk".to_owned(),
            },
        ),
    ] {
        let scripted = script.clone();
        let mut farm = farm(move |recipe, step| match step {
            Step::Build => scripted.clone(),
            _ => builds(recipe, step),
        })
        .await;
        let mut recipe = farm.any_build();
        recipe.limits.seconds = 1;
        let (outcome, attempt) = farm.done(recipe).await;
        assert_eq!(outcome, expected, "{script:?}");
        assert!(attempt.files.keys().all(|name| name == LOCK_FILE), "{:?}", attempt.files.keys());
        farm.close().await;
    }
}

#[tokio::test]
async fn a_missing_dependency_is_the_packages_fault_and_a_broken_repo_the_farms() {
    for (line, expected) in [
        ("No matching package to install: 'x'", package("No matching package to install: 'x'; see root.log")),
        (
            "Error: Failed to download metadata for repo 'farm'",
            Outcome::FailedByFarm {
                reason: "dnf cannot read a repo: Failed to download metadata for repo 'farm'; see root.log"
                    .to_owned(),
            },
        ),
    ] {
        let mut farm = farm(move |_, _| Script::default().says(line).exits(1)).await;
        let recipe = farm.any_build();
        assert_eq!(farm.done(recipe).await.0, expected);
        farm.close().await;
    }
}

#[tokio::test]
async fn a_layer_with_nothing_for_the_architecture_is_left_out_but_not_what_is_under_test() {
    let mut farm = farm(builds).await;
    let mut recipe = farm.any_build();
    recipe.repos = vec![farm.repo(&[])];
    let name = recipe.repos[0].name.clone();
    let (outcome, attempt) = farm.done(recipe.clone()).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("state.log"));
    let said = format!("Repo {name} has nothing for ");
    assert!(attempt.log("state.log").contains(&said), "{}", attempt.log("state.log"));

    recipe.repos[0].name = UNDER_TEST.to_owned();
    let (outcome, _) = farm.done(recipe).await;
    let Outcome::FailedByFarm { reason } = outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("what is under test, snapshot "), "{reason}");
    farm.close().await;
}

/// SIGs that know nothing of each other call repos outside the farm alike, and a target has those of all that it inherits.
#[tokio::test]
async fn repos_of_one_name_are_all_there_for_dnf() {
    let gate = tempfile::tempdir().unwrap();
    let open = gate.path().join("open");
    let mut farm = farm({
        let open = open.clone();
        move |recipe, step| match step {
            Step::Dependencies => Script::default().says("it looks").waits_for(&open),
            _ => builds(recipe, step),
        }
    })
    .await;
    let mut recipe = farm.any_build();
    let outside = |baseurl: String| RepoOrigin::External { baseurl };
    let mirror = farm.folder.path().join("mirror");
    std::fs::create_dir_all(mirror.join("one")).unwrap();
    std::fs::create_dir_all(mirror.join("two")).unwrap();
    for origin in [
        outside(format!("file://{}", mirror.join("one").display())),
        outside(format!("file://{}", mirror.join("two").display())),
        outside("http://127.0.0.1:1/three".to_owned()),
    ] {
        recipe.repos.push(RepoSource { name: "farm".to_owned(), priority: 50, origin });
    }
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.log("root.log").contains("it looks")).await;
    let work = std::fs::read_dir(farm.folder.path().join("data/work")).unwrap().next().unwrap().unwrap();
    let file = std::fs::read_to_string(work.path().join("grange.repo")).unwrap();
    std::fs::write(&open, "").unwrap();
    let values = |key: &str| -> Vec<String> {
        file.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect()
    };
    assert_eq!(values("["), ["1-farm]", "2-farm]", "3-farm]", "4-farm]"]);
    let folder = |id: &str| format!("file:///grange/repos/{id}");
    let expected =
        [folder("1-farm"), folder("2-farm"), folder("3-farm"), "http://127.0.0.1:1/three".to_owned()];
    assert_eq!(values("baseurl="), expected);
    let (outcome, attempt) = farm.ended(job).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("state.log"));
    farm.close().await;
}

#[tokio::test]
async fn a_build_that_finds_out_what_it_needs_gets_another_round() {
    let dummy = Dummy::new({
        let rounds = std::sync::atomic::AtomicU32::new(0);
        move |recipe, step| match step {
            Step::Build if rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 => {
                Script::default().exits(11).puts_out("any-1-1.buildreqs.nosrc.rpm", "a list")
            }
            _ => builds(recipe, step),
        }
    });
    let mut farm = Farmyard::start(Engine::Dummy(dummy.clone()), "base").await;
    let recipe = farm.any_build();
    let (outcome, attempt) = farm.done(recipe).await;
    assert_eq!(outcome, Outcome::Passed, "{}", attempt.log("state.log"));
    let steps: Vec<Step> = dummy.ran().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, [Step::Dependencies, Step::Lock, Step::Build].repeat(3));
    assert_eq!(attempt.files.keys().collect::<Vec<_>>(), ["any-1-1.x86_64.rpm", LOCK_FILE]);
    farm.close().await;
}

#[tokio::test]
async fn a_suite_is_believed_only_if_all_it_says_is_good() {
    let good = "<testsuite><testcase name='a'/></testsuite>";
    let bad = "<testsuite><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>";
    for (script, expected) in [
        (Script::default().puts_out("r.xml", good), Outcome::Passed),
        (Script::default(), Outcome::Passed),
        (
            Script::default().puts_out("r.xml", bad),
            package("1 of 2 test cases failed, first b; see test.log"),
        ),
        (
            Script::default().puts_out("r.xml", "no xml"),
            package("r.xml is not a JUnit file: there is no <testsuite> in it"),
        ),
        (Script::default().exits(3), package("run.sh ended with 3; see test.log")),
        (
            Script::default().exits(77),
            package("it was skipped, and a skipped suite does not count as passed"),
        ),
    ] {
        let mut farm = farm({
            let script = script.clone();
            move |_, step| if step == Step::Suite { script.clone() } else { Script::default() }
        })
        .await;
        let folder = Some(farm.hub.input("smoke.tar", b"a tar"));
        let packages = vec!["any-1-1.x86_64".to_owned()];
        let mut recipe = farm.recipe(Work::Test { suite: "smoke".to_owned(), folder, packages });
        recipe.repos = vec![farm.repo(&[("repodata/repomd.xml", b"<repomd/>")])];
        let (outcome, attempt) = farm.done(recipe).await;
        assert_eq!(outcome, expected, "{script:?}");
        assert_eq!(attempt.files.len(), usize::from(format!("{script:?}").contains("r.xml")));
        farm.close().await;
    }
}

#[tokio::test]
async fn a_cancelled_job_is_stopped_at_once_when_the_bus_says_so() {
    let mut farm = farm(|_, _| Script::default().says("begun").hangs()).await;
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.log("root.log") == "begun\n").await;
    farm.send_stop(job).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(farm.hub.attempt(job).unwrap().outcome.is_none(), "only the hub can cancel");
    farm.hub.cancel(job);
    farm.send_stop(job).await;
    let (outcome, _) = farm.ended(job).await;
    assert!(matches!(outcome, Outcome::Cancelled { .. }));
    farm.close().await;
}

#[tokio::test]
async fn a_cancelled_job_is_stopped_by_the_beat_when_the_bus_is_silent() {
    let mut farm = farm(|_, _| Script::default().says("begun").hangs()).await;
    farm.hub.set_lease(300);
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.beats > 2).await;
    farm.hub.cancel(job);
    assert!(matches!(farm.ended(job).await.0, Outcome::Cancelled { .. }));
    farm.close().await;
}

#[tokio::test]
async fn an_attempt_that_was_given_away_is_dropped_without_a_word() {
    let mut farm = farm(|_, _| Script::default().says("begun").hangs()).await;
    farm.hub.set_lease(300);
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.log("root.log") == "begun\n").await;
    farm.hub.give_away(job);
    farm.present(|presence| presence.running.is_empty()).await;
    assert_eq!(farm.hub.attempt(job).unwrap().outcome, None);
    farm.close().await;
}

#[tokio::test]
async fn a_hub_that_is_away_for_a_while_loses_nothing() {
    let lines: String = (0..2000).map(|line| format!("line {line}\n")).collect();
    let said = lines.clone();
    let mut farm = farm(move |recipe, step| match step {
        Step::Build => builds(recipe, step).says(said.trim_end()).takes(Duration::from_millis(300)),
        _ => builds(recipe, step),
    })
    .await;
    farm.hub.set_lease(20_000);
    farm.hub.fail(3);
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.token.is_some()).await;
    farm.hub.swallow(4);
    let (outcome, attempt) = farm.ended(job).await;
    assert_eq!(outcome, Outcome::Passed);
    assert_eq!(attempt.log("build.log"), format!("+ make\n{lines}"));
    farm.close().await;
}

#[tokio::test]
async fn a_lease_that_has_run_out_is_renewed_and_the_work_goes_on() {
    let slow = |recipe: &Recipe, step| builds(recipe, step).takes(Duration::from_millis(300));
    let mut farm = farm(slow).await;
    // The usual beats come much later than this test would wait.
    farm.hub.set_lease(3_600_000);
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.token.is_some()).await;
    farm.hub.end_leases();
    let (outcome, attempt) = farm.ended(job).await;
    assert_eq!(outcome, Outcome::Passed);
    assert!(attempt.beats >= 1, "it was not renewed");
    assert_eq!(attempt.log("build.log"), "+ make\n");
    farm.close().await;
}

#[tokio::test]
async fn a_hub_that_stays_away_means_that_the_attempt_is_lost() {
    let mut farm = farm(|_, _| Script::default().hangs()).await;
    // Many leases must pass: an outage alone is no reason to give up.
    farm.hub.set_lease(30);
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.beats > 0).await;
    farm.hub.fail(u32::MAX);
    farm.present(|presence| presence.running.is_empty()).await;
    farm.close().await;
}

#[tokio::test]
async fn a_builder_that_stops_gives_its_jobs_back() {
    let mut farm = farm(|_, _| Script::default().hangs()).await;
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    farm.until(job, |attempt| attempt.token.is_some()).await;
    farm.stop();
    let (outcome, _) = farm.ended(job).await;
    assert_eq!(outcome, Outcome::FailedByFarm { reason: "builder is shutting down".to_owned() });
    farm.present(|presence| presence.draining && presence.running.is_empty()).await;
    farm.close().await;
}

#[tokio::test]
async fn a_builder_that_drains_lets_its_jobs_end() {
    let slow = |recipe: &Recipe, step| builds(recipe, step).takes(Duration::from_millis(300));
    let engine = Engine::Dummy(Dummy::new(slow));
    let mut farm = Farmyard::start_with(engine, "base", |config| config.drain_seconds = 30).await;
    let recipe = farm.any_build();
    let job = farm.offer(recipe.clone()).await;
    farm.until(job, |attempt| attempt.token.is_some()).await;
    farm.stop();
    let too_late = farm.offer(recipe).await;
    assert_eq!(farm.ended(job).await.0, Outcome::Passed);
    assert_eq!(farm.hub.attempt(too_late).unwrap().token, None);
    farm.close().await;
}

#[tokio::test]
async fn a_doubled_offer_is_worked_on_once_and_a_void_one_not_at_all() {
    let dummy = Dummy::new(builds);
    let mut farm = Farmyard::start(Engine::Dummy(dummy.clone()), "base").await;
    let recipe = farm.any_build();
    let job = farm.offer(recipe.clone()).await;
    let again = farm::message::Offer {
        job,
        turn: 1,
        ticket: farmyard::TICKET.to_owned(),
        until: farmyard::now() + Duration::from_secs(10),
        recipe,
    };
    let stranger = farm::message::Offer { ticket: "another".to_owned(), turn: 2, ..again.clone() };
    let late = farm::message::Offer { until: farm::stamp::Stamp::ZERO, turn: 3, ..again.clone() };
    for offer in [again, stranger, late] {
        farm.bus.offer(&farm.name, offer).await;
    }
    assert_eq!(farm.ended(job).await.0, Outcome::Passed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(dummy.ran().len(), 3, "one dependency step, one look at the root, one build");
    assert_eq!(farm.hub.attempt(job).unwrap().late_calls, 0);
    farm.close().await;
}

#[tokio::test]
async fn inputs_are_checked_and_recipes_are_not_trusted() {
    let mut farm = farm(builds).await;
    let srpm = farm.hub.input("any-1-1.src.rpm", b"another");
    farm.hub.forge(&srpm);
    let recipe = farm.recipe(Work::Build { srpm });
    let (outcome, _) = farm.done(recipe).await;
    assert!(
        matches!(&outcome, Outcome::FailedByFarm { reason } if reason.contains("cannot fetch")),
        "{outcome:?}"
    );

    let mut recipe = farm.any_build();
    recipe.repos = vec![farm.repo(&[("../../../outside", b"x")])];
    let (outcome, _) = farm.done(recipe).await;
    assert!(
        matches!(&outcome, Outcome::FailedByFarm { reason } if reason.contains("outside")),
        "{outcome:?}"
    );

    let mut recipe = farm.any_build();
    recipe.repos[0].name = "x]\n[y".to_owned();
    let (outcome, _) = farm.done(recipe).await;
    assert!(
        matches!(&outcome, Outcome::FailedByFarm { reason } if reason.contains("not valid")),
        "{outcome:?}"
    );

    // Of two repos that are called what is under test, nobody knows which was tested.
    let http = RepoOrigin::External { baseurl: "http://127.0.0.1:1/".to_owned() };
    for other in [http, farm.any_build().repos[0].origin.clone()] {
        let mut recipe = farm.any_build();
        recipe.repos[0].name = UNDER_TEST.to_owned();
        recipe.repos.push(RepoSource { name: UNDER_TEST.to_owned(), priority: 50, origin: other });
        let (outcome, _) = farm.done(recipe).await;
        assert!(
            matches!(&outcome, Outcome::FailedByFarm { reason } if reason.contains("a second repo is called \"under-test\"")),
            "{outcome:?}"
        );
    }

    let mut recipe = farm.any_build();
    recipe.repos[0].origin = RepoOrigin::External { baseurl: "file:///etc".to_owned() };
    let (outcome, _) = farm.done(recipe).await;
    assert!(
        matches!(&outcome, Outcome::FailedByFarm { reason } if reason.contains("file_repos")),
        "{outcome:?}"
    );
    farm.close().await;
}

#[tokio::test]
async fn a_file_that_is_too_large_for_the_hub_is_the_packages_fault() {
    let mut farm = farm(builds).await;
    farm.hub.refuse_files(".rpm");
    let recipe = farm.any_build();
    let expected = "the hub refused the file any-1-1.x86_64.rpm: it is larger than 5 bytes";
    assert_eq!(farm.done(recipe).await.0, package(expected));
    farm.hub.refuse_files(LOCK_FILE);
    let recipe = farm.any_build();
    let reason = "the hub refused the file buildroot.json: it is larger than 5 bytes".to_owned();
    assert_eq!(
        farm.done(recipe).await.0,
        Outcome::FailedByFarm { reason },
        "what a builder writes is not the package's"
    );
    farm.close().await;
}

#[tokio::test]
async fn no_work_is_drawn_while_the_engine_is_away() {
    let dummy = Dummy::new(builds);
    let mut farm = Farmyard::start(Engine::Dummy(dummy.clone()), "base").await;
    farm.present(|presence| !presence.draining).await;
    dummy.set_down(Some("on holiday".to_owned()));
    farm.present(|presence| presence.draining).await;
    let recipe = farm.any_build();
    let job = farm.offer(recipe).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(farm.hub.attempt(job).unwrap().token, None);
    dummy.set_down(None);
    assert_eq!(farm.ended(job).await.0, Outcome::Passed);
    farm.close().await;
}

#[tokio::test]
async fn two_builders_do_not_share_a_data_directory() {
    let mut farm = farm(builds).await;
    farm.present(|_| true).await;
    let config = builder::Config { data: farm.folder.path().join("data"), ..builder::Config::default() };
    let parts = builder::Parts {
        bus: farm.bus.clone(),
        engine: farm.engine.clone(),
        identity: builder::Identity::fresh("another").unwrap(),
    };
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let refused = builder::run(parts, config, stopped).await.unwrap_err();
    assert!(format!("{refused:#}").contains("another builder uses"), "{refused:#}");
    farm.close().await;
}
