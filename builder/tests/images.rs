//! Base images on a real engine: pulled by digest from a registry in this process, set up, found again, and refused.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use builder::Engine;
use builder::image::{self, ImageError, Made, Order, Recipe};
use farm::arch::Arch;
use farm::digest::Digest;
use serde_json::json;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";

fn engine() -> Option<Engine> {
    let address = std::env::var("GRANGE_TEST_DOCKER").ok().filter(|address| !address.is_empty());
    if address.is_none() {
        eprintln!("SKIPPED: GRANGE_TEST_DOCKER is not set; run dev/test, or `. var/test-env`");
    }
    address.map(|address| Engine::connect(&address).unwrap())
}

/// What a registry has, by digest.
type Blobs = Arc<HashMap<String, Vec<u8>>>;

/// A registry of one image of this architecture, with one file in it. Gives where it is and the image's digest.
async fn registry(architecture: &str) -> (String, String) {
    let mut layer = tar::Builder::new(Vec::new());
    let mut file = tar::Header::new_gnu();
    file.set_size(5);
    file.set_mode(0o644);
    layer.append_data(&mut file, "hello", &b"world"[..]).unwrap();
    let layer = layer.into_inner().unwrap();
    let digest = |bytes: &[u8]| format!("sha256:{}", Digest::of(bytes));
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": config.len(), "digest": digest(&config)},
        "layers": [{"mediaType": LAYER, "size": layer.len(), "digest": digest(&layer)}],
    })
    .to_string()
    .into_bytes();
    let name = digest(&manifest);
    let blobs: Blobs =
        Arc::new([layer, config, manifest].into_iter().map(|blob| (digest(&blob), blob)).collect());
    let router = Router::new()
        .route("/v2/", get(|| async { "{}" }))
        .route("/v2/tiny/{kind}/{digest}", get(blob))
        .with_state(blobs);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, name)
}

async fn blob(State(blobs): State<Blobs>, Path((kind, digest)): Path<(String, String)>) -> Response {
    let kind = if kind == "manifests" { MANIFEST } else { "application/octet-stream" };
    match blobs.get(&digest) {
        Some(blob) => ([(header::CONTENT_TYPE, kind)], blob.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, "{\"errors\": [{\"code\": \"MANIFEST_UNKNOWN\"}]}").into_response(),
    }
}

fn recipe(name: &str, image: &str) -> Recipe {
    serde_json::from_value(json!({"kind": "pull", "name": name, "image": image})).unwrap()
}

async fn make(engine: &Engine, folder: &std::path::Path, recipe: &Recipe) -> Result<Made, ImageError> {
    let arch = Arch::native().unwrap();
    let order = Order { folder, recipe, arch, tags: &[], now: "2026-06-01T00:00:00Z".to_owned() };
    image::build(engine, &order, &mut |_| {}, &mut |_| {}).await
}

/// What this machine's architecture is called in images.
fn here() -> &'static str {
    match Arch::native().unwrap() {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
        other => other.as_str(),
    }
}

#[tokio::test]
async fn an_image_is_pulled_by_its_digest_set_up_and_found_again() {
    let Some(engine) = engine() else { return };
    let (address, digest) = registry(here()).await;
    let image = format!("{address}/tiny@{digest}");
    let name = format!("grange-test/pulled-{}", std::process::id());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("recipe.toml"), &image).unwrap();
    std::fs::write(folder.path().join("added"), "by the setup\n").unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "ARG BASE\nFROM ${BASE}\nCOPY added /added\n").unwrap();

    let recipe = recipe(&name, &image);
    let first = make(&engine, folder.path(), &recipe).await.unwrap();
    assert!(!first.already);
    let arch = Arch::native().unwrap();
    let made = engine.base_image(&first.reference).await.unwrap().unwrap();
    assert!(made.tags.contains(&format!("{name}:{arch}")), "{:?}", made.tags);
    assert_eq!(made.labels["org.grange.arch"], arch.as_str());
    assert_eq!(made.labels["org.grange.base"], image);

    let again = make(&engine, folder.path(), &recipe).await.unwrap();
    assert_eq!(again, Made { already: true, ..first.clone() });

    std::fs::write(folder.path().join("added"), "something else\n").unwrap();
    let other = make(&engine, folder.path(), &recipe).await.unwrap();
    assert!(!other.already && other.reference != first.reference, "a changed file makes another image");

    std::fs::write(folder.path().join("Dockerfile"), "ARG BASE\nFROM ${BASE}\nCOPY absent /absent\n")
        .unwrap();
    let error = make(&engine, folder.path(), &recipe).await.unwrap_err().to_string();
    assert!(error.contains("absent"), "{error}");

    for reference in [first.reference, other.reference, format!("{name}:{arch}"), image] {
        engine.untag(&reference).await.unwrap();
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_or_for_another_architecture_is_refused() {
    let Some(engine) = engine() else { return };
    let elsewhere = if here() == "s390x" { "amd64" } else { "s390x" };
    let (address, digest) = registry(elsewhere).await;
    let folder = tempfile::tempdir().unwrap();
    let wrong = format!("{address}/tiny@{digest}");
    let error = make(&engine, folder.path(), &recipe("grange-test/wrong", &wrong)).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains(elsewhere) || error.contains("match"), "{error}");
    let absent = format!("{address}/tiny@sha256:{}", "0".repeat(64));
    let error = make(&engine, folder.path(), &recipe("grange-test/absent", &absent)).await.unwrap_err();
    assert!(error.to_string().starts_with("the container engine failed to pull an image"), "{error}");
    engine.untag(&wrong).await.unwrap();
}
