use farm::request::{Closed, Verdict};

use crate::bench::{ADA, Bench, TOKEN};

#[tokio::test]
async fn pages_are_readable_and_nothing_in_them_is_run() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let id = work.request.id;
    bench.post(&work.at("logs/build.log?offset=0"), TOKEN).body("hello\n").send().await.unwrap();
    let page = bench.get(&format!("/builds/{id}")).send().await.unwrap();
    let text = page.text().await.unwrap();
    assert!(text.contains("hello-1-1") && text.contains("/assets/follow.js"), "{text}");

    let mut tx = bench.hub.db.write().await.unwrap();
    let kept = tx.request(id).await.unwrap().unwrap();
    let reason = "<script>alert(1)</script> is missing".to_owned();
    let closed = Closed { at: bench.hub.now(), verdict: Verdict::Failed { reason } };
    tx.close_request(&kept, closed).await.unwrap();
    tx.commit().await.unwrap();
    for path in ["/".to_owned(), format!("/builds/{id}"), format!("/builds/{}", &id.to_string()[18..])] {
        let page = bench.get(&path).send().await.unwrap();
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let text = page.text().await.unwrap();
        assert!(!text.contains("<script>alert") && text.contains("alert(1)"), "{path}: {text}");
    }
    for path in ["/builds/none-1-1", "/promotions/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/repos/none"] {
        let page = bench.get(path).send().await.unwrap();
        assert_eq!(page.status(), 404, "{path}");
        assert!(page.text().await.unwrap().contains("<h1>There is no such thing</h1>"));
    }
    for path in ["/assets/style.css", "/assets/follow.js"] {
        assert_eq!(bench.get(path).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn repos_are_files_and_folders_and_nothing_above_them() {
    let bench = Bench::open().await;
    let root = bench.hub.public.root().to_owned();
    std::fs::create_dir_all(root.join("snap/one/x86_64/repodata")).unwrap();
    std::fs::write(root.join("snap/one/x86_64/repodata/repomd.xml"), "<repomd/>").unwrap();
    std::fs::write(root.join("snap/one/x86_64/<b>+.rpm"), "rpm").unwrap();
    std::os::unix::fs::symlink("../snap/one", root.join("live/demo")).unwrap();
    let moving = bench.get("/repos/live/demo/x86_64/repodata/repomd.xml").send().await.unwrap();
    assert_eq!(moving.headers()["cache-control"], "no-cache");
    let modified = moving.headers()["last-modified"].clone();
    assert_eq!(moving.text().await.unwrap(), "<repomd/>");
    let again =
        bench.get("/repos/live/demo/x86_64/repodata/repomd.xml").header("if-modified-since", modified);
    assert_eq!(again.send().await.unwrap().status(), 200);
    let part = bench.get("/repos/snap/one/x86_64/repodata/repomd.xml").header("range", "bytes=1-6");
    let part = part.send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap().as_str()), (206, "repomd"));
    let listing = bench.get("/repos/live/demo/x86_64").send().await.unwrap();
    assert!(listing.url().path().ends_with('/'));
    let text = listing.text().await.unwrap();
    assert!(text.contains("repodata/") && !text.contains("<b>"), "{text}");
    let file = bench.get("/repos/live/demo/x86_64/%3Cb%3E%2B.rpm").send().await.unwrap();
    assert_eq!(file.text().await.unwrap(), "rpm");
    let nobody = bench.get("/candidate/").send().await.unwrap();
    assert_eq!(nobody.status(), 401, "what is not tested is not for everybody");
    assert!(nobody.headers()["www-authenticate"].to_str().unwrap().contains("Basic"), "dnf must know how");
    assert_eq!(bench.get("/candidate/").basic_auth("ada", Some("wrong")).send().await.unwrap().status(), 401);
    let ada = bench.get("/candidate/").basic_auth("ada", Some(ADA)).send().await.unwrap();
    assert_eq!(ada.status(), 200);
    for path in [
        "/repos/../foreign",
        "/repos/..%2f..%2fforeign",
        "/repos/%2e%2e/%2e%2e/foreign",
        "/repos//etc/passwd",
    ] {
        assert_eq!(bench.raw(path, "").await, 404, "{path}");
    }
}
