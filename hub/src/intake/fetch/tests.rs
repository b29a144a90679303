use std::process::Command as Blocking;

use super::*;
use crate::intake::tree::DistGit;

const PATIENT: Duration = Duration::from_secs(60);

/// A repo on "another server", reached by `file://`.
struct Server {
    dir: tempfile::TempDir,
}

impl Server {
    fn new() -> Self {
        let server = Self { dir: tempfile::tempdir().unwrap() };
        server.git(&["init", "--quiet", "--bare", "rpms/hello.git"]);
        server.git(&["clone", "--quiet", "rpms/hello.git", "work"]);
        server
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Blocking::new("git")
            .args(["-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "init.defaultBranch=c9s"])
            .args(arguments)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn push(&self, content: &str) -> String {
        std::fs::write(self.dir.path().join("work/hello.spec"), content).unwrap();
        self.git(&["-C", "work", "add", "hello.spec"]);
        self.git(&["-C", "work", "commit", "--quiet", "-m", content]);
        self.git(&["-C", "work", "push", "--quiet", "origin", "HEAD:refs/heads/c9s"]);
        self.git(&["-C", "work", "rev-parse", "HEAD"])
    }

    fn prefix(&self) -> String {
        format!("file://{}/rpms", self.dir.path().display())
    }

    async fn fetch(&self, want: Want<'_>) -> Result<Fetched, FetchError> {
        let url = format!("{}/hello.git", self.prefix());
        fetch(&url, &[self.prefix()], &self.dir.path().join("cache"), want, PATIENT).await
    }
}

#[tokio::test]
async fn a_branch_and_a_commit_are_fetched() {
    let server = Server::new();
    let first = server.push("first");
    let fetched = server.fetch(Want::Branch("c9s")).await.unwrap();
    assert_eq!(fetched.commit, first);
    let second = server.push("second");
    assert_eq!(server.fetch(Want::Branch("c9s")).await.unwrap().commit, second);
    assert_eq!(server.fetch(Want::Commit(&first)).await.unwrap().commit, first);
    let git = DistGit::open(&fetched.repo, "rpms/hello").unwrap();
    assert_eq!(git.read(&second, "hello").unwrap().spec, "hello.spec");

    let older = server.push("third");
    server.push("fourth");
    assert_eq!(server.fetch(Want::Commit(&older)).await.unwrap().commit, older);
    let (one, other) = tokio::join!(server.fetch(Want::Branch("c9s")), server.fetch(Want::Branch("c9s")));
    assert_eq!(one.unwrap(), other.unwrap());
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let server = Server::new();
    server.push("first");
    let error = server.fetch(Want::Branch("c10s")).await.unwrap_err().to_string();
    assert!(error.starts_with("c10s cannot be fetched from file://"), "{error}");
    let absent = "1".repeat(40);
    let error = server.fetch(Want::Commit(&absent)).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{absent} cannot be fetched")), "{error}");
    for want in
        [Want::Branch("--upload-pack=x"), Want::Branch("a:b"), Want::Commit("HEAD"), Want::Commit("12")]
    {
        assert!(matches!(server.fetch(want).await, Err(FetchError::BadWant(_))), "{want:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("git://{}", silent.local_addr().unwrap());
    let url = format!("{server}/x.git");
    let cache = tempfile::tempdir().unwrap();
    let timeout = Duration::from_secs(1);
    let fetched = fetch(&url, &[server], cache.path(), Want::Branch("c9s"), timeout).await;
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { seconds: 1, .. }), "{error}");
}

#[test]
fn only_allowed_servers_are_asked() {
    let allowed = ["https://git.example.org/rpms".to_owned(), "ssh://git@example.org".to_owned()];
    for url in [
        "https://git.example.org/rpms/hello",
        "https://git.example.org/rpms/hello.git",
        "ssh://git@example.org/x",
    ] {
        assert!(checked(url, &allowed).is_ok(), "{url}");
    }
    for url in [
        "https://git.example.org/rpms.evil/hello",
        "https://git.example.org/other/hello",
        "https://git.example.org.evil/rpms/hello",
        "http://git.example.org/rpms/hello",
        "ssh://root@example.org/x",
        "file:///etc",
    ] {
        assert!(matches!(checked(url, &allowed), Err(FetchError::NotAllowed { .. })), "{url}");
    }
    for url in [
        "https://git.example.org/rpms/../other",
        "https://git.example.org/rpms/%2e%2e/other",
        "https://user:secret@git.example.org/rpms/hello",
        "https://git.example.org/rpms/hello?x",
        "ext::sh -c true",
        "--upload-pack=x",
        "/etc",
        "git@example.org:x",
        "ssh://-oProxyCommand=x/y",
    ] {
        let error = checked(url, &allowed).unwrap_err();
        assert!(matches!(error, FetchError::BadUrl { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(checked("https://git.example.org/rpms/hello", &[]).is_err());
}
