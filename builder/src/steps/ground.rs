//! What a root comes out of: found out before anything is installed, and compared with what kept roots came out of.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use farm::arch::Arch;
use farm::digest::Digest;
use farm::message::{Manifest, ManifestFile};
use farm::recipe::{RepoOrigin, RepoSource, Sharing};
use futures_util::StreamExt as _;

use super::bench::Bench;
use super::repos;
use crate::halt::{Halt, OrFarm as _};
use crate::needs::Needs;
use crate::roots::bearing::{self, Names, Packages};
use crate::roots::{Ground, Seen};
use crate::snapshot;

/// How long the metadata of a repo on the network may take to come before nothing is kept.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a repo's `repomd.xml`.
const LARGEST_REPOMD: usize = 4 * 1024 * 1024;

/// What a root is about to come out of.
pub(super) struct Basis {
    exact: Digest,
    outside: Outside,
    asked: Names,
    snapshots: BTreeMap<String, Snapshot>,
}

/// The repos outside the farm: name, and checksum of the metadata.
type Outside = Vec<(String, Digest)>;

struct Snapshot {
    source: RepoSource,
    /// Over its packages, and its module streams.
    all: Digest,
    /// Its module streams.
    modules: Option<Digest>,
    /// Where its main index is.
    primary: Option<ManifestFile>,
    /// What the index says, once somebody wanted to know.
    packages: Option<Packages>,
}

impl Basis {
    /// Finds out what a root made of `parent` (an image's or a root's digest) by what the package at `needs` requires would
    /// come out of. `None` if that cannot be told, and nothing is to be kept or used.
    pub(super) async fn of(
        bench: &Bench<'_>,
        sharing: &Sharing,
        parent: &str,
        script: &str,
        needs: &Path,
    ) -> Result<Option<Self>, Halt> {
        let Ok(needs) = Needs::read(needs) else { return Ok(None) };
        let Some(outside) = outside(bench).await else { return Ok(None) };
        let recipe = &bench.recipe;
        let mut snapshots = BTreeMap::new();
        for source in &recipe.repos {
            if let RepoOrigin::Snapshot { id } = &source.origin {
                let manifest =
                    bench.unless_interrupted(snapshot::manifest(bench.client, *id, recipe.arch)).await?;
                // Without a file it is no repo, and dnf does not see it.
                if !manifest.files.is_empty() {
                    snapshots.insert(source.name.clone(), Snapshot::of(source, &manifest));
                }
            }
        }
        let exact = exact(sharing, parent, recipe.arch, script, &needs, &recipe.repos, &outside);
        Ok(Some(Self { exact, outside, asked: needs.names, snapshots }))
    }

    pub(super) fn exact(&self) -> &Digest {
        &self.exact
    }

    /// Would a root that came out of `other`, and in which these names play a part, come out the same now?
    pub(super) async fn yields(
        &mut self,
        bench: &Bench<'_>,
        other: &Ground,
        names: &Names,
    ) -> Result<bool, Halt> {
        if other.exact != self.exact || !other.snapshots.keys().eq(self.snapshots.keys()) {
            return Ok(false);
        }
        // Without an index it is no repo, and dnf is to say so.
        let is_unchanged = |(name, now): (&String, &Snapshot)| {
            now.primary.is_some() && other.snapshots.get(name).is_some_and(|then| then.packages == now.all)
        };
        if self.snapshots.iter().all(is_unchanged) {
            return Ok(true);
        }
        let now = self.bearing(bench, names).await?;
        Ok(now.is_some_and(|now| {
            other
                .snapshots
                .iter()
                .all(|(name, then)| then.bearing.is_some() && then.bearing.as_ref() == now.get(name))
        }))
    }

    /// What the root came out of, now that it is there.
    pub(super) async fn ground(mut self, bench: &Bench<'_>, names: &Names) -> Result<Ground, Halt> {
        let mut bearing = self.bearing(bench, names).await?.unwrap_or_default();
        let seen = |(name, snapshot): (String, Snapshot)| {
            let bearing = bearing.remove(&name);
            (name, Seen { packages: snapshot.all, bearing })
        };
        Ok(Ground { exact: self.exact, snapshots: self.snapshots.into_iter().map(seen).collect() })
    }

    /// A digest for each snapshot over those of its packages that bear on a root in which these names play a part; `None`
    /// if that cannot be told.
    async fn bearing(
        &mut self,
        bench: &Bench<'_>,
        names: &Names,
    ) -> Result<Option<BTreeMap<String, Digest>>, Halt> {
        for snapshot in self.snapshots.values_mut() {
            if let (None, Some(file)) = (&snapshot.packages, &snapshot.primary) {
                snapshot.packages = read(bench, &snapshot.source, file).await?;
            }
        }
        let repos: Option<Vec<(&String, &Packages)>> =
            self.snapshots.iter().map(|(name, snapshot)| Some((name, snapshot.packages.as_ref()?))).collect();
        let Some(repos) = repos else { return Ok(None) };
        let packages: Vec<&Packages> = repos.iter().map(|(_, packages)| *packages).collect();
        let Some(plays) = bearing::playing(names | &self.asked, &packages) else { return Ok(None) };
        let with_modules = |(name, packages): (&String, &Packages)| {
            let bearing = packages.bearing(&plays);
            let modules = self.snapshots.get(name).and_then(|snapshot| snapshot.modules.as_ref());
            let bearing = match modules {
                Some(modules) => Digest::of(format!("{bearing} {modules}").as_bytes()),
                None => bearing,
            };
            (name.clone(), bearing)
        };
        Ok(Some(repos.into_iter().map(with_modules).collect()))
    }

    /// Are the repos outside the farm still what they were? They may change while something is installed from them.
    pub(super) async fn still_holds(&self, bench: &Bench<'_>) -> bool {
        outside(bench).await.as_ref() == Some(&self.outside)
    }
}

/// The digest over everything that must be equal. The names of files and the release of the package are not in it, nor
/// are the recipe's macros: dnf reads what the source package requires from its header, in which all macros are
/// expanded, and scriptlets do not get them.
fn exact(
    sharing: &Sharing,
    parent: &str,
    arch: Arch,
    script: &str,
    needs: &Needs,
    repos: &[RepoSource],
    outside: &Outside,
) -> Digest {
    let repos: Vec<_> = repos
        .iter()
        .map(|RepoSource { name, priority, origin }| {
            let baseurl = match origin {
                RepoOrigin::Snapshot { .. } => None,
                RepoOrigin::External { baseurl } => Some(baseurl),
            };
            serde_json::json!([name, priority, baseurl])
        })
        .collect();
    let told = serde_json::json!([sharing.circle(), parent, arch, script, needs.digest, repos, outside]);
    Digest::of(told.to_string().as_bytes())
}

impl Snapshot {
    fn of(source: &RepoSource, manifest: &Manifest) -> Self {
        let mut packages: Vec<String> = manifest
            .files
            .iter()
            .filter(|file| file.path.ends_with(".rpm"))
            .map(|file| format!("{} {}", file.path, file.digest))
            .collect();
        packages.sort_unstable();
        // Which packages can be seen at all depends on the streams that are described.
        let modules = manifest.files.iter().find(|file| file.path.contains("-modules.yaml."));
        packages.extend(modules.map(|file| format!("modules {}", file.digest)));
        let primary = manifest.files.iter().find(|file| file.path.ends_with("primary.xml.gz"));
        let all = Digest::of(packages.join("\n").as_bytes());
        let modules = modules.map(|file| file.digest.clone());
        Self { source: source.clone(), all, primary: primary.cloned(), modules, packages: None }
    }
}

/// A snapshot's main index; `None` if it is not understood.
async fn read(bench: &Bench<'_>, source: &RepoSource, file: &ManifestFile) -> Result<Option<Packages>, Halt> {
    let RepoOrigin::Snapshot { id } = &source.origin else { return Ok(None) };
    let folder = tempfile::tempdir_in(bench.workspace.out()).or_farm("make room for a repo's index")?;
    let place = folder.path().join("primary.xml.gz");
    let fetch = || bench.client.snapshot_file(*id, bench.recipe.arch, &file.path);
    let fetched = bench.tools.cache.place(&file.digest, file.size, &place, fetch);
    bench.unless_interrupted(fetched).await?;
    let read = tokio::task::spawn_blocking(move || Packages::read(&place)).await;
    match read.or_farm("read a repo's index")? {
        Ok(packages) => Ok(Some(packages)),
        Err(error) => {
            tracing::warn!(repo = source.name, snapshot = %id, %error, "a repo's index is not understood");
            Ok(None)
        }
    }
}

/// The checksums of the metadata of all repos outside the farm, as they are now; `None` if one does not say.
async fn outside(bench: &Bench<'_>) -> Option<Outside> {
    let mut found = Outside::new();
    for source in &bench.recipe.repos {
        if let RepoOrigin::External { baseurl } = &source.origin {
            let address = repos::address(baseurl, bench.recipe.arch);
            let repomd = match address.strip_prefix("file://") {
                Some(path) => {
                    let folder = repos::permitted(Path::new(path), &bench.tools.file_repos).ok()?;
                    std::fs::read(folder.join("repodata/repomd.xml")).ok()?
                }
                None => fetch(bench, &address).await?,
            };
            found.push((source.name.clone(), Digest::of(&repomd)));
        }
    }
    Some(found)
}

async fn fetch(bench: &Bench<'_>, address: &str) -> Option<Vec<u8>> {
    let address = format!("{}/repodata/repomd.xml", address.trim_end_matches('/'));
    let request =
        bench.tools.hub.outside().get(&address).timeout(PATIENCE).header("cache-control", "no-cache");
    let response = request.send().await.and_then(reqwest::Response::error_for_status);
    let mut body = match response {
        Ok(response) => response.bytes_stream(),
        Err(error) => {
            tracing::info!(%error, "a repo on the network does not say what it is; no root is kept");
            return None;
        }
    };
    let mut repomd = Vec::new();
    while let Some(chunk) = body.next().await {
        repomd.extend_from_slice(&chunk.ok()?);
        if repomd.len() > LARGEST_REPOMD {
            return None;
        }
    }
    Some(repomd)
}
