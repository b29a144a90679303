use reqwest::multipart::{Form, Part};

use crate::bench::{ADA, ADMIN, BOB, Bench, problem};

const CONTENT: &[u8] = b"hello";
const SHA512: &str = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
const MD5: &str = "5d41402abc4b2a76b9719d911017c592";

async fn ask(bench: &Bench, token: &str, package: &str, kind: &str, hash: &str) -> reqwest::Response {
    let form = Form::new()
        .text("name", package.to_owned())
        .text(format!("{kind}sum"), hash.to_owned())
        .text("filename", "hello-1.tar.gz");
    bench.post("/lookaside/upload", token).multipart(form).send().await.unwrap()
}

async fn bring(bench: &Bench, token: &str, package: &str, hash: &str, content: &[u8]) -> reqwest::Response {
    let form = Form::new()
        .text("name", package.to_owned())
        .text("sha512sum", hash.to_owned())
        .part("file", Part::bytes(content.to_vec()).file_name("hello-1.tar.gz"))
        .text("mtime", "1700000000");
    bench.post("/lookaside/upload", token).multipart(form).send().await.unwrap()
}

#[tokio::test]
async fn a_file_goes_in_and_comes_out_under_each_of_its_hashes() {
    let bench = Bench::open().await;
    assert_eq!(ask(&bench, ADA, "rpms/hello", "sha512", SHA512).await.text().await.unwrap(), "Missing");
    assert_eq!(bring(&bench, ADA, "rpms/hello", SHA512, CONTENT).await.status(), 200);
    for (kind, hash) in [("sha512", SHA512), ("md5", MD5)] {
        assert_eq!(ask(&bench, ADA, "hello", kind, hash).await.text().await.unwrap(), "Available");
        for package in ["hello", "rpms/hello"] {
            let path = format!("/lookaside/pkgs/{package}/hello-1.tar.gz/{kind}/{hash}/hello-1.tar.gz");
            let file = bench.get(&path).send().await.unwrap();
            assert_eq!(file.bytes().await.unwrap(), CONTENT);
        }
    }
    for path in [
        format!("hello/hello-1.tar.gz/sha512/{}/hello-1.tar.gz", "0".repeat(128)),
        format!("hello/hello-1.tar.gz/sha512/{SHA512}/other"),
        format!("hello/hello-1.tar.gz/md4/{SHA512}/hello-1.tar.gz"),
        "hello/hello-1.tar.gz".to_owned(),
        format!("..%2Fhello/x/md5/{MD5}/x"),
    ] {
        problem(bench.get(&format!("/lookaside/pkgs/{path}")).send().await.unwrap(), 404, "not-found").await;
    }
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_not_stored() {
    let bench = Bench::open().await;
    let said = problem(bring(&bench, ADA, "hello", SHA512, b"hello!").await, 422, "invalid").await;
    assert!(said["detail"].as_str().unwrap().contains("has the sha512"), "{said}");
    assert!(!bench.hub.artifacts.contains(&farm::digest::Digest::of(b"hello!")));
    assert_eq!(ask(&bench, ADA, "hello", "sha512", SHA512).await.text().await.unwrap(), "Missing");
    problem(ask(&bench, ADA, "hello", "sha512", "abc").await, 422, "invalid").await;
    problem(ask(&bench, ADA, "hello", "sha3", SHA512).await, 422, "invalid").await;
}

#[tokio::test]
async fn the_owners_maintainers_upload() {
    let bench = Bench::with(|config| config.upload_mb = 1).await;
    problem(bring(&bench, BOB, "hello", SHA512, CONTENT).await, 403, "forbidden").await;
    problem(bring(&bench, ADA, "kernel", SHA512, CONTENT).await, 403, "forbidden").await;
    problem(bring(&bench, "nobody's", "hello", SHA512, CONTENT).await, 401, "unauthenticated").await;
    assert_eq!(bring(&bench, ADMIN, "hello", SHA512, CONTENT).await.status(), 200);
    let large = bring(&bench, ADA, "hello", SHA512, &vec![0; 2 << 20]).await;
    assert!(large.status().is_client_error());
    let unordered = Form::new().part("file", Part::bytes(CONTENT).file_name("x")).text("name", "hello");
    let answer = bench.post("/lookaside/upload", ADA).multipart(unordered).send().await.unwrap();
    problem(answer, 422, "invalid").await;
}
