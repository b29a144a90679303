//! The API's document against what is served, in both directions.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value};

use crate::bench::Bench;

const VERBS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

async fn operations(bench: &Bench) -> Vec<(String, String, Map<String, Value>)> {
    let document: Value = bench.get("/api/v1/openapi.json").send().await.unwrap().json().await.unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            if VERBS.contains(&verb.as_str()) {
                operations.push((path.clone(), verb.clone(), operation.as_object().unwrap().clone()));
            }
        }
    }
    operations
}

/// An address of this shape.
fn example(path: &str) -> String {
    let mut example = String::new();
    for (place, part) in path.split(['{', '}']).enumerate() {
        example.push_str(match (place % 2, part) {
            (0, part) => part,
            (_, "turn") => "1",
            (_, "sha256") => "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            (_, "job" | "id") => "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            (_, _) => "build.log",
        });
    }
    example
}

#[tokio::test]
async fn what_is_documented_is_served() {
    let bench = Bench::open().await;
    let operations = operations(&bench).await;
    assert!(operations.len() > 30, "{}", operations.len());
    let mut names = BTreeSet::new();
    for (path, verb, operation) in operations {
        let method: Method = verb.to_ascii_uppercase().parse().unwrap();
        let answer = bench.call(method, &example(&path)).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status != 405 && !text.contains("there is no address"), "{verb} {path}: {status} {text}");
        let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
        assert_eq!(problem["schema"]["$ref"], "#/components/schemas/ProblemBody", "{verb} {path}");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 3), "{verb} {path}");
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name.clone()), "two operations are called {name}");
        for (code, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].is_string(), "{verb} {path} {code}");
        }
        let good = operation["responses"].as_object().unwrap().keys().any(|code| code.starts_with('2'));
        assert!(good, "{verb} {path} has no good answer");
        if verb != "get" && !path.ends_with("/enrol") {
            assert!(operation.contains_key("security"), "{verb} {path}");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let bench = Bench::open().await;
    let text = bench.get("/api/v1/openapi.json").send().await.unwrap().text().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let known: BTreeSet<&str> =
        document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
    for rest in text.split("\"#/components/schemas/").skip(1) {
        let name = rest.split('"').next().unwrap();
        assert!(known.contains(name), "{name} is not in the document");
    }
}

/// Every handler that has a `utoipa::path` is in the list of routes, and no address of the API is beside it.
#[tokio::test]
async fn what_is_served_is_documented() {
    let bench = Bench::open().await;
    let documented: BTreeSet<(String, String)> =
        operations(&bench).await.into_iter().map(|(path, verb, _)| (verb, path)).collect();
    let mut written = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains(".route(\"/api/"), "{} has a route beside the list", path.display());
            for rest in text.split("#[utoipa::path(").skip(1) {
                let verb = rest.trim_start().split(',').next().unwrap().trim().to_owned();
                let path = rest.split("path = \"").nth(1).unwrap().split('"').next().unwrap();
                written.insert((verb, path.replace("{*", "{")));
            }
        }
    }
    assert_eq!(written, documented);
}
