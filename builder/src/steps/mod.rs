//! What each kind of work consists of.

mod bench;
mod build;
mod ccache;
mod ground;
mod repos;
mod root;
mod srpm;
mod test;

use farm::recipe::Work;

pub(crate) use bench::{Bench, Journal};

use crate::halt::Halt;

/// Does all of a recipe's work and uploads what comes of it.
pub(crate) async fn follow(bench: &mut Bench<'_>) -> Result<(), Halt> {
    let recipe = bench.recipe.clone();
    match &recipe.work {
        Work::Srpm { tree, spec, sources } => srpm::make(bench, tree, spec, sources).await,
        Work::Build { srpm } => build::build(bench, srpm).await,
        Work::Test { suite, folder, packages } => test::test(bench, suite, folder.as_ref(), packages).await,
    }
}
