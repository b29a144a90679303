//! A source RPM becomes binary RPMs.

use farm::recipe::Input;

use super::bench::{Bench, Ran, Task};
use super::ccache::Ccache;
use super::root::{ROOT_LOG, Root};
use crate::engine::{Profile, Step};
use crate::halt::{Halt, OrFarm as _};
use crate::intake::Outputs;
use crate::reasons;
use crate::spool::Spool;
use crate::workspace::INPUTS;

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
/// What is needed is installed as root in a container of its own, which becomes the image that the build starts from,
/// unless the builder has kept one that would come out the same.
/// A build that works out its needs itself (`%generate_buildrequires`) ends with a list of them; then there is
/// another round.
pub(super) async fn build(bench: &mut Bench<'_>, srpm: &Input) -> Result<(), Halt> {
    bench.fetch(srpm, &srpm.name).await?;
    let ccache = Ccache::of(bench).await;
    let mut root = Root::of_image(bench, ccache.as_ref().is_some_and(|ccache| ccache.is_filled)).await?;
    let mut root_log = bench.log(ROOT_LOG).await?;
    let mut build_log = bench.log(BUILD_LOG).await?;
    let mut needs = srpm.name.clone();
    for round in 1..=ROUNDS {
        root.install(bench, &needs, round, &mut root_log).await?;
        let mut ran = rebuild(bench, &root, ccache.as_ref(), &srpm.name, round, &mut build_log).await;
        if matches!(ran, Err(Halt::Farm(_))) && root.has_vanished(bench).await? {
            root.install(bench, &needs, round, &mut root_log).await?;
            ran = rebuild(bench, &root, ccache.as_ref(), &srpm.name, round, &mut build_log).await;
        }
        let ran = ran?;
        if ran.code != 0 && ran.code != MISSING {
            return Err(bench.failure(&ran, |tail| reasons::rpmbuild(tail, BUILD_LOG)));
        }
        let mut outputs = Outputs::read(ran.stream.clone(), Ccache::kinds(ccache.as_ref())).await?;
        let compiled = Ccache::split(&mut outputs);
        if ran.code == 0 {
            outputs.files.retain(|file| !file.name.ends_with(LIST));
            if outputs.files.is_empty() {
                return Err(Halt::Package(format!("rpmbuild made no package; see {BUILD_LOG}")));
            }
            bench.upload(&outputs).await?;
            if let Some(ccache) = &ccache {
                ccache.keep(bench, &outputs, &compiled).await;
            }
            return Ok(());
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

async fn rebuild(
    bench: &mut Bench<'_>,
    root: &Root,
    ccache: Option<&Ccache>,
    srpm: &str,
    round: u32,
    log: &mut Spool,
) -> Result<Ran, Halt> {
    let task = Task {
        step: Step::Build,
        round,
        image: root.image(),
        script: include_str!("build.sh"),
        arguments: std::iter::once(format!("{INPUTS}/{srpm}")).chain(bench.defines()).collect(),
        env: Ccache::env(ccache, root.toolchain()),
        mounts: vec![bench.workspace.inputs_mount()],
        profile: Profile::Locked,
    };
    bench.run(task, log).await
}
