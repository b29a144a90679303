use farm::digest::Digest;
use farm::ids::{JobId, SnapshotId};
use farm::job::{Event, JobState};
use farm::request::RequestKind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{ADA, Assignment, Bench, TICKET, TOKEN, problem};

fn passed() -> Value {
    json!({"outcome": {"kind": "passed"}})
}

async fn upload(bench: &Bench, work: &Assignment, name: &str, content: &[u8]) -> reqwest::Response {
    let path = work.at(&format!("files/{name}?digest={}", Digest::of(content)));
    bench.call(Method::PUT, &path).bearer_auth(TOKEN).body(content.to_vec()).send().await.unwrap()
}

/// Every verb of an attempt, with something that is right when the token is.
async fn every_verb(bench: &Bench, work: &Assignment, token: &str) -> Vec<(String, reqwest::Response)> {
    let digest = Digest::of(b"x");
    let verbs = [
        (Method::POST, "beat".to_owned()),
        (Method::GET, format!("inputs/{}", work.input.digest)),
        (Method::GET, format!("snapshots/{}?arch=x86_64", work.snapshot)),
        (Method::GET, format!("snapshots/{}/files/repodata/repomd.xml?arch=x86_64", work.snapshot)),
        (Method::POST, "logs/build.log?offset=0".to_owned()),
        (Method::PUT, format!("files/x?digest={digest}")),
        (Method::POST, "finish".to_owned()),
    ];
    let mut answers = Vec::new();
    for (method, verb) in verbs {
        let call = bench.call(method, &work.at(&verb)).bearer_auth(token);
        let call = if verb == "finish" { call.json(&passed()) } else { call.body("x") };
        answers.push((verb, call.send().await.unwrap()));
    }
    answers
}

#[tokio::test]
async fn the_ticket_claims_and_the_token_holds() {
    let bench = Bench::open().await;
    let work = bench.offered().await;
    assert_eq!(bench.claim(&work, "another ticket", TOKEN).await.0, 409);
    let (status, lease) = bench.claim(&work, TICKET, TOKEN).await;
    assert_eq!((status.as_u16(), &lease["stop"]), (200, &json!(false)));
    assert_eq!(bench.claim(&work, TICKET, TOKEN).await.0, 200);
    assert_eq!(bench.claim(&work, TICKET, "another token").await.0, 409);
    let unknown = Assignment { job: bench.hub.mint(), ..work };
    assert_eq!(bench.claim(&unknown, TICKET, TOKEN).await.0, 404);
}

#[tokio::test]
async fn a_stale_token_is_refused_for_every_verb() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    for token in ["another token", ADA, TICKET] {
        for (verb, answer) in every_verb(&bench, &work, token).await {
            assert_eq!(answer.status(), 409, "{verb}");
            problem(answer, 409, "stale").await;
        }
    }
    // The builder falls silent, the job is offered again: the first attempt's own token is worth nothing now.
    let mut tx = bench.hub.db.write().await.unwrap();
    let later = bench.hub.now() + std::time::Duration::from_secs(3600);
    tx.step_job(work.job, Event::Lapse, later, &bench.hub.config.patience).await.unwrap();
    tx.commit().await.unwrap();
    for (verb, answer) in every_verb(&bench, &work, TOKEN).await {
        assert_eq!(answer.status(), 409, "{verb}");
    }
    assert_eq!(bench.job(work.job).await.phase(), "waiting");
    assert!(bench.hub.db.read().await.unwrap().artifacts_of(work.job, 1).await.unwrap().is_empty());
    assert!(!bench.data(&format!("logs/{}", work.job)).exists());
}

#[tokio::test]
async fn a_token_opens_nothing_after_its_lease_but_may_renew_it_or_end() {
    let bench = Bench::with(|config| config.patience.lease_ms = 0).await;
    let work = bench.building().await;
    for (verb, answer) in every_verb(&bench, &work, TOKEN).await {
        match verb.as_str() {
            "beat" => assert_eq!(answer.status(), 200),
            "finish" => assert_eq!(answer.status(), 204, "what was done while nobody could hear it counts"),
            _ => drop(problem(answer, 503, "lease-over").await),
        }
    }
    assert!(bench.hub.db.read().await.unwrap().artifacts_of(work.job, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_finish_may_be_repeated_and_nothing_comes_after_it() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let finish = |body: Value| bench.post(&work.at("finish"), TOKEN).json(&body).send();
    assert_eq!(finish(passed()).await.unwrap().status(), 204);
    assert_eq!(finish(passed()).await.unwrap().status(), 204);
    let other = json!({"outcome": {"kind": "failed-by-package", "reason": "no"}});
    problem(finish(other).await.unwrap(), 409, "stale").await;
    for (verb, answer) in every_verb(&bench, &work, TOKEN).await {
        assert_eq!(answer.status().as_u16(), if verb == "finish" { 204 } else { 409 }, "{verb}");
    }
    assert!(bench.job(work.job).await.passed());
}

#[tokio::test]
async fn a_cancelled_attempt_is_told_to_stop_and_its_end_is_taken_twice() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    bench.step(work.job, Event::Cancel { by: "ada".into() }).await;
    let lease: Value = bench.post(&work.at("beat"), TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(lease["stop"], true);
    let finish = json!({"outcome": {"kind": "cancelled", "by": "the hub"}});
    for _ in 0..2 {
        let answer = bench.post(&work.at("finish"), TOKEN).json(&finish).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }
    let JobState::Done { outcome, .. } = bench.job(work.job).await.state else { panic!("it is not done") };
    assert_eq!(outcome.sentence(), "cancelled by ada");
}

#[tokio::test]
async fn a_piece_of_a_log_goes_where_it_belongs() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let log = |name: &str, offset: u64, text: &str| {
        let path = work.at(&format!("logs/{name}?offset={offset}"));
        bench.post(&path, TOKEN).body(text.to_owned()).send()
    };
    for (offset, text, status, size) in
        [(0, "hello\n", 200, 6), (0, "hello\n", 409, 6), (99, "x", 409, 6), (6, "world\n", 200, 12)]
    {
        let answer = log("build.log", offset, text).await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "size": size }));
    }
    for name in ["..%2Fx.log", "build.txt", "Build.log", "x%2Fbuild.log", ".log"] {
        problem(log(name, 0, "x").await.unwrap(), 422, "invalid").await;
    }
    problem(log("build.log", 12, &"x".repeat(5 << 20)).await.unwrap(), 413, "too-large").await;
    problem(log("build.log", 12, &"x".repeat(1 << 21)).await.unwrap(), 413, "too-large").await;
    assert_eq!(log("build.log", 12, "!").await.unwrap().status(), 200);
}

#[tokio::test]
async fn only_what_the_recipe_names_is_given() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let get = |verb: String| bench.get(&work.at(&verb)).bearer_auth(TOKEN).send();
    let input = get(format!("inputs/{}", work.input.digest)).await.unwrap();
    assert_eq!(input.text().await.unwrap(), "a source RPM");
    let foreign = bench.hub.artifacts.put_bytes(b"somebody else's").await.unwrap().digest;
    problem(get(format!("inputs/{foreign}")).await.unwrap(), 404, "not-found").await;
    problem(get("inputs/..%2F..%2Fledger".into()).await.unwrap(), 404, "not-found").await;

    // The packages of a snapshot are in the store; what its manifest does not list is not given, whatever else is there.
    let package = bench.hub.artifacts.put_bytes(b"a package").await.unwrap().digest;
    let package_path = "Packages/h/0123456789abcdef/hello-1-1.x86_64.rpm";
    let lay_out = |id: SnapshotId, content: &str| {
        let snapshot = bench.hub.staging.join(id.to_string());
        std::fs::create_dir_all(snapshot.join("x86_64/repodata")).unwrap();
        std::fs::create_dir_all(snapshot.join("manifests")).unwrap();
        std::fs::write(snapshot.join("x86_64/repodata/repomd.xml"), content).unwrap();
        let (digest, size) = (Digest::of(content.as_bytes()), content.len());
        let files = format!("{package} 9 {package_path}\n{digest} {size} repodata/repomd.xml\n");
        std::fs::write(snapshot.join("manifests/x86_64"), format!("grange-manifest 1 {id}\n{files}"))
            .unwrap();
    };
    let other: SnapshotId = bench.hub.mint();
    lay_out(work.snapshot, "<repomd/>");
    lay_out(other, "<secret/>");
    let at = |id: SnapshotId, rest: &str| format!("snapshots/{id}{rest}");
    let manifest: Value = get(at(work.snapshot, "?arch=x86_64")).await.unwrap().json().await.unwrap();
    assert_eq!(manifest["files"][0]["path"], package_path);
    assert_eq!(manifest["files"][1]["path"], "repodata/repomd.xml");
    let file = get(at(work.snapshot, "/files/repodata/repomd.xml?arch=x86_64")).await.unwrap();
    assert_eq!(file.text().await.unwrap(), "<repomd/>");
    let file = get(at(work.snapshot, &format!("/files/{package_path}?arch=x86_64"))).await.unwrap();
    assert_eq!(file.text().await.unwrap(), "a package");
    let unlisted = format!("/files/Packages/h/{}/hello-1-1.x86_64.rpm?arch=x86_64", &package.as_str()[..16]);
    let elsewhere = format!("/files/{package_path}?arch=aarch64");
    for (id, rest) in [
        (work.snapshot, unlisted.as_str()),
        (work.snapshot, elsewhere.as_str()),
        (other, "?arch=x86_64"),
        (other, "/files/repodata/repomd.xml?arch=x86_64"),
        (work.snapshot, "?arch=aarch64"),
        (work.snapshot, "/files/repodata?arch=x86_64"),
        (work.snapshot, "/files/repodata/none?arch=x86_64"),
        (work.snapshot, "/files/..%2F..%2F..%2Fgit%2Fpolicy.json?arch=x86_64"),
        (work.snapshot, "/files/%2Fetc%2Fpasswd?arch=x86_64"),
    ] {
        problem(get(at(id, rest)).await.unwrap(), 404, "not-found").await;
    }
    for arch in ["riscv64", "..", "x86_64%2F.."] {
        problem(get(at(work.snapshot, &format!("?arch={arch}"))).await.unwrap(), 422, "invalid").await;
    }
    // A snapshot that is in a tree is whole, so what it has no folder for it has nothing for.
    std::fs::create_dir_all(bench.hub.candidates.dir(work.snapshot)).unwrap();
    let nothing: Value = get(at(work.snapshot, "?arch=aarch64")).await.unwrap().json().await.unwrap();
    assert_eq!(nothing["files"], json!([]));
    problem(get(at(other, "?arch=aarch64")).await.unwrap(), 404, "not-found").await;
    let up =
        work.at(&at(work.snapshot, &format!("/files/../../{other}/x86_64/repodata/repomd.xml?arch=x86_64")));
    assert_eq!(bench.raw(&up, TOKEN).await, 404);
}

#[tokio::test]
async fn what_the_work_made_is_stored_once_and_within_its_limits() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    for _ in 0..2 {
        assert_eq!(upload(&bench, &work, "hello-1-1.x86_64.rpm", b"an RPM").await.status(), 204);
    }
    // What is refused here may be what somebody else has stored this moment and is about to note.
    bench.hub.artifacts.put_bytes(b"another RPM").await.unwrap();
    problem(upload(&bench, &work, "hello-1-1.x86_64.rpm", b"another RPM").await, 409, "conflict").await;
    assert!(bench.hub.artifacts.contains(&Digest::of(b"another RPM")));
    assert!(!bench.is_held(b"another RPM").await);
    for name in ["..%2Fx", ".hidden", "a%2Fb", "-rf", "a%20b", &"x".repeat(300)] {
        problem(upload(&bench, &work, name, b"x").await, 422, "invalid").await;
    }
    let wrong = work.at(&format!("files/x?digest={}", Digest::of(b"y")));
    let answer = bench.call(Method::PUT, &wrong).bearer_auth(TOKEN).body("x").send().await.unwrap();
    problem(answer, 422, "invalid").await;
    problem(upload(&bench, &work, "large", &vec![0; (1 << 20) + 1]).await, 413, "too-large").await;
    // One MiB in all, of which six bytes are taken.
    problem(upload(&bench, &work, "large", &vec![0; 1 << 20]).await, 413, "too-large").await;
    assert_eq!(upload(&bench, &work, "large", &vec![0; (1 << 20) - 6]).await.status(), 204);

    let shown: Value =
        bench.get(&format!("/api/v1/jobs/{}", work.job)).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["files"][0], json!({"name": "hello-1-1.x86_64.rpm", "size": 6}));
    let rpm = || bench.get(&format!("/api/v1/jobs/{}/files/hello-1-1.x86_64.rpm", work.job));
    let file = rpm().bearer_auth(ADA).send().await.unwrap();
    assert_eq!(file.headers()["content-disposition"], "attachment; filename=\"hello-1-1.x86_64.rpm\"");
    assert_eq!(file.text().await.unwrap(), "an RPM");
    // Nobody has tested it, and it may never pass: who has no token of the farm does not get it.
    let nobody = rpm().send().await.unwrap();
    assert!(
        nobody.headers()["www-authenticate"].to_str().unwrap().contains("Basic"),
        "browsers must know how"
    );
    problem(nobody, 401, "unauthenticated").await;
    problem(rpm().bearer_auth("wrong").send().await.unwrap(), 401, "unknown-token").await;
    assert_eq!(rpm().basic_auth("ada", Some(ADA)).send().await.unwrap().status(), 200);
    let open = bench.get(&format!("/api/v1/jobs/{}/files/large", work.job)).send().await.unwrap();
    assert_eq!(open.status(), 200, "what is no package is for everybody");
    let none = bench.get(&format!("/api/v1/jobs/{}/files/none", work.job)).send().await.unwrap();
    problem(none, 404, "not-found").await;
}

/// It enters no repo, and whoever asked for it hands its address around.
#[tokio::test]
async fn the_packages_of_a_scratch_build_are_for_everybody() {
    let bench = Bench::open().await;
    let far = farm::stamp::Stamp::from_millis(4_000_000_000_000);
    let name = "hello-1-1.x86_64.rpm";
    for (kind, status) in [(RequestKind::Scratch { expires: far }, 200), (RequestKind::Build, 401)] {
        let work = bench.offered_for(kind).await;
        assert_eq!(bench.claim(&work, TICKET, TOKEN).await.0, 200);
        assert_eq!(upload(&bench, &work, name, b"an RPM").await.status(), 204);
        let nobody = bench.get(&format!("/api/v1/jobs/{}/files/{name}", work.job)).send().await.unwrap();
        assert_eq!(nobody.status(), status);
        let page =
            bench.get(&format!("/builds/{}", work.request.id)).send().await.unwrap().text().await.unwrap();
        assert!(page.contains(name), "{page}");
        assert_eq!(page.contains("your token is the password"), status == 401, "{page}");
    }
}

#[tokio::test]
async fn an_upload_that_outlives_its_attempt_is_not_its_own() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<&'static str, std::io::Error>>(1);
    let path = work.at(&format!("files/x?digest={}", Digest::of(b"firstsecond")));
    let stream = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    let call = bench.call(Method::PUT, &path).bearer_auth(TOKEN).body(stream);
    let answer = tokio::spawn(call.send());
    pieces.send(Ok("first")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let finish = bench.post(&work.at("finish"), TOKEN).json(&passed()).send().await.unwrap();
    assert_eq!(finish.status(), 204);
    pieces.send(Ok("second")).await.unwrap();
    drop(pieces);
    problem(answer.await.unwrap().unwrap(), 409, "stale").await;
    assert!(!bench.is_held(b"firstsecond").await);
}

#[tokio::test]
async fn an_attempt_of_no_job_is_not_found() {
    let bench = Bench::open().await;
    let unknown: JobId = bench.hub.mint();
    let beat = bench.post(&format!("/api/v1/attempts/{unknown}/1/beat"), TOKEN).send().await.unwrap();
    problem(beat, 404, "not-found").await;
}
