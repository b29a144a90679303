use std::path::Path;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

use crate::bench::{ADA, ADMIN, BOB, Bench};

/// git as a person would run it, without anything of this machine's configuration.
async fn git(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.current_dir(folder).args(args);
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.org"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.org"),
    ] {
        command.env(name, value);
    }
    command.output().await.unwrap()
}

async fn well(folder: &Path, args: &[&str]) -> String {
    let output = git(folder, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn badly(folder: &Path, args: &[&str]) -> String {
    let output = git(folder, args).await;
    assert!(!output.status.success(), "{args:?} went well");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A bench whose hooks write down what they are told, and a working tree with one commit.
async fn bench() -> (Bench, std::path::PathBuf) {
    let bench = Bench::open().await;
    let told = bench.dir.path().join("told").display().to_string();
    bench.put_hook("grange-update", "case $1 in */bad) echo 'not this branch' >&2; exit 1;; esac");
    bench.put_hook(
        "grange-post-receive",
        &format!("cat >> {told}; env | grep ^GRANGE_ | sort >> {told}; env | cut -d= -f1 | sort >> {told}.names; echo 'build queued'"),
    );
    let tree = bench.dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    well(&tree, &["init", "-q", "-b", "c9s-sig-demo-hello"]).await;
    std::fs::write(tree.join("hello.spec"), "Name: hello\n").unwrap();
    well(&tree, &["add", "."]).await;
    well(&tree, &["commit", "-q", "-m", "first"]).await;
    (bench, tree)
}

fn remote(bench: &Bench, token: &str, repo: &str) -> String {
    let address = bench.url.strip_prefix("http://").unwrap();
    format!("http://somebody:{token}@{address}/git/{repo}.git")
}

#[tokio::test]
async fn a_push_makes_the_repo_runs_the_hooks_and_is_cloned_by_anybody() {
    let (bench, tree) = bench().await;
    let to = remote(&bench, ADA, "rpms/hello");
    let pushed = git(&tree, &["push", &to, "HEAD"]).await;
    let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(pushed.status.success() && said.contains("remote: build queued"), "{said}");
    let told = std::fs::read_to_string(bench.dir.path().join("told")).unwrap();
    let head = well(&tree, &["rev-parse", "HEAD"]).await;
    for expected in [
        format!("{} {head} refs/heads/c9s-sig-demo-hello", "0".repeat(40)),
        format!("GRANGE_HUB={}", bench.url),
        "GRANGE_PERSON=ada".to_owned(),
        "GRANGE_REPO=rpms/hello".to_owned(),
        format!("GRANGE_HOOK_TOKEN={}", bench.hub.hook_token),
        format!("GRANGE_POLICY={}", bench.data("git/policy.json").display()),
        format!("GRANGE_SPOOL={}", bench.data("spool").display()),
        "GRANGE_TIMEOUT_MS=5000".to_owned(),
    ] {
        assert!(told.contains(&expected), "{expected} is not in {told}");
    }
    let names = std::fs::read_to_string(bench.dir.path().join("told.names")).unwrap();
    assert!(!names.contains("CARGO"), "the hub's own environment leaks: {names}");

    let clone = bench.dir.path().join("clone");
    let from = format!("{}/git/rpms/hello.git", bench.url);
    let target = clone.display().to_string();
    well(bench.dir.path(), &["clone", "-q", "-b", "c9s-sig-demo-hello", &from, &target]).await;
    assert_eq!(well(&clone, &["rev-parse", "HEAD"]).await, head);
    assert!(badly(&tree, &["push", &to, "HEAD:bad"]).await.contains("not this branch"));
}

#[tokio::test]
async fn large_pushes_and_fetches_stream() {
    let (bench, tree) = bench().await;
    let mut noise = vec![0_u8; 3 << 20];
    let mut state = 1_u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    std::fs::write(tree.join("noise"), &noise).unwrap();
    well(&tree, &["add", "."]).await;
    well(&tree, &["commit", "-q", "-m", "large"]).await;
    well(&tree, &["push", "-q", &remote(&bench, ADA, "rpms/hello"), "HEAD"]).await;
    let from = format!("{}/git/rpms/hello.git", bench.url);
    let clone = bench.dir.path().join("clone");
    let target = clone.display().to_string();
    well(bench.dir.path(), &["clone", "-q", "-b", "c9s-sig-demo-hello", &from, &target]).await;
    assert_eq!(std::fs::read(clone.join("noise")).unwrap(), noise);
}

#[tokio::test]
async fn history_is_never_taken_away() {
    let (bench, tree) = bench().await;
    let to = remote(&bench, ADA, "rpms/hello");
    well(&tree, &["push", "-q", &to, "HEAD"]).await;
    let head = well(&tree, &["rev-parse", "HEAD"]).await;
    well(&tree, &["commit", "-q", "--amend", "-m", "other"]).await;
    // The hook is what refuses it, so that the pusher reads why; also in a repo that tells git to refuse it by itself.
    bench.put_hook("grange-update", "echo \"history stays: $3\" >&2; exit 1");
    let bare = bench.data("git/rpms/hello.git");
    for set in [false, true] {
        if set {
            well(&bare, &["config", "receive.denyNonFastForwards", "true"]).await;
            well(&bare, &["config", "receive.denyDeletes", "true"]).await;
        }
        let forced = badly(&tree, &["push", "-q", "--force", &to, "HEAD"]).await;
        assert!(forced.contains("remote: history stays: "), "{forced}");
        let deleted = badly(&tree, &["push", "-q", &to, ":c9s-sig-demo-hello"]).await;
        assert!(deleted.contains(&format!("remote: history stays: {}", "0".repeat(40))), "{deleted}");
    }
    assert_eq!(well(&bare, &["rev-parse", "c9s-sig-demo-hello"]).await, head);
}

#[tokio::test]
async fn strangers_push_nothing_and_make_nothing() {
    let (bench, tree) = bench().await;
    let open = format!("{}/git/rpms/hello.git", bench.url);
    badly(&tree, &["push", "-q", &open, "HEAD"]).await;
    let said = badly(&tree, &["push", "-q", &remote(&bench, "nobodys", "rpms/hello"), "HEAD"]).await;
    assert!(said.contains("Authentication failed"), "{said}");
    badly(&tree, &["push", "-q", &remote(&bench, BOB, "rpms/hello"), "HEAD"]).await;
    badly(&tree, &["push", "-q", &remote(&bench, BOB, "tests/demo"), "HEAD"]).await;
    badly(&tree, &["push", "-q", &remote(&bench, ADA, "rpms/kernel"), "HEAD"]).await;
    badly(&tree, &["push", "-q", &remote(&bench, ADA, "other/hello"), "HEAD"]).await;
    // A suite repo is for the SIGs that take suites from it.
    badly(&tree, &["push", "-q", &remote(&bench, ADA, "tests/other"), "HEAD"]).await;
    badly(&tree, &["clone", "-q", &open, "none"]).await;
    assert!(!bench.data("git/rpms").exists() && !bench.data("git/tests").exists());
    well(&tree, &["push", "-q", &remote(&bench, ADA, "tests/demo"), "HEAD:main"]).await;
    well(&tree, &["push", "-q", &remote(&bench, ADMIN, "rpms/kernel"), "HEAD"]).await;

    let service = "info/refs?service=git-receive-pack";
    let asked = bench.get(&format!("/git/rpms/hello.git/{service}")).send().await.unwrap();
    assert_eq!(asked.status(), 401);
    assert_eq!(asked.headers()["www-authenticate"], "Basic realm=\"grange\"");
    assert!(asked.text().await.unwrap().contains("none was given"));
    let mistyped = bench.get(&format!("/git/rpms/hello.git/{service}")).basic_auth("ada", Some("nobody's"));
    let mistyped = mistyped.send().await.unwrap();
    assert_eq!(mistyped.status(), 401);
    assert!(mistyped.text().await.unwrap().contains("this token is not known"));
    for path in ["rpms/kernel.git/config", "rpms/kernel.git/objects/info/packs", "rpms/..%2Fx.git/info/refs"]
    {
        assert_eq!(bench.get(&format!("/git/{path}")).send().await.unwrap().status(), 404, "{path}");
    }
    assert_eq!(bench.raw("/git/rpms/../policy.json", ADMIN).await, 404);
    // A push that says it is none gets no further: without a person git itself refuses it.
    let sneaky =
        bench.get("/git/rpms/kernel.git/info/refs?x=1&service=git-receive-pack").send().await.unwrap();
    assert_eq!(sneaky.status(), 403);
}

#[tokio::test]
async fn without_hooks_no_push_is_taken() {
    let (bench, tree) = bench().await;
    std::fs::remove_file(bench.dir.path().join("hooks/grange-update")).unwrap();
    let said = badly(&tree, &["push", "-q", &remote(&bench, ADA, "rpms/hello"), "HEAD"]).await;
    assert!(said.contains("500"), "{said}");
    // One that git could not run is none.
    bench.put_hook("grange-update", "exit 0");
    let hook = bench.dir.path().join("hooks/grange-update");
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(&hook, mode(0o644)).unwrap();
    let said = badly(&tree, &["push", "-q", &remote(&bench, ADA, "rpms/hello"), "HEAD"]).await;
    assert!(said.contains("500"), "{said}");
    // The programs move; the links in the repo follow.
    bench.put_hook("grange-update", "exit 0");
    well(&tree, &["push", "-q", &remote(&bench, ADA, "rpms/hello"), "HEAD"]).await;
    let link = bench.data("git/rpms/hello.git/hooks/update");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    well(&tree, &["push", "-q", &remote(&bench, ADA, "rpms/hello"), "HEAD:refs/heads/next"]).await;
    assert!(link.exists());
}

/// Does a process run that serves this repo for this program? Other tests begin some too.
fn is_served(repo: &str) -> bool {
    let own = std::process::id().to_string();
    let serves = |process: &Path| {
        let stat = std::fs::read_to_string(process.join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let is_ours = rest.split_whitespace().nth(1) == Some(&own);
        let told = std::fs::read(process.join("environ")).ok()?;
        let begins = format!("PATH_INFO=/{repo}.git/");
        Some(is_ours && told.split(|byte| *byte == 0).any(|one| one.starts_with(begins.as_bytes())))
    };
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| serves(&entry.path()) == Some(true))
}

/// Waits until a process serves that repo, or until none does.
async fn until_served(repo: &str, served: bool) {
    let look = async {
        while is_served(repo) != served {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let what = if served { "git begins" } else { "git ends by itself" };
    tokio::time::timeout(Duration::from_secs(60), look).await.expect(what);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_git_behind() {
    use tokio::io::AsyncWriteExt as _;
    let (bench, tree) = bench().await;
    // A repo of a name no other test has, so that its processes are told from theirs.
    well(&tree, &["push", "-q", &remote(&bench, ADMIN, "tests/left-alone"), "HEAD"]).await;
    let address = bench.url.strip_prefix("http://").unwrap();
    for (service, token) in [("git-receive-pack", ADA), ("git-upload-pack", "")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /git/tests/left-alone.git/{service} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-{service}-request\r\nContent-Length: 1000\r\n\r\n0094"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        until_served("tests/left-alone", true).await;
        drop(stream);
        until_served("tests/left-alone", false).await;
    }
}
