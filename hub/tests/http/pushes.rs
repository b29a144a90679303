use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bench::{ADA, Bench, FOREIGN, problem};

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_push_to_a_server_that_is_away_is_taken_in_when_it_is_back() {
    let elsewhere = tempfile::tempdir().unwrap();
    let prefix = format!("file://{}/rpms", elsewhere.path().display());
    let bench = Bench::with(|config| config.git_prefixes = vec![prefix.clone()]).await;
    let tree = elsewhere.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    git(&tree, &["init", "-q", "-b", "c9s-sig-demo-hello"]);
    std::fs::write(tree.join("hello.spec"), "Name: hello\n").unwrap();
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-q", "-m", "first"]);
    // People write ids in upper case too.
    let commit = git(&tree, &["rev-parse", "HEAD"]).to_uppercase();
    let report = |repo: &str| {
        let update = json!({"branch": "c9s-sig-demo-hello", "old": "0".repeat(40), "new": commit});
        bench
            .post("/api/v1/pushes", FOREIGN)
            .json(&json!({"repo": repo, "pusher": "ada", "updates": [update]}))
    };
    let repo = format!("{prefix}/hello.git");
    // The hook keeps a report that is answered so, and delivers it again.
    let said = problem(report(&repo).send().await.unwrap(), 503, "unavailable").await;
    assert!(said["detail"].as_str().unwrap().contains("cannot be fetched from"), "{said}");
    assert!(said["fix"].as_str().unwrap().contains("try again"), "{said}");
    // What would be refused again is refused for good.
    problem(report("file:///elsewhere/rpms/hello.git").send().await.unwrap(), 422, "invalid").await;

    std::fs::create_dir(elsewhere.path().join("rpms")).unwrap();
    git(elsewhere.path(), &["clone", "-q", "--bare", "tree", "rpms/hello.git"]);
    let taken: Value = report(&repo).send().await.unwrap().json().await.unwrap();
    assert!(
        taken["lines"][0].as_str().unwrap().contains("build hello for demo9s-hello-1-el9s queued"),
        "{taken}"
    );
}

#[tokio::test]
async fn a_repo_that_is_not_there_is_named_as_people_know_it() {
    let bench = Bench::open().await;
    let build = json!({
        "target": "demo9s-hello-1-el9s", "repo": "rpms/hello", "commit": "c9s-sig-demo-hello", "scratch": true,
    });
    let said =
        problem(bench.post("/api/v1/builds", ADA).json(&build).send().await.unwrap(), 404, "not-found").await;
    let expected = format!(
        "there is no repo rpms/hello on this git server; push it first: git push {}/git/rpms/hello.git BRANCH",
        bench.url
    );
    assert_eq!(said["detail"], expected);
}
