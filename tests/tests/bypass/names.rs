//! Names that lead elsewhere, wherever a stranger may give one.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scene::{Scene, TARGET, TESTING};

/// What a stranger asks for, byte for byte: a client library would tidy it up.
async fn raw(scene: &Scene, method: Method, path: &str) -> (u16, Vec<u8>) {
    let address = scene.url.strip_prefix("http://").unwrap();
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    let call = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer ada-token\r\ncontent-length: 1\r\n\
         connection: close\r\n\r\nx"
    );
    line.write_all(call.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    line.read_to_end(&mut answer).await.unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_out_of_its_folder() {
    const SECRET: &str = "what nobody may read";
    let mut scene = Scene::new().await;
    scene.signer_works();
    scene.built(TARGET, "apple", "1").await;
    let before = scene.public();
    std::fs::write(scene.data.path().join("secret"), SECRET).unwrap();
    let outside = scene.data.path().parent().unwrap().join("grange-was-here");
    let hash = "0".repeat(128);
    let ups = [
        "../secret",
        "..%2fsecret",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        ".%2e/secret",
        "..%5csecret",
        "secret%00",
    ];
    for up in ups {
        for place in [
            format!("/repos/{up}"),
            format!("/repos/live/{TESTING}/../../../{up}"),
            format!("/repos/live/{TESTING}/%2e%2e/%2e%2e/{up}"),
            format!("/candidate/{up}"),
            format!("/metalink?repo={up}&folder=x86_64"),
            format!("/metalink?repo={TESTING}&folder={up}"),
            format!("/lookaside/pkgs/apple/{up}/sha512/{hash}/{up}"),
            format!("/lookaside/pkgs/{up}/apple.tar/sha512/{hash}/apple.tar"),
            format!("/git/rpms/{up}.git/info/refs?service=git-upload-pack"),
            format!("/git/{up}/info/refs?service=git-upload-pack"),
            format!("/api/v1/builds/{up}"),
            format!("/api/v1/jobs/{up}/logs/{up}"),
            format!("/api/v1/tags/{up}"),
            format!("/api/v1/sigs/{up}"),
        ] {
            let (status, answer) = raw(&scene, Method::GET, &place).await;
            assert!((300..500).contains(&status), "{place}: {status}");
            assert!(!String::from_utf8_lossy(&answer).contains(SECRET), "{place} gives the secret");
        }
        let (status, _) =
            raw(&scene, Method::POST, &format!("/api/v1/builds/srpm?target={TARGET}&name={up}.src.rpm"))
                .await;
        assert!((400..500).contains(&status), "a source RPM called {up}: {status}");
    }

    // Templates: everything in them that becomes a path, a branch, or a name in a repo.
    let good = "name = \"NAME\"\n[[project]]\nname = \"PROJECT\"\nrelease = \"RELEASE\"\ndist = \"DIST\"\n\
                arches = [\"x86_64\"]\npackages = [\"PACKAGE\"]\nbranches = [\"c9s-sig-evil-BRANCH\"]\n\
                [project.tests]\nrequired = [\"SUITE\"]\n";
    let words = [
        ("NAME", "evil"),
        ("PROJECT", "x"),
        ("RELEASE", "1"),
        ("DIST", "9s"),
        ("PACKAGE", "plum"),
        ("BRANCH", "next"),
        ("SUITE", "installs"),
    ];
    let filled = |changed: &str, value: &str| {
        words.iter().fold(good.to_owned(), |text, (word, usual)| {
            text.replace(word, if *word == changed { value } else { usual })
        })
    };
    for (word, _) in words {
        for value in ["../x", "..", ".", "a/b", "/etc", "a\\u0000b", "a b", "a\\nb", ""] {
            if word == "BRANCH" && ["", "."].contains(&value) {
                // The end of a branch may be such.
                continue;
            }
            let template = filled(word, value);
            let body = json!({ "file": "evil.toml", "template": template });
            let (status, said) = scene.post("root", "sigs/apply", &body).await;
            assert_eq!(status, 422, "{word} = {value:?}: {said}");
        }
    }
    let body = json!({ "file": "evil.toml", "template": filled("", "") });
    assert_eq!(scene.post("root", "sigs/apply", &body).await.0, 200, "what leads nowhere is taken");
    assert!(!outside.exists());
    scene.works().await;
    scene.shows_only(&before);
    scene.is_clean().await;
}
