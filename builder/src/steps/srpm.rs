//! A dist-git tree becomes a source RPM.

use farm::chain::PROVIDES_FILE;
use farm::recipe::Input;

use super::bench::{Bench, Task};
use crate::engine::{Profile, Step};
use crate::halt::Halt;
use crate::intake::Outputs;
use crate::reasons;

/// The log of rpmbuild.
const LOG: &str = "build.log";

/// Makes the source RPM and uploads it, with what its packages will provide.
///
/// Reading a spec already runs code of the packager's, so even this happens in a locked container, and so does
/// unpacking the tree.
pub(super) async fn make(
    bench: &mut Bench<'_>,
    tree: &Input,
    spec: &str,
    sources: &[Input],
) -> Result<(), Halt> {
    bench.fetch(tree, "tree.tar").await?;
    for source in sources {
        bench.fetch(source, &format!("sources/{}", source.name)).await?;
    }
    let base = bench.base().await?;
    let mut log = bench.log(LOG).await?;
    let task = Task {
        step: Step::Srpm,
        round: 1,
        image: &base.id.0,
        script: include_str!("srpm.sh"),
        arguments: std::iter::once(spec.to_owned()).chain(bench.defines()).collect(),
        env: Vec::new(),
        mounts: vec![bench.workspace.inputs_mount()],
        profile: Profile::Locked,
    };
    let ran = bench.run(task, &mut log).await?;
    if ran.code != 0 {
        return Err(bench.failure(&ran, |tail| reasons::rpmbuild(tail, LOG)));
    }
    let outputs = Outputs::read(ran.stream, &[".src.rpm", PROVIDES_FILE]).await?;
    let count = outputs.files.iter().filter(|file| file.name.ends_with(".src.rpm")).count();
    if count != 1 {
        return Err(Halt::Package(format!("expected one source RPM, but rpmbuild made {count}; see {LOG}")));
    }
    bench.upload(&outputs).await
}
