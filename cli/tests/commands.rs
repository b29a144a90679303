//! The commands against a hub that says what it is told to: what is asked, what is printed, how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::*;
use serde_json::{Value, json};

fn failed() -> Value {
    let reason = "tests/run.sh failed: 2 of 9 checks, see build.log";
    request(
        "failed",
        Some(&format!("build on aarch64: {reason}")),
        vec![job(SRPM_JOB, "srpm", "x86_64", "passed"), job(BUILD_JOB, "build", "aarch64", reason)],
        vec![],
    )
}

#[tokio::test]
async fn a_failed_build_says_why_first_and_what_to_do_last() {
    let hub = Hub::start().await;
    hub.on("GET /builds/hello-2.10-1.el9s", [ok(failed())]);
    let (printed, result) = hub.grange(&["show", "hello-2.10-1.el9s"]).await;
    result.unwrap();
    assert_eq!(
        printed,
        "\
hello-2.10-1.el9s  failed
  build on aarch64: tests/run.sh failed: 2 of 9 checks, see build.log

  id      01JZ8M3Q5T7V9X1B3D5F7H9K1M
  target  storage9s-gluster-11-el9s
  source  rpms/hello#0123456789ab
  asked   3 min ago by ada (push of c9s-sig-storage-gluster)
  page    http://hub/builds/01JZ8M3Q5T7V9X1B3D5F7H9K1M

  JOB    ARCH     STATE   TIME        BUILDER  FILES  WHY
  srpm   x86_64   passed  1 min 12 s  b1       1
  build  aarch64  failed  1 min 12 s  b1              tests/run.sh failed: 2 of 9 checks, see build.log

next: grange log 01JZ8M3Q5T7V9X1B3D5F7H9K1M
"
    );
    let call = hub.call("GET /builds/hello-2.10-1.el9s");
    assert_eq!(call.headers["authorization"], "Bearer secret");
}

#[tokio::test]
async fn a_build_that_the_gate_refused_says_so_first() {
    let hub = Hub::start().await;
    let refused = promotion("testing", rejected("suite runs on x86_64 failed: no hello"));
    hub.on("GET /builds/x", [ok(request("complete", None, vec![], vec![refused]))]);
    let (printed, _) = hub.grange(&["show", "x"]).await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[..2],
        ["hello-2.10-1.el9s  complete", "  not let into testing: suite runs on x86_64 failed: no hello",]
    );
    assert_eq!(lines.last().unwrap(), &format!("next: grange promotions {PROMOTION}"));
}

#[tokio::test]
async fn json_is_the_body_as_it_came() {
    let hub = Hub::start().await;
    let body = r#"{"version":"1",   "jobs":{},"open_requests":0,"open_promotions":0,"builders":[],"you":"ada","later":1}"#;
    hub.on("GET /status", [text(body)]);
    let (printed, result) = hub.grange(&["--json", "status"]).await;
    result.unwrap();
    assert_eq!(printed, format!("{body}\n"));
    let (printed, _) = hub.grange(&["whoami"]).await;
    assert_eq!(printed, "ada\n");
    let (printed, _) = hub.grange(&["status"]).await;
    assert_eq!(
        printed,
        "grange 1, and you are ada\n0 builds open, jobs: none at work; 0 promotions under way\n\n\
         no builder has joined yet; `grange builders enrol NAME` lets one in\n"
    );
}

#[tokio::test]
async fn a_status_says_what_is_stuck_before_what_is_well() {
    let hub = Hub::start().await;
    let builder = |name: &str, state: Value| {
        json!({ "builder": { "name": name, "arches": ["x86_64"], "slots": 2, "running": [], "draining": false,
                             "seen": NOW }, "condition": state })
    };
    let body = json!({
        "version": "1", "jobs": { "waiting": 7, "done": 12 }, "open_requests": 2, "open_promotions": 1, "you": "ada",
        "builders": [builder("b1", json!({ "state": "free", "slots": 0 })), builder("b2", json!({ "state": "silent" }))],
        "nobody": ["no s390x builder has ever joined"], "bus_away": true,
        "untold": { "events": 3, "oldest": NOW - 125_000 },
        "queues": [{ "sig": "storage", "arch": "s390x", "jobs": 7, "oldest": NOW - 7_260_000 }],
        "stuck": [{ "promotion": PROMOTION, "sig": "storage", "what": "hello-1-1 to testing", "why": "the hub's disk is full" }],
        "troubles": [{ "job": BUILD_JOB, "request": REQUEST, "label": "build", "arch": "s390x", "phase": "waiting",
                       "attempt": { "turn": 1, "builder": "b2", "started": NOW - 60_000, "ended": NOW - 30_000,
                                    "why": "the lease ran out" } }],
    });
    hub.on("GET /status", [ok(body)]);
    let (printed, result) = hub.grange(&["status"]).await;
    result.unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[1..10],
        [
            "2 builds open, jobs: 7 waiting; 1 promotion under way",
            "2 builders: 1 busy, 1 silent",
            "warning: no s390x builder has ever joined",
            "warning: the bus is away from the hub that answers: nothing is lost, but jobs start and stop later",
            "warning: 3 changes of state not told to the outside yet, the oldest for 2 min 5 s",
            "",
            "WAITING FOR  SIG      JOBS  OLDEST",
            "s390x        storage  7     2 h 1 min",
            "",
        ]
    );
    assert!(lines[10].starts_with("CANNOT GO ON"), "{printed}");
    assert!(lines[11].starts_with(PROMOTION) && lines[11].ends_with("the hub's disk is full"), "{printed}");
    assert!(lines[13].starts_with("THE FARM FAILED"), "{printed}");
    assert!(lines[14].starts_with("30 s ago") && lines[14].ends_with("the lease ran out"), "{printed}");
}

#[tokio::test]
async fn builders_and_promotions_are_tables() {
    let hub = Hub::start().await;
    let builder = |name: &str, state: Value| {
        json!({ "builder": { "name": name, "arches": ["x86_64", "aarch64"], "slots": 2, "running": [], "draining": false,
                             "seen": NOW - 42_000 }, "condition": state })
    };
    hub.on(
        "GET /builders",
        [ok(json!([
            builder("b1", json!({ "state": "free", "slots": 2 })),
            builder("builder-two", json!({ "state": "silent" })),
        ]))],
    );
    let (printed, _) = hub.grange(&["builders"]).await;
    assert_eq!(
        printed,
        "\
BUILDER      STATE   RUNNING  SEEN      MEMORY  DISK  CLOCK  VERSION  LABELS  ARCHES
b1           2 free  0 of 2   42 s ago                right                   x86_64 aarch64
builder-two  silent  0 of 2   42 s ago                right                   x86_64 aarch64
"
    );
    let items = json!({ "items": [promotion("testing", rejected("suite runs on x86_64 failed: no hello"))], "next": null });
    hub.on("GET /promotions?limit=20", [ok(items)]);
    let (printed, _) = hub.grange(&["promotions"]).await;
    assert_eq!(
        printed,
        "\
ID                          STATE     TO       TARGET                     BY    OPENED    BUILDS             WHY
01JZ8M3Q5T7V9X1B3D5F7H9KP1  rejected  testing  storage9s-gluster-11-el9s  gate  50 s ago  hello-2.10-1.el9s  \
suite runs on x86_64 failed: no hello
"
    );
    let view = json!({
        "promotion": promotion("testing", rejected("suite runs on x86_64 failed: no hello")),
        "sentence": "hello-2.10-1.el9s to testing: refused: suite runs on x86_64 failed: no hello",
        "results": [{ "job": TEST_JOB, "content": "1".repeat(64), "suite": "runs", "arch": "x86_64", "version": "2".repeat(64),
                      "environment": "3".repeat(64),
                      "verdict": { "kind": "failed", "reason": "no hello" }, "at": NOW - 20_000 }],
        "required": [{ "suite": "installs", "arch": "x86_64" }, { "suite": "runs", "arch": "x86_64" }],
    });
    hub.on(&format!("GET /promotions/{PROMOTION}"), [ok(view)]);
    let (printed, _) = hub.grange(&["promotions", PROMOTION]).await;
    assert_eq!(
        printed,
        "\
hello-2.10-1.el9s to testing: refused: suite runs on x86_64 failed: no hello

  id      01JZ8M3Q5T7V9X1B3D5F7H9KP1
  builds  hello-2.10-1.el9s
  to      testing
  state   rejected
  target  storage9s-gluster-11-el9s
  opened  50 s ago by gate

  SUITE     ARCH    RESULT   RAN       JOB                         WHY
  installs  x86_64  missing
  runs      x86_64  failed   20 s ago  01JZ8M3Q5T7V9X1B3D5F7H9KJ3  no hello
"
    );
}

#[tokio::test]
async fn a_status_is_picked_out_of_the_hubs_pages() {
    let hub = Hub::start().await;
    let mut cancelled = failed();
    cancelled["status"] = json!("cancelled");
    let first = json!({ "items": [cancelled, failed()], "next": "N" });
    let last = json!({ "items": [failed()], "next": null });
    hub.on("GET /builds?package=hello&state=closed&limit=200", [ok(first)]);
    hub.on("GET /builds?package=hello&state=closed&limit=200&before=N", [ok(last)]);
    let (printed, result) =
        hub.grange(&["builds", "--package", "hello", "--state", "failed", "--json"]).await;
    result.unwrap();
    let page: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert!(page["next"].is_null());
    let (printed, _) =
        hub.grange(&["builds", "--package", "hello", "--state", "failed", "--limit", "1"]).await;
    assert_eq!(
        printed,
        "\
ID                          STATUS  BUILD              TARGET                     KIND  BY   ASKED      WHY
01JZ8M3Q5T7V9X1B3D5F7H9K1M  failed  hello-2.10-1.el9s  storage9s-gluster-11-el9s  push  ada  3 min ago  \
build on aarch64: tests/run.sh failed: 2 of 9 checks, see build.log
older ones: add --before 01JZ8M3Q5T7V9X1B3D5F7H9K1M
"
    );
}

#[tokio::test]
async fn failures_have_their_exit_codes_and_say_what_to_do() {
    let hub = Hub::start().await;
    hub.on("GET /builds/none", [problem(404, "there is no build none", None)]);
    let (_, result) = hub.grange(&["show", "none"]).await;
    assert_eq!(code(&result), 3);
    assert_eq!(told(result), "grange: there is no build none\n");

    hub.on("POST /builds/x/cancel", [problem(409, "the build is complete", Some("look at it again"))]);
    let (_, result) = hub.grange(&["cancel", "x"]).await;
    assert_eq!(code(&result), 3);
    assert_eq!(told(result), "grange: the build is complete\n  fix: look at it again\n");

    hub.on(
        "GET /tags",
        [problem(401, "this needs a token", Some("give one as `Authorization: Bearer <token>`"))],
    );
    let (_, result) = hub.grange(&["tags"]).await;
    assert_eq!(code(&result), 3);
    assert!(told(result).contains("grange login"));

    hub.on("GET /status", [problem(500, "the hub failed", Some("try again"))]);
    let (_, result) = hub.grange(&["status"]).await;
    assert_eq!(code(&result), 4);

    hub.on("GET /targets", [status(502, "<html>bad gateway</html>")]);
    let (_, result) = hub.grange(&["targets"]).await;
    assert_eq!(code(&result), 4);
    assert_eq!(told(result), "grange: the answer was 502 Bad Gateway\n");

    hub.on("GET /sigs", [text("<html>some other site</html>")]);
    let (_, result) = hub.grange(&["sig", "list"]).await;
    assert_eq!(code(&result), 4);

    let (_, result) = grange(&["status"], &[("GRANGE_URL", "http://127.0.0.1:1")]).await;
    assert_eq!(code(&result), 4);
    assert!(
        told(result).starts_with("grange: cannot reach the hub at http://127.0.0.1:1/: Connection refused")
    );

    let (_, result) = grange(&["status"], &[("GRANGE_URL", "nonsense")]).await;
    assert_eq!(code(&result), 2);
}

#[tokio::test]
async fn what_a_user_types_cannot_lead_to_another_address() {
    let hub = Hub::start().await;
    hub.on("GET /builds/a%2F..%2F..%3Fx=1", [ok(failed())]);
    let (_, result) = hub.grange(&["show", "a/../..?x=1"]).await;
    result.unwrap();
}

#[tokio::test]
async fn nothing_a_package_says_speaks_to_the_terminal() {
    let hub = Hub::start().await;
    let evil = request("failed", Some("\u{1b}]0;owned\u{7}\u{1b}[2J"), vec![], vec![]);
    hub.on("GET /builds/x", [ok(evil)]);
    let (printed, _) = hub.grange(&["show", "x"]).await;
    assert!(!printed.contains('\u{1b}') && !printed.contains('\u{7}'), "{printed:?}");
}

#[tokio::test]
async fn a_build_is_asked_for_and_watched_to_its_end() {
    let hub = Hub::start().await;
    hub.on("POST /builds", [ok(json!({ "id": REQUEST, "url": "http://hub/builds/1" }))]);
    let running = |state: &str| {
        let jobs = vec![job(SRPM_JOB, "srpm", "x86_64", "passed"), job(BUILD_JOB, "build", "x86_64", state)];
        ok(request("running", None, jobs, vec![]))
    };
    let jobs = vec![job(SRPM_JOB, "srpm", "x86_64", "passed"), job(BUILD_JOB, "build", "x86_64", "passed")];
    hub.on(
        &format!("GET /builds/{REQUEST}"),
        [
            running("waiting"),
            running("building"),
            status(503, ""),
            ok(request("complete", None, jobs, vec![])),
        ],
    );
    let (printed, result) =
        hub.grange(&["build", "storage9s-gluster-11-el9s", "rpms/hello#main", "--watch"]).await;
    result.unwrap();
    assert_eq!(
        hub.call("POST /builds").json(),
        json!({ "target": "storage9s-gluster-11-el9s", "repo": "rpms/hello", "commit": "main", "scratch": false })
    );
    let said: Vec<&str> = printed.lines().map(|line| line.get(10..).unwrap_or(line)).collect();
    assert_eq!(
        said[2..],
        [
            "srpm x86_64             passed after 1 min 12 s",
            "build x86_64            waiting",
            "build x86_64            building on b1",
            "the hub does not answer; trying again".get(10..).unwrap(),
            "build x86_64            passed after 1 min 12 s",
            "hello-2.10-1.el9s       complete after 2 min 0 s",
        ],
        "{printed}"
    );
}

#[tokio::test]
async fn watching_ends_with_what_became_of_it() {
    let hub = Hub::start().await;
    hub.on("GET /builds/x", [ok(failed())]);
    let (printed, result) = hub.grange(&["watch", "x"]).await;
    assert_eq!(code(&result), 1);
    assert!(printed.contains("failed: tests/run.sh failed"), "{printed}");
    assert_eq!(
        told(result),
        "grange: hello-2.10-1.el9s failed: build on aarch64: tests/run.sh failed: 2 of 9 checks, see build.log\n"
    );
    let (printed, result) = hub.grange(&["watch", "x", "--json"]).await;
    assert_eq!(code(&result), 1);
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), failed());

    hub.on("GET /builds/y", [ok(request("running", None, vec![], vec![]))]);
    let (_, result) = hub.grange(&["watch", "y", "--timeout", "0"]).await;
    assert_eq!(code(&result), 1);
    assert!(told(result).contains("gave up after 0 s"));
}

#[tokio::test]
async fn the_way_to_testing_is_watched_too() {
    let hub = Hub::start().await;
    let build = |promotions: Vec<Value>| {
        ok(request("complete", None, vec![job(BUILD_JOB, "build", "x86_64", "passed")], promotions))
    };
    let tests = |status: &str, state: &str| {
        let reason = (status == "failed").then_some("test runs on x86_64: no hello");
        let mut view = request(status, reason, vec![job(TEST_JOB, "test runs", "x86_64", state)], vec![]);
        view["request"]["id"] = json!(TEST_REQUEST);
        view["request"]["kind"] = json!({ "kind": "test", "promotion": PROMOTION, "snapshot": SNAPSHOT });
        ok(view)
    };
    let steps = |last: Value| {
        [
            build(vec![]),
            build(vec![promotion("testing", json!({ "phase": "composing" }))]),
            build(vec![promotion("testing", in_testing(Some(TEST_REQUEST)))]),
            build(vec![promotion("testing", last)]),
        ]
    };
    let path = format!("GET /builds/{REQUEST}");
    hub.on(&path, steps(published()));
    hub.on(
        &format!("GET /builds/{TEST_REQUEST}"),
        [tests("running", "building"), tests("complete", "passed")],
    );
    let (printed, result) = hub.grange(&["watch", REQUEST, "--tests", "--every", "0.01"]).await;
    result.unwrap();
    for expected in [
        "promotion to testing    composing",
        "promotion to testing    in-testing",
        "test runs x86_64        building on b1",
        "test runs x86_64        passed",
        "promotion to testing    published",
    ] {
        assert!(printed.contains(expected), "{expected} is not in\n{printed}");
    }

    hub.on(&path, steps(rejected("suite runs on x86_64 failed: no hello")));
    hub.on(&format!("GET /builds/{TEST_REQUEST}"), [tests("failed", "no hello")]);
    let (_, result) = hub.grange(&["watch", REQUEST, "--tests", "--every", "0.01"]).await;
    assert_eq!(code(&result), 1);
    assert!(told(result).contains("not let into testing: suite runs on x86_64 failed: no hello"));
}

fn log_line(job: &str, name: &str, offset: usize) -> String {
    format!("GET /jobs/{job}/logs/{name}?turn=1&offset={offset}&limit=4194304")
}

#[tokio::test]
async fn logs_are_streamed_while_a_build_is_watched() {
    let hub = Hub::start().await;
    let view = |status: &str, state: &str| {
        ok(request(status, None, vec![job(BUILD_JOB, "build", "x86_64", state)], vec![]))
    };
    hub.on(
        "GET /builds/x",
        [view("running", "building"), view("running", "building"), view("complete", "passed")],
    );
    hub.on(&log_line(BUILD_JOB, "root.log", 0), [log("installing\n", 11, true)]);
    hub.on(&log_line(BUILD_JOB, "build.log", 0), [log("", 0, false), log("one\n", 4, false)]);
    hub.on(&log_line(BUILD_JOB, "build.log", 4), [log("two\n", 8, true)]);
    let (printed, result) = hub.grange(&["watch", "x", "--logs", "--every", "0.01"]).await;
    result.unwrap();
    let logs: Vec<&str> = printed.lines().filter(|line| !line.contains("  ")).collect();
    assert_eq!(
        logs,
        ["── build x86_64: root.log ──", "installing", "── build x86_64: build.log ──", "one", "two"],
        "{printed}"
    );
}

#[tokio::test]
async fn the_log_that_matters_is_the_one_the_reason_names() {
    let hub = Hub::start().await;
    hub.on("GET /builds/x", [ok(failed())]);
    hub.on(&log_line(BUILD_JOB, "build.log", 0), [log("make: *** [test] Error 1\n", 25, true)]);
    hub.on(&log_line(SRPM_JOB, "root.log", 0), [log("dnf\n", 4, true)]);
    hub.on(&log_line(BUILD_JOB, "state.log", 0), [log("claimed\n", 8, true)]);
    for (words, expected) in [
        (vec!["log", "x"], "make: *** [test] Error 1\n"),
        (vec!["log", "x", "build"], "make: *** [test] Error 1\n"),
        (vec!["log", "x", "aarch64", "state.log"], "claimed\n"),
        (vec!["log", "x", "state.log"], "claimed\n"),
        (vec!["log", "x", "srpm/x86_64", "root.log"], "dnf\n"),
        (vec!["log", "x", &SRPM_JOB[18..], "root.log"], "dnf\n"),
        (vec!["log", "x", "--follow"], "make: *** [test] Error 1\n"),
    ] {
        let (printed, result) = hub.grange(&words).await;
        assert_eq!((printed.as_str(), code(&result)), (expected, 0), "{words:?}");
    }
    let (_, result) = hub.grange(&["log", "x", "s390x"]).await;
    assert_eq!(code(&result), 3);
    assert!(told(result).contains("srpm/x86_64, build/aarch64"));
    let (printed, _) = hub.grange(&["log", "x", "--list"]).await;
    assert!(printed.starts_with("JOB    ARCH     STATE   LOG        SIZE  ID\n"), "{printed}");
}

#[tokio::test]
async fn a_jobs_id_is_enough_for_a_log() {
    let hub = Hub::start().await;
    hub.on(&format!("GET /builds/{TEST_JOB}"), [problem(404, "there is no build", None)]);
    hub.on(&format!("GET /jobs/{TEST_JOB}"), [ok(job(TEST_JOB, "test runs", "x86_64", "no hello"))]);
    hub.on(&log_line(TEST_JOB, "build.log", 0), [log("no hello\n", 9, true)]);
    let (printed, result) = hub.grange(&["log", TEST_JOB]).await;
    result.unwrap();
    assert_eq!(printed, "no hello\n");
}

#[tokio::test]
async fn files_are_downloaded_whole_and_stay_in_their_folder() {
    let hub = Hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("rpms");
    let jobs = vec![job(SRPM_JOB, "srpm", "x86_64", "passed"), job(BUILD_JOB, "build", "aarch64", "passed")];
    hub.on("GET /builds/x", [ok(request("complete", None, jobs, vec![]))]);
    hub.on(&format!("GET /jobs/{SRPM_JOB}/files/hello-srpm.rpm"), [text("srpm")]);
    hub.on(&format!("GET /jobs/{BUILD_JOB}/files/hello-build.rpm"), [text("rpm!")]);
    let (printed, result) = hub.grange(&["download", "x", into.to_str().unwrap()]).await;
    result.unwrap();
    assert_eq!(std::fs::read_to_string(into.join("hello-srpm.rpm")).unwrap(), "srpm");
    assert_eq!(std::fs::read_to_string(into.join("aarch64/hello-build.rpm")).unwrap(), "rpm!");
    assert_eq!(printed.lines().count(), 2);
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 2, "nothing else is left there");

    let token = problem(401, "this needs a token, and none was given", Some("send it as a password"));
    hub.on(&format!("GET /jobs/{SRPM_JOB}/files/hello-srpm.rpm"), [token]);
    let (_, result) = hub.grange(&["download", "x", into.to_str().unwrap()]).await;
    assert!(told(result).contains("`grange login` keeps your token"));
    assert_eq!(std::fs::read_to_string(into.join("hello-srpm.rpm")).unwrap(), "srpm", "it stays as it was");

    let mut evil = job(BUILD_JOB, "build", "aarch64", "passed");
    evil["files"][0]["name"] = json!("../../evil");
    hub.on("GET /builds/y", [ok(request("complete", None, vec![evil], vec![]))]);
    let (_, result) = hub.grange(&["download", "y", into.to_str().unwrap()]).await;
    assert_eq!(code(&result), 1);
    assert!(told(result).contains("not safe"));
}

/// A build's job with this file beside its packages, and what the hub says of its root.
fn with_root(packages: &[(&str, char)]) -> (Value, Value) {
    let mut build = job(BUILD_JOB, "build", "aarch64", "passed");
    build["files"] = json!([{ "name": "buildroot.json", "size": 4 }]);
    let packages: Vec<Value> = packages
        .iter()
        .map(|(nevra, digit)| json!({ "nevra": nevra, "digest": digit.to_string().repeat(64) }))
        .collect();
    let lock =
        json!({ "image": "i", "image_digest": format!("sha256:{}", "0".repeat(64)), "packages": packages });
    (request("complete", None, vec![build], vec![]), lock)
}

#[tokio::test]
async fn what_was_installed_is_shown_and_compared() {
    let hub = Hub::start().await;
    let file = format!("GET /jobs/{BUILD_JOB}/files/buildroot.json");
    let (view, one) =
        with_root(&[("gcc-14-1.aarch64", '1'), ("make-4-1.aarch64", '2'), ("m4-1-1.aarch64", '3')]);
    let (_, two) =
        with_root(&[("gcc-15-1.aarch64", '1'), ("make-4-1.aarch64", '9'), ("m4-1-1.aarch64", '3')]);
    hub.on("GET /builds/x", [ok(view.clone())]).on(&file, [ok(one.clone())]);
    let (printed, result) = hub.grange(&["buildroot", "x"]).await;
    result.unwrap();
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    for line in ["image     i", "packages  3", "gcc-14-1.aarch64"] {
        assert!(lines.contains(&line), "{line}: {printed}");
    }

    assert!(!printed.contains("ccache"), "{printed}");
    let mut with_ccache = one.clone();
    with_ccache["ccache"] = json!(true);
    hub.on(&file, [ok(with_ccache)]);
    let (printed, _) = hub.grange(&["buildroot", "x"]).await;
    assert!(
        printed.contains("ccache    what earlier builds of the target had compiled was at hand"),
        "{printed}"
    );

    let words = ["buildroot", "x", "--diff", "y"];
    hub.on("GET /builds/y", [ok(view)]).on(&file, [ok(one.clone()), ok(two)]);
    let (printed, result) = hub.grange(&words).await;
    result.unwrap();
    assert_eq!(printed, "- gcc-14-1.aarch64\n+ gcc-15-1.aarch64\n~ make-4-1.aarch64\n");
    hub.on(&file, [ok(one.clone()), ok(one)]);
    let (printed, _) = hub.grange(&words).await;
    assert_eq!(printed, "no difference: the same packages in the same image\n");

    let (_, result) = hub.grange(&["buildroot", "x", "--arch", "s390x"]).await;
    assert_eq!((code(&result), told(result).contains("nothing was built on s390x")), (1, true));
    let without = vec![job(BUILD_JOB, "build", "aarch64", "passed")];
    hub.on("GET /builds/z", [ok(request("complete", None, without, vec![]))]);
    let (_, result) = hub.grange(&["buildroot", "z"]).await;
    assert_eq!((code(&result), told(result).contains("has no buildroot yet")), (1, true));
}

#[tokio::test]
async fn a_build_names_the_roots_it_ran_in() {
    let hub = Hub::start().await;
    let (mut view, _) = with_root(&[]);
    let [lock, input] = ["a", "b"].map(|digit| digit.repeat(64));
    let content = format!("sha256:{}", "0".repeat(64));
    view["roots"] =
        json!({ "aarch64": { "image": "base:9", "image_digest": content, "lock": lock, "input": input } });
    for (ccache, told) in [(false, &[] as &[&str]), (true, &["+", "ccache"])] {
        if ccache {
            view["roots"]["aarch64"]["ccache"] = json!(true);
        }
        hub.on("GET /builds/x", [ok(view.clone())]);
        let (printed, result) = hub.grange(&["show", "x"]).await;
        result.unwrap();
        let line = printed.lines().skip_while(|line| !line.contains("BUILDROOT")).nth(1);
        let words: Vec<&str> = line.unwrap_or_else(|| panic!("{printed}")).split_whitespace().collect();
        let mut expected = vec!["aarch64", &lock[..12], &input[..12]];
        expected.extend(told);
        expected.extend(["base:9", "sha256:000000000000"]);
        assert_eq!(words, expected);
    }
}

#[tokio::test]
async fn a_source_rpm_is_sent_as_it_is() {
    let hub = Hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hello-2.10-1.src.rpm");
    std::fs::write(&file, b"\xed\xab\xee\xdb").unwrap();
    let line = "POST /builds/srpm?target=t&name=hello-2.10-1.src.rpm";
    hub.on(line, [ok(json!({ "id": REQUEST, "url": "http://hub/builds/1" }))]);
    let (printed, result) = hub.grange(&["scratch", "t", file.to_str().unwrap()]).await;
    result.unwrap();
    assert_eq!(
        printed,
        format!("scratch build {REQUEST}\nhttp://hub/builds/1\nfollow it: grange watch {REQUEST}\n")
    );
    let call = hub.call(line);
    assert_eq!(&call.body[..], b"\xed\xab\xee\xdb");
    assert_eq!(call.headers["content-length"], "4");
    let (_, result) = hub.grange(&["scratch", "t", "missing.src.rpm"]).await;
    assert_eq!(code(&result), 2);
    let (_, result) = hub.grange(&["scratch", "t", "hello"]).await;
    assert_eq!(code(&result), 2);
}

fn promotion_view(approver: Option<&str>, state: Value, sentence: &str) -> Answer {
    let mut promotion = promotion("release", state);
    promotion["approvals"] = approvals(approver);
    ok(
        json!({ "promotion": promotion, "sentence": sentence, "results": [], "required": [], "approvals_needed": 1 }),
    )
}

fn approvals<'a>(people: impl IntoIterator<Item = &'a str>) -> Value {
    people.into_iter().map(|by| json!({ "by": by, "at": NOW - 40_000 })).collect()
}

fn ready() -> Value {
    json!({ "phase": "ready", "snapshot": SNAPSHOT })
}

#[tokio::test]
async fn waiting_for_a_promotion_ends_where_only_a_release_manager_can_go_on() {
    let hub = Hub::start().await;
    hub.on("POST /promotions", [ok(json!({ "id": PROMOTION, "url": "http://hub/promotions/1" }))]);
    hub.on(
        &format!("GET /promotions/{PROMOTION}"),
        [
            promotion_view(None, in_testing(None), "its tests run"),
            promotion_view(None, ready(), "a release manager must approve"),
        ],
    );
    let words = ["promote", "hello-2.10-1.el9s", "--wait", "--every", "0.01", "--timeout", "20"];
    let (printed, result) = hub.grange(&words).await;
    assert_eq!(code(&result), 1);
    assert_eq!(
        told(result),
        format!(
            "grange: hello-2.10-1.el9s has passed its tests and waits for a release manager: \
             `grange promote {PROMOTION}`\n"
        )
    );
    assert!(printed.ends_with("its tests run\n"), "{printed}");
    let (printed, result) = hub.grange(&[&words[..], &["--json"]].concat()).await;
    assert_eq!(code(&result), 1);
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["promotion"]["state"], ready());
}

#[tokio::test]
async fn a_promotion_says_what_it_waits_for() {
    let hub = Hub::start().await;
    let mut approved = promotion("release", ready());
    approved["approvals"] = approvals(["rex"]);
    let steps = [
        (
            promotion("release", json!({ "phase": "composing" })),
            "the repo that would result is being composed",
        ),
        (promotion("release", in_testing(None)), "the repo that would result is being tested"),
        (promotion("release", ready()), "tests have passed; a release manager of storage must approve"),
        (approved, "tests have passed and rex has approved"),
        (promotion("release", rejected("no hello")), "no hello"),
        (promotion("release", published()), "published"),
    ];
    for (promotion, why) in steps {
        hub.on("GET /builds/x", [ok(request("complete", None, vec![], vec![promotion.clone()]))]);
        let (printed, _) = hub.grange(&["show", "x"]).await;
        let row = printed.lines().find(|line| line.starts_with(&format!("  {PROMOTION}"))).unwrap();
        assert!(row.ends_with(&format!("  {why}")), "{row}");
        hub.on("GET /promotions?limit=20", [ok(json!({ "items": [promotion], "next": null }))]);
        let (printed, _) = hub.grange(&["promotions"]).await;
        assert_eq!(printed.lines().any(|line| line.ends_with(&format!("  {why}"))), why != "published");
    }
}

#[tokio::test]
async fn a_scratch_build_says_that_it_is_in_no_repo_and_when_it_expires() {
    const DAY: i64 = 86_400_000;
    let hub = Hub::start().await;
    let jobs = || vec![job(BUILD_JOB, "build", "x86_64", "passed")];
    hub.on("GET /builds/x", [ok(scratch(jobs(), 7 * DAY))]);
    let (printed, result) = hub.grange(&["show", "x"]).await;
    result.unwrap();
    let fact = |printed: &str, name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("  {name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {printed}")).trim().to_owned()
    };
    assert_eq!(fact(&printed, "repo"), "none: a scratch build enters no repo");
    let expires = fact(&printed, "expires");
    assert!(expires.starts_with("2023-11-2") && expires.ends_with(" (in 7 d)"), "{expires}");
    let (printed, result) = hub.grange(&["watch", "x"]).await;
    result.unwrap();
    let last = printed.lines().last().unwrap();
    assert!(last.ends_with(&format!("after 2 min 0 s; it is in no repo and expires {expires}")), "{last}");

    let mut expired = scratch(jobs(), -3 * DAY);
    expired["jobs"][0]["files"] = json!([]);
    hub.on("GET /builds/x", [ok(expired.clone())]);
    let (printed, _) = hub.grange(&["show", "x"]).await;
    assert_eq!(fact(&printed, "expired"), "3 d ago");
    let (_, result) = hub.grange(&["download", "x"]).await;
    assert_eq!(code(&result), 1);
    assert_eq!(told(result), "grange: this is a scratch build: its files expired 3 d ago\n");
    let items = json!({ "items": [scratch(vec![], DAY), expired], "next": null });
    hub.on("GET /builds?limit=20", [ok(items)]);
    let (printed, _) = hub.grange(&["builds"]).await;
    let marked: Vec<bool> = printed.lines().map(|line| line.contains("  scratch, expired  ")).collect();
    assert_eq!(marked, [false, false, true], "{printed}");
}

#[tokio::test]
async fn a_package_named_in_a_builds_place_leads_to_its_newest_build() {
    let hub = Hub::start().await;
    let unknown = || [problem(404, "there is no build hello", None)];
    hub.on("GET /builds/hello", unknown());
    hub.on("POST /builds/hello/retry", unknown());
    hub.on("POST /builds/hello/cancel", unknown());
    hub.on("GET /builds?package=hello&limit=1", [ok(json!({ "items": [failed()], "next": null }))]);
    for command in ["show", "retry", "cancel", "watch", "log", "download"] {
        let (_, result) = hub.grange(&[command, "hello"]).await;
        assert_eq!(code(&result), 3, "{command}");
        assert_eq!(
            told(result),
            format!(
                "grange: there is no build hello\n  fix: did you mean {REQUEST} (hello, failed 1 min ago)?\n"
            ),
            "{command}"
        );
    }
    hub.on("GET /builds?package=hello&limit=1", [ok(json!({ "items": [], "next": null }))]);
    let (_, result) = hub.grange(&["show", "hello"]).await;
    assert_eq!(told(result), "grange: there is no build hello\n");
}

#[tokio::test]
async fn builds_are_promoted_and_promotions_approved() {
    let hub = Hub::start().await;
    let view = |state: Value, sentence: &str| promotion_view(None, state, sentence);
    let approved = |state: Value, sentence: &str| promotion_view(Some("rex"), state, sentence);
    hub.on("POST /promotions", [ok(json!({ "id": PROMOTION, "url": "http://hub/promotions/1" }))]);
    hub.on(
        &format!("GET /promotions/{PROMOTION}"),
        [
            view(in_testing(None), "its tests run"),
            approved(ready(), "tests have passed"),
            approved(published(), "published just now"),
        ],
    );
    let (printed, result) =
        hub.grange(&["promote", "hello-2.10-1.el9s", "foo-1-1", "--wait", "--every", "0.01"]).await;
    result.unwrap();
    assert_eq!(
        hub.call("POST /promotions").json(),
        json!({ "nvrs": ["hello-2.10-1.el9s", "foo-1-1"], "to": "release" })
    );
    assert_eq!(
        printed,
        format!(
            "promotion {PROMOTION}\nhttp://hub/promotions/1\nits tests run\n\
             tests have passed\npublished just now\n"
        )
    );
    hub.on(&format!("POST /promotions/{PROMOTION}/approve"), [status(204, "")]);
    hub.on(&format!("GET /promotions/{PROMOTION}"), [view(rejected("suite runs failed"), "refused")]);
    let (_, result) = hub.grange(&["promote", PROMOTION, "--wait"]).await;
    assert_eq!(code(&result), 1);
    assert!(told(result).contains("refused: suite runs failed"));
    let (_, result) = hub.grange(&["promote", PROMOTION, "hello-2.10-1.el9s"]).await;
    assert_eq!(code(&result), 2);
}

#[tokio::test]
async fn a_stack_and_what_leaves_the_repo_are_asked_for_by_name() {
    let hub = Hub::start().await;
    let made =
        json!({ "id": PROMOTION, "url": "http://hub/promotions/1", "warnings": ["this is what goes: a, b"] });
    hub.on("POST /promotions", [ok(made)]);
    let target = "storage9s-gluster-11-el9s";
    let words = [
        "promote",
        "--stack",
        "gluster",
        "--target",
        target,
        "--remove",
        "old",
        "--remove",
        "older",
        "--confirm",
    ];
    let (printed, result) = hub.grange(&words).await;
    result.unwrap();
    assert_eq!(
        hub.call("POST /promotions").json(),
        json!({ "nvrs": [], "to": "release", "target": target, "stack": "gluster", "remove": ["old", "older"], "confirm": true })
    );
    assert!(printed.ends_with("http://hub/promotions/1\nthis is what goes: a, b\n"), "{printed}");
    for wrong in [&["promote", PROMOTION, "--confirm"][..], &["promote", PROMOTION, "--stack", "gluster"]] {
        let (_, result) = hub.grange(wrong).await;
        assert_eq!(code(&result), 2, "{wrong:?}");
    }
    assert_eq!(hub.calls().len(), 1, "what cannot be meant is not asked for");
}

#[tokio::test]
async fn a_promotion_that_needs_two_words_is_waited_for_until_the_second_is_missing() {
    let hub = Hub::start().await;
    let mut one = promotion("release", ready());
    one["approvals"] = approvals(["rex"]);
    let view =
        json!({ "promotion": one, "sentence": "s", "results": [], "required": [], "approvals_needed": 2 });
    hub.on(&format!("POST /promotions/{PROMOTION}/approve"), [status(204, "")]);
    hub.on(&format!("GET /promotions/{PROMOTION}"), [ok(view)]);
    let (_, result) = hub.grange(&["promote", PROMOTION, "--wait"]).await;
    assert_eq!(code(&result), 1);
    let said = told(result);
    assert!(said.contains("waits for another release manager (1 of 2 have approved)"), "{said}");
    let (printed, result) = hub.grange(&["promotions", PROMOTION]).await;
    result.unwrap();
    assert!(printed.contains("approved by  rex (1 of 2)"), "{printed}");
    assert!(printed.contains(&format!("next: grange promote {PROMOTION}")), "{printed}");
}

fn waiver(more: &Value) -> Value {
    let mut waiver = json!({
        "id": WAIVER, "target": "storage9s-gluster-11-el9s", "suite": "runs", "arch": "s390x", "on": null,
        "scope": { "kind": "build", "build": BUILD, "nvr": "hello-2.10-1.el9s" }, "by": "rex",
        "reason": "known on s390x", "made": NOW - 60_000, "until": NOW + 3 * 86_400_000, "revoked": null,
    });
    for (key, value) in more.as_object().unwrap() {
        waiver[key] = value.clone();
    }
    waiver
}

const WAIVER: &str = "01JZ8M3Q5T7V9X1B3D5F7H9KW1";

#[tokio::test]
async fn a_waiver_is_given_listed_shown_with_the_promotion_and_taken_back() {
    let hub = Hub::start().await;
    let line = format!("POST /promotions/{PROMOTION}/waivers");
    hub.on(&line, [ok(json!({ "waiver": waiver(&json!({})), "then": "ask again with `grange promote x`" }))]);
    let words = [
        "waive",
        PROMOTION,
        "runs",
        "--arch",
        "s390x",
        "--nvr",
        "hello-2.10-1.el9s",
        "--reason",
        "known on s390x",
        "--days",
        "3",
    ];
    let (printed, result) = hub.grange(&words).await;
    result.unwrap();
    assert_eq!(
        hub.call(&line).json(),
        json!({ "suite": "runs", "arch": "s390x", "on": null, "nvr": "hello-2.10-1.el9s", "reason": "known on s390x", "days": 3 })
    );
    assert_eq!(
        printed,
        format!(
            "waiver {WAIVER}\nruns on s390x for hello-2.10-1.el9s is waived for 3 d\nask again with `grange promote x`\n"
        )
    );

    let expired = waiver(&json!({ "until": NOW - 7_200_000, "arch": null, "on": "cloud9s-x-1-el9s" }));
    let list = "GET /targets/storage9s-gluster-11-el9s/waivers";
    hub.on(list, [ok(json!([expired, waiver(&json!({}))]))]);
    let (printed, result) = hub.grange(&["waivers", "storage9s-gluster-11-el9s"]).await;
    result.unwrap();
    let rows: Vec<&str> = printed.lines().skip(1).collect();
    assert!(rows[0].contains("runs of cloud9s-x-1-el9s") && rows[0].contains("expired 2 h ago"), "{printed}");
    assert!(rows[1].contains("for 3 d") && rows[1].ends_with("known on s390x"), "{printed}");

    let view = json!({
        "promotion": promotion("release", published()), "sentence": "published", "results": [],
        "required": [{ "suite": "runs", "arch": "s390x" }, { "suite": "runs", "arch": "s390x", "on": "cloud9s-x-1-el9s" }],
        "waivers": [waiver(&json!({}))], "behind": null,
    });
    hub.on(&format!("GET /promotions/{PROMOTION}"), [ok(view)]);
    let (printed, _) = hub.grange(&["promotions", PROMOTION]).await;
    assert!(printed.contains(WAIVER) && printed.contains("known on s390x"), "{printed}");
    assert!(printed.contains("runs of cloud9s-x-1-el9s  s390x  missing"), "{printed}");

    let revoked = waiver(&json!({ "revoked": ["rita", NOW] }));
    hub.on(&format!("POST /waivers/{WAIVER}/revoke"), [ok(revoked)]);
    let (printed, result) = hub.grange(&["waivers", "storage9s-gluster-11-el9s", "--revoke", WAIVER]).await;
    result.unwrap();
    assert_eq!(
        printed,
        format!("waiver {WAIVER} is taken back: runs on s390x for hello-2.10-1.el9s counts again\n")
    );
}

#[tokio::test]
async fn a_repo_goes_back_and_says_how_long_that_took() {
    let hub = Hub::start().await;
    hub.on("POST /rollbacks", [ok(json!({ "id": PROMOTION, "url": "http://hub/promotions/1" }))]);
    let back = |state: Value, sentence: &str| {
        let mut promotion = promotion("release", state);
        promotion["course"] = json!({ "kind": "back", "to": SNAPSHOT, "reason": "it does not start" });
        ok(
            json!({ "promotion": promotion, "sentence": sentence, "results": [], "required": [], "approvals_needed": 1 }),
        )
    };
    hub.on(
        &format!("GET /promotions/{PROMOTION}"),
        [back(json!({ "phase": "composing" }), "going back"), back(published(), "published")],
    );
    let tag = "storage9s-gluster-11-release";
    let words = ["rollback", tag, "--revision", "41", "--reason", "it does not start", "--every", "0.01"];
    let (printed, result) = hub.grange(&words).await;
    result.unwrap();
    assert_eq!(
        hub.call("POST /rollbacks").json(),
        json!({ "tag": tag, "revision": 41, "reason": "it does not start", "confirm": false })
    );
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[2..4], ["going back", "published"], "{printed}");
    let took = lines[4].strip_prefix(&format!("{tag} shows what it showed before, ")).unwrap();
    let seconds: f64 = took.strip_suffix(" s after it was asked for").unwrap().parse().unwrap();
    assert!(seconds < 60.0, "{printed}");
    let (printed, result) = hub.grange(&["promotions", PROMOTION]).await;
    result.unwrap();
    assert!(printed.contains("because      it does not start"), "{printed}");

    hub.on(&format!("GET /promotions/{PROMOTION}"), [back(rejected("hello-2.9 was withdrawn"), "refused")]);
    let (_, result) = hub.grange(&words).await;
    assert!(told(result).contains("hello-2.9 was withdrawn"));
    let (printed, result) =
        hub.grange(&["rollback", tag, "--reason", "it does not start", "--no-wait"]).await;
    result.unwrap();
    assert_eq!(printed.lines().count(), 2, "{printed}");
}

#[tokio::test]
async fn what_a_repo_showed_is_listed() {
    let hub = Hub::start().await;
    let one = |revision: i64, reason: Value| {
        json!({
            "revision": revision, "snapshot": SNAPSHOT, "promotion": PROMOTION, "by": "rex", "reason": reason,
            "at": NOW - 7_200_000, "packages": 12,
        })
    };
    let tag = "storage9s-gluster-11-release";
    hub.on(
        &format!("GET /repos/{tag}/history?limit=20"),
        [ok(json!([one(3, json!("it does not start")), one(2, Value::Null)]))],
    );
    let (printed, result) = hub.grange(&["history", tag]).await;
    result.unwrap();
    let rows: Vec<Vec<&str>> =
        printed.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..5], ["3", "2", "h", "ago", "12"], "{printed}");
    assert!(printed.lines().nth(1).unwrap().ends_with("it does not start"), "{printed}");
    assert_eq!(rows[1][0], "2");
}

#[tokio::test]
async fn a_build_is_withdrawn_with_a_reason_and_a_promotion_without() {
    let hub = Hub::start().await;
    let answer = json!({
        "nvr": "hello-2.10-1.el9s", "live_in": ["storage9s-gluster-11-testing"], "warnings": ["users still see it"],
    });
    hub.on("POST /withdrawals", [ok(answer)]);
    let (printed, result) = hub.grange(&["withdraw", "hello-2.10-1.el9s", "--reason", "it eats data"]).await;
    result.unwrap();
    assert_eq!(
        hub.call("POST /withdrawals").json(),
        json!({ "nvr": "hello-2.10-1.el9s", "reason": "it eats data" })
    );
    assert_eq!(
        printed,
        "hello-2.10-1.el9s is withdrawn; public in storage9s-gluster-11-testing\nwarning: users still see it\n"
    );
    for wrong in
        [&["withdraw", "hello-2.10-1.el9s"][..], &["withdraw", PROMOTION, "--reason", "it eats data"]]
    {
        let (_, result) = hub.grange(wrong).await;
        assert_eq!(code(&result), 2, "{wrong:?}");
    }
    hub.on(&format!("POST /promotions/{PROMOTION}/withdraw"), [status(204, "")]);
    let (printed, result) = hub.grange(&["withdraw", PROMOTION]).await;
    result.unwrap();
    assert_eq!(printed, format!("promotion {PROMOTION} is withdrawn\n"));
}

#[tokio::test]
async fn a_listing_says_who_is_on_top_of_whom() {
    let hub = Hub::start().await;
    let second = "01JZ8M3Q5T7V9X1B3D5F7H9KP2";
    let (first, mut other) = (promotion("release", in_testing(None)), promotion("release", in_testing(None)));
    (other["id"], other["base"], other["stack"]) = (json!(second), json!(SNAPSHOT), json!("gluster"));
    (other["state"]["snapshot"], other["remove"]) = (json!("01JZ8M3Q5T7V9X1B3D5F7H9KS2"), json!(["old"]));
    hub.on("GET /promotions?limit=20", [ok(json!({ "items": [other, first], "next": null }))]);
    let (printed, result) = hub.grange(&["promotions"]).await;
    result.unwrap();
    let rows: Vec<&str> = printed.lines().skip(1).collect();
    assert!(rows[0].contains("[gluster] hello-2.10-1.el9s -old"), "{printed}");
    assert!(rows[0].ends_with(&format!("is being tested, on top of {PROMOTION}")), "{printed}");
    assert!(rows[1].ends_with("is being tested"), "{printed}");
}

#[tokio::test]
async fn a_template_is_planned_and_applied() {
    let hub = Hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storage.toml");
    std::fs::write(&file, "name = \"storage\"\n").unwrap();
    let file = file.to_str().unwrap();
    let changes = json!([
        { "what": "member ada", "from": null, "to": "maintainer" },
        { "what": "member bob", "from": "maintainer", "to": null },
        { "what": "sig storage", "from": "Old", "to": "New" },
    ]);
    hub.on("POST /sigs/plan", [ok(json!({ "sig": "storage", "changes": changes, "applied": false }))]);
    let (printed, result) = hub.grange(&["sig", "plan", file]).await;
    result.unwrap();
    assert_eq!(
        printed,
        "\
+ member ada: maintainer
- member bob: maintainer
~ sig storage:
    Old
    → New
SIG storage: 3 changes to apply
"
    );
    assert_eq!(
        hub.call("POST /sigs/plan").json(),
        json!({ "file": file, "template": "name = \"storage\"\n" })
    );
    hub.on("POST /sigs/apply", [ok(json!({ "sig": "storage", "changes": [], "applied": true }))]);
    let (printed, _) = hub.grange(&["sig", "apply", file]).await;
    assert_eq!(printed, "SIG storage: nothing to change\n");
    let (_, result) = hub.grange(&["sig", "apply", "missing.toml"]).await;
    assert_eq!(code(&result), 2);
}

#[tokio::test]
async fn a_source_file_is_uploaded_once_and_its_line_written_down() {
    let hub = Hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hello.tar.gz");
    let sources = folder.path().join("sources");
    std::fs::write(&file, "abc").unwrap();
    let line = "SHA512 (hello.tar.gz) = ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f\n";
    let words =
        ["lookaside", "upload", "hello", file.to_str().unwrap(), "--sources", sources.to_str().unwrap()];
    hub.on("POST //lookaside/upload", [text("Missing\n"), text("stored"), text("Available")]);
    let (printed, result) = hub.grange(&words).await;
    result.unwrap();
    assert_eq!(printed, line);
    assert_eq!(std::fs::read_to_string(&sources).unwrap(), line);
    let calls = hub.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[0].text().contains("name=\"filename\"") && !calls[0].text().contains("abc\r\n"));
    assert!(calls[1].text().contains("filename=\"hello.tar.gz\"") && calls[1].text().contains("abc\r\n"));

    let (printed, result) = hub.grange(&words).await;
    result.unwrap();
    assert_eq!((printed.as_str(), hub.calls().len()), (line, 3), "what is there is not sent again");
    assert_eq!(std::fs::read_to_string(&sources).unwrap(), line);
}

#[tokio::test]
async fn login_tries_the_token_before_it_keeps_it() {
    let hub = Hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let config = folder.path().join("deep/er/config.toml");
    std::fs::write(&token, "tok\n").unwrap();
    let (token, config_text) = (token.to_str().unwrap(), config.to_str().unwrap());
    let status = |you: Value| {
        ok(
            json!({ "version": "1", "jobs": {}, "open_requests": 0, "open_promotions": 0, "builders": [], "you": you }),
        )
    };
    let words = ["login", &hub.url, "--token-file", token];
    let variables = [("GRANGE_CONFIG", config_text)];
    hub.on("GET /status", [status(Value::Null)]);
    let (_, result) = grange(&words, &variables).await;
    assert_eq!(code(&result), 1);
    assert!(!config.exists());

    hub.on("GET /status", [status(json!("ada"))]);
    let (printed, result) = grange(&words, &variables).await;
    result.unwrap();
    assert!(printed.starts_with("you are ada at "), "{printed}");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    let (printed, result) = grange(&["whoami"], &variables).await;
    result.unwrap();
    assert_eq!(printed, "ada\n");
    assert_eq!(hub.calls().last().unwrap().headers["authorization"], "Bearer tok");
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (printed, result) = grange(&["completion", shell], &[]).await;
        result.unwrap();
        assert!(printed.contains("promotions") && printed.contains("lookaside"), "{shell}");
    }
}
