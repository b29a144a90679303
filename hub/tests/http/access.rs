use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{ADA, ADMIN, BOB, Bench, FOREIGN, TEMPLATE, problem};

#[tokio::test]
async fn reading_is_open_and_a_wrong_token_is_noticed() {
    let bench = Bench::open().await;
    let status: Value = bench.get("/api/v1/status").send().await.unwrap().json().await.unwrap();
    assert_eq!(status["you"], Value::Null);
    for path in ["sigs", "targets", "tags", "builds", "promotions", "builders"] {
        let answer = bench.get(&format!("/api/v1/{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let you = |request: reqwest::RequestBuilder| async move {
        request.send().await.unwrap().json::<Value>().await.unwrap()["you"].clone()
    };
    assert_eq!(you(bench.get("/api/v1/status").bearer_auth(ADA)).await, "ada");
    assert_eq!(you(bench.get("/api/v1/status").basic_auth("whoever", Some(ADA))).await, "ada");
    let wrong = bench.get("/api/v1/status").bearer_auth("nobody's").send().await.unwrap();
    assert_eq!(wrong.headers()["www-authenticate"], "Bearer realm=\"grange\", Basic realm=\"grange\"");
    let said = problem(wrong, 401, "unknown-token").await;
    assert!(said["detail"].as_str().unwrap().contains("mistyped or replaced"), "{said}");
}

#[tokio::test]
async fn every_write_needs_a_token() {
    let bench = Bench::open().await;
    let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for path in [
        "builds".to_owned(),
        "builds/srpm?target=x&name=x-1-1.src.rpm".to_owned(),
        format!("builds/{id}/cancel"),
        format!("builds/{id}/retry"),
        "promotions".to_owned(),
        format!("promotions/{id}/approve"),
        format!("promotions/{id}/withdraw"),
        format!("promotions/{id}/waivers"),
        format!("waivers/{id}/revoke"),
        "rollbacks".to_owned(),
        "withdrawals".to_owned(),
        "sigs/plan".to_owned(),
        "sigs/apply".to_owned(),
        "pushes".to_owned(),
        format!("attempts/{id}/1/beat"),
        format!("attempts/{id}/1/logs/build.log?offset=0"),
    ] {
        let answer =
            bench.call(Method::POST, &format!("/api/v1/{path}")).json(&json!({})).send().await.unwrap();
        problem(answer, 401, "unauthenticated").await;
    }
    problem(bench.get("/api/v1/git/policy").send().await.unwrap(), 401, "unauthenticated").await;
}

#[tokio::test]
async fn what_is_wrong_is_said_as_a_problem() {
    let bench = Bench::open().await;
    let get = |path: &str| bench.get(&format!("/api/v1/{path}")).send();
    let missing = problem(get("builds/01ARZ3NDEKTSV4RRFFQ69G5FAV").await.unwrap(), 404, "not-found").await;
    assert_eq!(missing["detail"], "there is no build 01ARZ3NDEKTSV4RRFFQ69G5FAV");
    problem(get("jobs/nonsense").await.unwrap(), 404, "not-found").await;
    problem(get("nothing").await.unwrap(), 404, "not-found").await;
    problem(get("builds?colour=red").await.unwrap(), 422, "invalid").await;
    problem(get("builds?state=ajar").await.unwrap(), 422, "invalid").await;
    let delete = bench.call(Method::DELETE, "/api/v1/builds").send().await.unwrap();
    problem(delete, 405, "method-not-allowed").await;
    let text = bench.post("/api/v1/builds", ADA).header("content-type", "application/json").body("{");
    problem(text.send().await.unwrap(), 422, "invalid").await;
    let large =
        bench.post("/api/v1/sigs/plan", ADA).json(&json!({"file": "f", "template": "x".repeat(2 << 20)}));
    problem(large.send().await.unwrap(), 413, "too-large").await;
    let name = bench.post("/api/v1/builds/srpm?target=demo9s-hello-1-el9s&name=..%2Fx.src.rpm", ADA);
    problem(name.send().await.unwrap(), 422, "invalid").await;
    let garbage = bench.post("/api/v1/builds/srpm?target=demo9s-hello-1-el9s&name=x-1-1.src.rpm", ADA);
    problem(garbage.body("garbage").send().await.unwrap(), 422, "invalid").await;
}

#[tokio::test]
async fn templates_are_planned_by_many_and_applied_by_admins() {
    let bench = Bench::open().await;
    let body = |template: &str| json!({"file": "demo.toml", "template": template});
    let more = TEMPLATE.replace("\"hello\"]", "\"hello\", \"bye\"]");
    let planned = bench.post("/api/v1/sigs/plan", BOB).json(&body(&more)).send().await.unwrap();
    let planned: Value = planned.json().await.unwrap();
    assert_eq!(planned["applied"], false);
    assert!(
        planned["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| { change["what"].as_str().unwrap().contains("package bye") })
    );
    let refused = bench.post("/api/v1/sigs/apply", ADA).json(&body(&more)).send().await.unwrap();
    problem(refused, 403, "forbidden").await;

    let clash =
        more.replace("name = \"demo\"", "name = \"other\"").replace("dist = \"9s\"", "dist = \"10s\"");
    let clashing = bench.post("/api/v1/sigs/plan", ADA).json(&body(&clash)).send().await.unwrap();
    let said = problem(clashing, 422, "invalid").await;
    assert!(said["detail"].as_str().unwrap().contains("package hello is claimed by SIG demo"), "{said}");
    assert!(said["detail"].as_str().unwrap().starts_with("demo.toml:"), "{said}");
    let typo = bench.post("/api/v1/sigs/plan", ADA).json(&body("nam = \"x\"")).send().await.unwrap();
    assert!(problem(typo, 422, "invalid").await["detail"].as_str().unwrap().contains("did you mean `name`"));

    let applied = bench.post("/api/v1/sigs/apply", ADMIN).json(&body(&more)).send().await.unwrap();
    assert_eq!(applied.json::<Value>().await.unwrap()["applied"], true);
    let shown: Value = bench.get("/api/v1/sigs/demo").send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["template"], more);
    let policy = std::fs::read_to_string(bench.data("git/policy.json")).unwrap();
    assert!(policy.contains("\"bye\"") && policy.contains("\"admins\":[\"root\"]"), "{policy}");
}

#[tokio::test]
async fn a_hook_speaks_for_its_own_server() {
    let bench = Bench::open().await;
    let own = bench.hub.hook_token.clone();
    let push = |repo: &str| json!({"repo": repo, "pusher": "ada", "updates": []});
    let send = |token: &str, repo: &str| bench.post("/api/v1/pushes", token).json(&push(repo)).send();
    assert_eq!(send(&own, "rpms/hello").await.unwrap().status(), 202);
    assert_eq!(send(FOREIGN, "https://git.example.org/rpms/hello.git").await.unwrap().status(), 202);
    problem(send(FOREIGN, "rpms/hello").await.unwrap(), 403, "forbidden").await;
    problem(send(&own, "https://git.example.org/rpms/hello.git").await.unwrap(), 422, "invalid").await;
    problem(send(ADMIN, "rpms/hello").await.unwrap(), 401, "unknown-token").await;
    for token in [own.as_str(), FOREIGN] {
        let policy = bench.get("/api/v1/git/policy").bearer_auth(token).send().await.unwrap();
        let policy: Value = policy.json().await.unwrap();
        assert_eq!(policy["admins"], json!(["root"]));
        assert_eq!(policy["community"]["sigs"][0]["name"], "demo");
    }
}

#[tokio::test]
async fn targets_and_tags_say_where_repos_are() {
    let bench = Bench::open().await;
    let targets: Value = bench.get("/api/v1/targets").send().await.unwrap().json().await.unwrap();
    assert_eq!(targets[0]["target"], "demo9s-hello-1-el9s");
    assert_eq!(targets[0]["branches"], json!(["c9s-sig-demo-hello"]));
    let tag: Value =
        bench.get("/api/v1/tags/demo9s-hello-1-testing").send().await.unwrap().json().await.unwrap();
    assert_eq!(tag["stage"], "testing");
    let repo = bench.http.get(tag["repo_file"].as_str().unwrap()).send().await.unwrap();
    let text = repo.text().await.unwrap();
    let metalink = "/metalink?repo=demo9s-hello-1-testing&folder=$basearch\n";
    assert!(text.contains(&format!("metalink={}{metalink}", bench.hub.config.public_url)), "{text}");
    assert!(
        tag["baseurl"].as_str().unwrap().ends_with("/buildlogs/centos/9-stream/demo/$basearch/hello-1/"),
        "{tag}"
    );
    let candidate = bench.get("/api/v1/repos/demo9s-hello-1-candidate.repo").send().await.unwrap();
    problem(candidate, 404, "not-found").await;
}
