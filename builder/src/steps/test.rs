//! Packages are installed from the snapshot that would be published, and a suite runs on them.

use farm::recipe::Input;

use super::bench::{Bench, Ran, Task};
use super::repos::{self, Repos};
use crate::engine::{Profile, Step};
use crate::halt::{Halt, OrFarm as _};
use crate::intake::Outputs;
use crate::junit::Tally;
use crate::reasons;

/// The log of dnf.
const ROOT_LOG: &str = "root.log";
/// The log of the suite.
const TEST_LOG: &str = "test.log";
/// The suite that is nothing but the installation.
const INSTALLS: &str = "installs";
/// Where a suite leaves its result files.
const RESULTS: &str = "/results";
/// The exit code by which a suite says that it did nothing.
const SKIPPED: i64 = 77;
/// Bytes of a result file that are read.
const LARGEST_RESULT: u64 = 16 * 1024 * 1024;

/// Installs the packages, runs the suite and uploads its result files.
pub(super) async fn test(
    bench: &mut Bench<'_>,
    suite: &str,
    folder: Option<&Input>,
    packages: &[String],
) -> Result<(), Halt> {
    if folder.is_none() && suite != INSTALLS {
        return Err(Halt::Farm(format!(
            "there is no built-in suite {suite}, and no folder for it came along"
        )));
    }
    if let Some(folder) = folder {
        bench.fetch(folder, "suite.tar").await?;
    }
    let repos = repos::lay_out(bench).await?;
    let installed = install(bench, &repos, packages).await?;
    if folder.is_none() {
        return Ok(());
    }
    let image = bench.tools.engine.commit(&installed.container, &bench.owner).await?;
    let ran = run_suite(bench, &repos, &image.0, packages).await?;
    let outputs = Outputs::read(ran.stream.clone(), &[".xml", ".log", ".txt"]).await?;
    // Also those of a suite that failed: they say what.
    bench.upload(&outputs).await?;
    verdict(bench, &ran, &outputs)
}

async fn install(bench: &mut Bench<'_>, repos: &Repos, packages: &[String]) -> Result<Ran, Halt> {
    let base = bench.base().await?;
    let mut log = bench.log(ROOT_LOG).await?;
    let task = Task {
        step: Step::Install,
        round: 1,
        image: &base.id.0,
        script: include_str!("install.sh"),
        arguments: packages.to_vec(),
        env: Vec::new(),
        mounts: repos.mounts(),
        profile: repos.profile(),
    };
    let ran = bench.run(task, &mut log).await?;
    if ran.code == 0 { Ok(ran) } else { Err(repos::failure(bench, &ran, ROOT_LOG)) }
}

async fn run_suite(
    bench: &mut Bench<'_>,
    repos: &Repos,
    image: &str,
    packages: &[String],
) -> Result<Ran, Halt> {
    let mut log = bench.log(TEST_LOG).await?;
    let task = Task {
        step: Step::Suite,
        round: 1,
        image,
        script: include_str!("suite.sh"),
        arguments: Vec::new(),
        env: vec![
            ("GRANGE_RESULTS".to_owned(), RESULTS.to_owned()),
            ("GRANGE_PACKAGES".to_owned(), packages.join(" ")),
        ],
        mounts: repos.mounts_with(bench.workspace.inputs_mount()),
        profile: Profile::Installer { network: false },
    };
    bench.run(task, &mut log).await
}

/// A suite has passed if it says so by its exit code and its result files do not say otherwise.
fn verdict(bench: &Bench<'_>, ran: &Ran, outputs: &Outputs) -> Result<(), Halt> {
    if ran.code == SKIPPED {
        let why = "it was skipped, and a skipped suite does not count as passed".to_owned();
        return Err(Halt::Package(why));
    }
    let mut tally = Tally::default();
    for file in outputs.files.iter().filter(|file| file.name.ends_with(".xml")) {
        let text = outputs.text(file, LARGEST_RESULT).or_farm("read a result file")?;
        let added = tally.add(&text);
        // The exit code of a suite that failed is reason enough.
        if let Err(why) = added
            && ran.code == 0
        {
            return Err(Halt::Package(format!("{} is not a JUnit file: {why}", file.name)));
        }
    }
    if tally.failed > 0 {
        let first = tally.first.map(|name| format!(", first {name}")).unwrap_or_default();
        let Tally { cases, failed, .. } = tally;
        let cases = cases.max(failed);
        return Err(Halt::Package(format!("{failed} of {cases} test cases failed{first}; see {TEST_LOG}")));
    }
    if ran.code != 0 {
        return Err(bench.failure(ran, |tail| reasons::suite(tail, ran.code, TEST_LOG)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn where_there_is_no_package_nothing_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let dnf = folder.path().join("dnf");
        std::fs::write(&dnf, "#!/bin/sh\necho 'dnf was called' >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&dnf, std::fs::Permissions::from_mode(0o755)).unwrap();
        let install = |packages: &[&str]| {
            Command::new("/bin/bash")
                .args(["-c", include_str!("install.sh"), "grange"])
                .args(packages)
                .env("PATH", folder.path())
                .output()
                .unwrap()
        };
        let nothing = install(&[]);
        let said = String::from_utf8_lossy(&nothing.stderr);
        assert!(nothing.status.success() && said.contains("nothing is installed"), "{said}");
        assert!(!said.contains("dnf was called"), "{said}");
        let something = install(&["hello-1-1.x86_64"]);
        assert!(!something.status.success());
        assert!(String::from_utf8_lossy(&something.stderr).contains("dnf was called"));
    }
}
