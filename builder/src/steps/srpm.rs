//! A dist-git tree becomes a source RPM.

use farm::recipe::Input;

use super::bench::{Bench, Task};
use crate::engine::{Profile, Step};
use crate::halt::Halt;
use crate::intake::Outputs;
use crate::reasons;

/// The log of rpmbuild.
const LOG: &str = "build.log";

/// Makes the source RPM and uploads it.
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
    let recipe = bench.recipe.clone();
    let mut log = bench.log(LOG).await?;
    let task = Task {
        step: Step::Srpm,
        round: 1,
        image: &recipe.image,
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
    let outputs = Outputs::read(ran.stream, &[".src.rpm"]).await?;
    if outputs.files.len() != 1 {
        let count = outputs.files.len();
        return Err(Halt::Package(format!("expected one source RPM, but rpmbuild made {count}; see {LOG}")));
    }
    bench.upload(&outputs).await
}
