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
    problem(bring(&bench, "nobody's", "hello", SHA512, CONTENT).await, 401, "unknown-token").await;
    assert_eq!(bring(&bench, ADMIN, "hello", SHA512, CONTENT).await.status(), 200);
    let unordered = Form::new().part("file", Part::bytes(CONTENT).file_name("x")).text("name", "hello");
    let answer = bench.post("/lookaside/upload", ADA).multipart(unordered).send().await.unwrap();
    problem(answer, 422, "invalid").await;
}

/// What a client has sent and been told when it says that it will send so much and then waits.
async fn announced(bench: &Bench, path: &str, kind: &str, size: u64) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = bench.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADA}\r\nContent-Type: {kind}\r\n\
         Content-Length: {size}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read(&mut answer)).await;
    let read = read.expect("the answer comes before the body").unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_limit() {
    let bench = Bench::with(|config| config.upload_mb = 1).await;
    let srpm = "/api/v1/builds/srpm?target=demo9s-hello-1-el9s&name=hello-1-1.src.rpm";
    for (path, kind) in
        [("/lookaside/upload", "multipart/form-data; boundary=x"), (srpm, "application/octet-stream")]
    {
        let said = announced(&bench, path, kind, 3 << 30).await;
        assert!(said.starts_with("HTTP/1.1 413"), "{said}");
        assert!(said.contains("1048576 are allowed here"), "{said}");
    }
    // One that sends all the same reads the answer.
    let large = vec![0; 64 << 20];
    for _ in 0..3 {
        problem(bring(&bench, ADA, "hello", SHA512, &large).await, 413, "too-large").await;
        let srpm = bench.post(srpm, ADA).body(large.clone()).send().await.unwrap();
        problem(srpm, 413, "too-large").await;
    }
    // One that does not say beforehand how much it sends.
    let pieces = |size: usize| {
        reqwest::Body::wrap_stream(tokio_stream::iter(
            vec![0_u8; size]
                .chunks(1 << 16)
                .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
                .collect::<Vec<_>>(),
        ))
    };
    for size in [(1 << 20) + 1, 64 << 20] {
        let form = Form::new()
            .text("name", "hello")
            .text("sha512sum", SHA512)
            .part("file", Part::stream(pieces(size)).file_name("hello-1.tar.gz"));
        let answer = bench.post("/lookaside/upload", ADA).multipart(form).send().await.unwrap();
        let said = problem(answer, 413, "too-large").await;
        assert!(said["detail"].as_str().unwrap().contains("1048576 bytes allowed"), "{said}");
        let answer = bench.post(srpm, ADA).body(pieces(size)).send().await.unwrap();
        let said = problem(answer, 413, "too-large").await;
        assert!(said["detail"].as_str().unwrap().contains("1048576 bytes allowed"), "{said}");
    }
}
