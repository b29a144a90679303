//! A backup of a farm at work, put back elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli::failure::Failure;
use cli::standalone::{Farm, Options, start};
use common::{grange, told};
use farm::digest::Digest;
use futures_util::FutureExt as _;

/// Names the PostgreSQL server.
const POSTGRES: &str = "GRANGE_TEST_POSTGRES";

fn stored(data: &Path, digest: &Digest) -> PathBuf {
    data.join("artifacts").join(&digest.as_str()[..2]).join(digest.as_str())
}

/// Where a farm is.
struct Site {
    data: PathBuf,
    /// Its database, when the ledger is no file in `data`.
    database: Option<String>,
}

impl Site {
    async fn start(&self) -> Farm {
        let mut options = Options::anywhere(&self.data);
        options.config.builder.slots = 0;
        options.config.ledger.url.clone_from(&self.database);
        start(options).await.unwrap()
    }

    async fn admin(&self, verb: &str, folder: &Path) -> Result<(), Failure> {
        let mut environment = vec![("GRANGE_HUB__DATA", self.data.to_str().unwrap())];
        environment.extend(self.database.as_deref().map(|url| ("GRANGE_LEDGER__URL", url)));
        grange(&["admin", verb, folder.to_str().unwrap()], &environment).await.1
    }
}

#[tokio::test]
async fn a_farm_on_sqlite_is_backed_up_at_work_and_restored_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let site = |name: &str| Site { data: folder.path().join(name), database: None };
    story(folder.path(), [site("data"), site("elsewhere"), site("third"), site("fourth")]).await;
}

#[tokio::test]
async fn a_farm_on_postgresql_is_backed_up_at_work_and_restored_elsewhere() {
    let Ok(server) = std::env::var(POSTGRES) else {
        eprintln!("SKIPPED: {POSTGRES} is not set; run dev/test, or `. var/test-env`");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| format!("backup_{}_{name}", std::process::id());
    let (base, _) = server.rsplit_once('/').unwrap();
    let names = ["data", "elsewhere", "third", "fourth"];
    for name in names {
        psql(&server, &format!("DROP DATABASE IF EXISTS {0} WITH (FORCE)", named(name)));
        psql(&server, &format!("CREATE DATABASE {}", named(name)));
    }
    let sites = names.map(|name| Site {
        data: folder.path().join(name),
        database: Some(format!("{base}/{}", named(name))),
    });
    let played = AssertUnwindSafe(story(folder.path(), sites)).catch_unwind().await;
    for name in names {
        psql(&server, &format!("DROP DATABASE {} WITH (FORCE)", named(name)));
    }
    if let Err(broken) = played {
        std::panic::resume_unwind(broken);
    }
}

fn psql(server: &str, sql: &str) {
    let output = Command::new("psql").args([server, "--quiet", "--command", sql]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What git says.
fn git(args: &[&str]) -> String {
    let output = Command::new("git").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn story(folder: &Path, [site, elsewhere, third, fourth]: [Site; 4]) {
    let backup = folder.join("backup");
    let farm = site.start().await;
    let ada = farm.add_person("ada", false).await.unwrap();
    let digest = Digest::of(b"a source");
    std::fs::create_dir_all(stored(&site.data, &digest).parent().unwrap()).unwrap();
    std::fs::write(stored(&site.data, &digest), "a source").unwrap();
    let mut tx = farm.db().write().await.unwrap();
    tx.hold("lookaside", &digest).await.unwrap();
    tx.commit().await.unwrap();
    let repo = site.data.join("git/rpms/hello.git");
    let repo = repo.to_str().unwrap();
    git(&["init", "--quiet", "--bare", "--initial-branch=main", repo]);
    let tree = git(&["--git-dir", repo, "hash-object", "-t", "tree", "-w", "/dev/null"]);
    let ada_commits =
        ["-c", "user.name=ada", "-c", "user.email=ada@localhost", "commit-tree", "-m", "first", &tree];
    let commit = git(&[&["--git-dir", repo], &ada_commits[..]].concat());
    git(&["--git-dir", repo, "update-ref", "refs/heads/main", &commit]);
    // An attempt that the ledger does not know: it began after the ledger was copied.
    std::fs::create_dir_all(site.data.join("logs/01M7YZT9Z2C9GJ8213CNBEP30D/1")).unwrap();

    site.admin("backup", &backup).await.unwrap();
    assert!(told(site.admin("backup", &backup).await).contains("a folder of its own"));
    assert!(told(site.admin("restore", &backup).await).contains("has a farm already"));
    if site.database.is_some() {
        let over = Site { data: folder.join("new"), database: site.database.clone() };
        assert!(told(over.admin("restore", &backup).await).contains("the database is not empty"));
    }
    // He comes too late for the copy.
    farm.add_person("bob", false).await.unwrap();
    farm.stop().await.unwrap();

    elsewhere.admin("restore", &backup).await.unwrap();
    assert_eq!(std::fs::read(stored(&elsewhere.data, &digest)).unwrap(), b"a source");
    assert!(!elsewhere.data.join("logs/01M7YZT9Z2C9GJ8213CNBEP30D").exists());
    let restored = elsewhere.start().await;
    let (printed, result) =
        grange(&["whoami"], &[("GRANGE_URL", &*restored.url), ("GRANGE_TOKEN", &ada)]).await;
    result.unwrap();
    assert_eq!(printed.trim(), "ada");
    let people = restored.db().read().await.unwrap().people().await.unwrap();
    assert!(people.iter().all(|person| person.name != "bob"), "the copy is of the moment it was made at");
    restored.stop().await.unwrap();

    // What its branch names is lost.
    let object = backup.join("data/git/rpms/hello.git/objects").join(&commit[..2]).join(&commit[2..]);
    std::fs::remove_file(object).unwrap();
    let said = told(fourth.admin("restore", &backup).await);
    assert!(said.contains("rpms/hello.git is broken") && said.contains(&commit), "{said}");
    std::fs::remove_file(stored(&backup.join("data"), &digest)).unwrap();
    assert!(
        told(third.admin("restore", &backup).await)
            .contains("1 of 1 files that the ledger names are missing")
    );
}
