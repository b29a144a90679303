//! A source RPM becomes binary RPMs.

use farm::recipe::Input;

use super::bench::{Bench, Ran, Task};
use super::repos::{self, Repos};
use crate::engine::{ImageId, Profile, Step};
use crate::halt::{Halt, OrFarm as _};
use crate::intake::Outputs;
use crate::reasons;
use crate::spool::Spool;
use crate::workspace::INPUTS;

/// The log of dnf.
const ROOT_LOG: &str = "root.log";
/// The log of rpmbuild.
const BUILD_LOG: &str = "build.log";
/// rpmbuild's exit code when something the build needs is missing.
const MISSING: i64 = 11;
/// What rpmbuild calls the list of what a build found out it needs.
const LIST: &str = ".buildreqs.nosrc.rpm";
/// Bytes of such a list: it is a package without content.
const LONGEST_LIST: u64 = 1024 * 1024;
/// How often a build may find out that it needs something more.
const ROUNDS: u32 = 10;

/// Builds the source RPM and uploads what comes of it.
///
/// What is needed is installed as root in a container of its own, which becomes the image that the build starts from.
/// A build that works out its needs itself (`%generate_buildrequires`) ends with a list of them; then there is
/// another round.
pub(super) async fn build(bench: &mut Bench<'_>, srpm: &Input) -> Result<(), Halt> {
    bench.fetch(srpm, &srpm.name).await?;
    let repos = repos::lay_out(bench).await?;
    let mut root_log = bench.log(ROOT_LOG).await?;
    let mut build_log = bench.log(BUILD_LOG).await?;
    let mut image = ImageId(bench.recipe.image.clone());
    let mut needs = srpm.name.clone();
    for round in 1..=ROUNDS {
        image = install_needs(bench, &repos, &image, &needs, round, &mut root_log).await?;
        let ran = rebuild(bench, &image, &srpm.name, round, &mut build_log).await?;
        if ran.code != 0 && ran.code != MISSING {
            return Err(bench.failure(&ran, |tail| reasons::rpmbuild(tail, BUILD_LOG)));
        }
        let mut outputs = Outputs::read(ran.stream.clone(), &[".rpm"]).await?;
        if ran.code == 0 {
            outputs.files.retain(|file| !file.name.ends_with(LIST));
            if outputs.files.is_empty() {
                return Err(Halt::Package(format!("rpmbuild made no package; see {BUILD_LOG}")));
            }
            return bench.upload(&outputs).await;
        }
        let Some(list) = outputs.files.iter().find(|file| file.name.ends_with(LIST)) else {
            return Err(bench.failure(&ran, |tail| reasons::rpmbuild(tail, BUILD_LOG)));
        };
        if list.size > LONGEST_LIST {
            return Err(Halt::Package(format!(
                "its list of BuildRequires has {} bytes; see {BUILD_LOG}",
                list.size
            )));
        }
        needs = format!("round-{round}{LIST}");
        outputs
            .extract(list, &bench.workspace.inputs().join(&needs))
            .await
            .or_farm("keep a list of needs")?;
        // Ten rounds must not take ten times the disk.
        outputs.discard().or_farm("free its disk")?;
    }
    Err(Halt::Package(format!("its BuildRequires still change after {ROUNDS} rounds; see {BUILD_LOG}")))
}

async fn install_needs(
    bench: &mut Bench<'_>,
    repos: &Repos,
    image: &ImageId,
    needs: &str,
    round: u32,
    log: &mut Spool,
) -> Result<ImageId, Halt> {
    let task = Task {
        step: Step::Dependencies,
        round,
        image: &image.0,
        script: include_str!("dependencies.sh"),
        arguments: vec![format!("{INPUTS}/{needs}")],
        env: Vec::new(),
        mounts: repos.mounts_with(bench.workspace.inputs_mount()),
        profile: repos.profile(),
    };
    let ran = bench.run(task, log).await?;
    if ran.code != 0 {
        return Err(repos::failure(bench, &ran, ROOT_LOG));
    }
    Ok(bench.tools.engine.commit(&ran.container, &bench.owner).await?)
}

async fn rebuild(
    bench: &mut Bench<'_>,
    image: &ImageId,
    srpm: &str,
    round: u32,
    log: &mut Spool,
) -> Result<Ran, Halt> {
    let task = Task {
        step: Step::Build,
        round,
        image: &image.0,
        script: include_str!("build.sh"),
        arguments: std::iter::once(format!("{INPUTS}/{srpm}")).chain(bench.defines()).collect(),
        env: Vec::new(),
        mounts: vec![bench.workspace.inputs_mount()],
        profile: Profile::Locked,
    };
    bench.run(task, log).await
}
