//! What the Ansible roles write is what the programs read: every template is rendered for both families of hosts with the
//! example inventory, and read by the code that reads it in earnest.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use cli::roles::Config;
use cli::settings::Environment;

/// The password of the example's vault, which `ansible/README.md` tells everybody.
const VAULT_PASSWORD: &str = "example";

/// Hosts of the example that have every role of ours between them.
const HOSTS: &str = "hub1.example.org:signer1.example.org:x86-2.example.org";

fn ansible() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ansible")
}

/// Renders everything for hosts of this family; `None` without Ansible.
fn render(family: &str, into: &Path) -> Option<()> {
    let vault = into.join("vault-password");
    std::fs::write(&vault, VAULT_PASSWORD).unwrap();
    let told = Command::new("ansible-playbook")
        .current_dir(ansible())
        .env("ANSIBLE_NOCOLOR", "1")
        .args(["--inventory", "inventory.example", "--limit", HOSTS, "--vault-password-file"])
        .arg(&vault)
        .args(["render.yml", "-e", &format!("render_family={family}"), "-e"])
        .arg(format!("render_folder={}", into.display()))
        .output();
    match told {
        Ok(told) => {
            let (out, error) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
            assert!(told.status.success(), "{out}{error}");
            Some(())
        }
        Err(_) => {
            eprintln!("SKIPPED: there is no ansible-playbook; install ansible-core");
            None
        }
    }
}

fn read(file: &Path, environment: &Environment) -> Config {
    match Config::read(Some(file), environment) {
        Ok(config) => config,
        Err(failure) => panic!("{}: {failure:?}", file.display()),
    }
}

/// The variables a unit gives its process, with the instance's name in place.
fn environment(unit: &str, instance: &str) -> Environment {
    unit.lines()
        .filter_map(|line| line.strip_prefix("Environment="))
        .filter_map(|setting| setting.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("%i", instance)))
        .collect()
}

/// The words of a unit's `ExecStart` behind the program.
fn arguments(unit: &str) -> Vec<&str> {
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a program is started");
    start.split_whitespace().collect()
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn what_is_written_for_hosts_of_both_families_is_what_the_programs_read() {
    for family in ["Debian", "RedHat"] {
        let folder = tempfile::tempdir().unwrap();
        if render(family, folder.path()).is_none() {
            return;
        }
        let (hub, builder) =
            (folder.path().join("hub1.example.org"), folder.path().join("x86-2.example.org"));

        let unit = text(&hub.join("hub-grange-hub@.service"));
        let read_by_hub = read(&hub.join("hub-hub.toml"), &environment(&unit, "8081"));
        assert_eq!(read_by_hub.hub.public_url, "https://grange.example.org");
        assert_eq!(read_by_hub.hub.listen, "192.0.2.11:8081".parse().unwrap(), "an instance for each port");
        assert_eq!(read_by_hub.hub.hooks, Path::new("/opt/grange/current"));
        assert!(
            read_by_hub.has_bus() && read_by_hub.bus.url.starts_with("amqps://hub@db1.example.org:5671/")
        );
        let ledger = read_by_hub.ledger.url.expect("a ledger is named");
        assert!(ledger.ends_with("?sslmode=verify-full"), "{ledger}");

        let read_by_scheduler = read(&hub.join("scheduler-scheduler.toml"), &Environment::default());
        assert!(read_by_scheduler.has_bus() && read_by_scheduler.scheduler.metrics.is_some());

        let signer = folder.path().join("signer1.example.org");
        let read_by_signer = read(&signer.join("signer-signer.toml"), &Environment::default());
        assert!(!read_by_signer.has_bus() && read_by_signer.signer.metrics.is_some());
        let ledger = read_by_signer.ledger.url.expect("a ledger is named");
        assert!(
            ledger.starts_with("postgres://grange_signer@db1.example.org:"),
            "it has a role of its own: {ledger}"
        );
        assert_eq!(read_by_signer.signer.keys, Path::new("/var/lib/grange-signer/keys"));
        assert!(read_by_signer.signer.token_file.is_some() && read_by_hub.hub.signer_token_file.is_some());

        let read_by_builder = read(&builder.join("builder-builder.toml"), &Environment::default());
        assert!(read_by_builder.ledger.url.is_none(), "a builder knows nothing of the ledger");
        assert_eq!(read_by_builder.builder.name, "x86-2.example.org");
        assert_eq!(read_by_builder.builder.emulated.len(), 2);
        let socket =
            if family == "Debian" { "unix:///run/docker.sock" } else { "unix:///run/grange-engine.sock" };
        assert_eq!(read_by_builder.builder.engine, socket);

        // A drain that the unit cuts short would lose the work of hours.
        let unit = text(&builder.join("builder-grange-builder.service"));
        let patience =
            unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("it says how long");
        let patience: u64 = patience.trim_end_matches('s').parse().unwrap();
        assert!(patience >= read_by_builder.builder.drain_seconds + 30, "{patience} s");

        for unit in [
            hub.join("hub-grange-hub@.service"),
            hub.join("scheduler-grange-scheduler.service"),
            signer.join("signer-grange-signer.service"),
            builder.join("builder-grange-builder.service"),
        ] {
            check_unit(&text(&unit));
        }
    }
}

/// Its program takes the arguments it is given, and may do little else than its work.
fn check_unit(unit: &str) {
    let words = arguments(unit);
    if let Err(error) = cli::Cli::try_parse_from(&words) {
        panic!("{words:?}: {error}");
    }
    for wanted in ["NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "KillMode=mixed"]
    {
        assert!(unit.lines().any(|line| line == wanted), "{wanted} is missing in {unit}");
    }
}
