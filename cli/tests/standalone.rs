//! A whole farm in one process: from the library as tests start it, and as a process as a person does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cli::standalone::{ADMIN_TOKEN_FILE, Farm, Options, start};
use common::{code, grange, told};
use serde_json::Value;

/// A farm without a builder, so that it needs no container engine.
fn options(data: &Path) -> Options {
    let mut options = Options::anywhere(data);
    options.config.builder.slots = 0;
    options
}

async fn whoami(farm: &Farm, token: &str) -> String {
    let (printed, result) = grange(&["whoami"], &[("GRANGE_URL", &*farm.url), ("GRANGE_TOKEN", token)]).await;
    result.unwrap();
    printed.trim().to_owned()
}

#[tokio::test]
async fn a_farm_lets_its_first_admin_in_and_can_be_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let farm = start(options(folder.path())).await.unwrap();
    assert_eq!(farm.url, format!("http://{}", farm.address));
    let token = farm.admin_token.clone().unwrap();
    let kept = folder.path().join(ADMIN_TOKEN_FILE);
    assert_eq!(std::fs::read_to_string(&kept).unwrap().trim(), token);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(whoami(&farm, &token).await, "admin");
    let ada = farm.add_person("ada", false).await.unwrap();
    assert_eq!(whoami(&farm, &ada).await, "ada");

    let second = start(options(folder.path())).await.unwrap_err();
    assert!(format!("{second:#}").contains("another grange is running"), "{second:#}");
    farm.stop().await.unwrap();

    let again = start(options(folder.path())).await.unwrap();
    assert_eq!(again.admin_token, None, "a token is shown once");
    assert_eq!(whoami(&again, &token).await, "admin");
    again.stop().await.unwrap();
}

#[tokio::test]
async fn links_lead_to_the_configured_address() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.config = options.config.with_public_url("https://grange.example.org/");
    let farm = start(options).await.unwrap();
    assert_eq!(farm.url, "https://grange.example.org");
    farm.stop().await.unwrap();
}

#[tokio::test]
async fn a_missing_container_engine_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.config.builder.slots = 1;
    options.config.builder.engine = folder.path().join("no.sock").display().to_string();
    let error = format!("{:#}", start(options).await.unwrap_err());
    assert!(error.contains("--builder-slots 0") && error.contains("no.sock"), "{error}");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grange"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn a_process_says_where_it_is_and_ends_when_told_to() {
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let mut farm = Killed(
            program()
                .args([
                    "standalone",
                    "--listen",
                    "127.0.0.1:0",
                    "--builder-slots",
                    "0",
                    "--json",
                    "--log-format",
                    "json",
                ])
                .arg("--data")
                .arg(folder.path().join("farm"))
                .spawn()
                .unwrap(),
        );
        let mut line = String::new();
        BufReader::new(farm.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let (url, token) = (said["url"].as_str().unwrap(), said["admin_token"].as_str().unwrap());
        let whoami = program().args(["whoami", "--url", url]).env("GRANGE_TOKEN", token).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&whoami.stdout), "admin\n");

        let id = farm.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        assert_eq!(ended(&mut farm.0), Some(0), "after SIG{signal}");
        let mut log = String::new();
        farm.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        for line in log.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        assert!(log.contains("the farm is closed"), "{log}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("farm");
    let output = program()
        .args(["standalone", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .env("GRANGE_HUB__PUBLIC_ULR", "https://grange.example.org")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("GRANGE_HUB__PUBLIC_ULR") && said.contains("did you mean `public_url`?"), "{said}");
    assert!(!data.exists());
}

#[tokio::test]
async fn a_running_farm_takes_a_person_added_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let farm = start(options(folder.path())).await.unwrap();
    let data = folder.path().to_str().unwrap();
    let (printed, result) = grange(&["person", "add", "ada", "--data", data], &[]).await;
    result.unwrap();
    assert_eq!(whoami(&farm, printed.trim()).await, "ada");
    let (_, result) = grange(&["sig", "show", "nothing"], &[("GRANGE_URL", &*farm.url)]).await;
    assert_eq!(code(&result), 3);
    assert!(told(result).contains("no SIG nothing"));
    farm.stop().await.unwrap();
}
