//! The alert rules are sound, fire when they should, and ask for numbers that the program tells.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn the_alert_rules_fire_when_they_should() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no promtool; dev/setup --tests installs it");
        return;
    }
    for (verb, file) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let output =
            Command::new("promtool").args([verb, "rules"]).arg(root().join("monitoring").join(file)).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_alert_rules_ask_for_numbers_that_are_told() {
    let told = [
        "farm/src/ledger/counted.rs",
        "hub/src/metrics/promotions.rs",
        "hub/src/metrics/signing.rs",
        "hub/src/metrics/standing.rs",
        "hub/src/http/guard.rs",
        "scheduler/src/run.rs",
    ]
    .map(|file| std::fs::read_to_string(root().join(file)).unwrap())
    .concat();
    let rules = std::fs::read_to_string(root().join("monitoring/alerts.yml")).unwrap();
    let names = rules.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let asked: Vec<&str> = names.filter(|name| name.starts_with("grange_")).collect();
    assert!(asked.len() > 5);
    for name in asked {
        assert!(told.contains(&format!("\"{name}\"")), "nobody tells {name}");
    }
}
