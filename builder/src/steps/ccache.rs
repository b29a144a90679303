//! The ccache of a build: put into its container before it begins, and taken out again when it has passed.

use farm::arch::Arch;
use farm::digest::Digest;
use farm::recipe::Sharing;

use super::bench::{Bench, MIB};
use crate::intake::{OutputFile, Outputs};
use crate::workspace::INPUTS;

/// What is kept is called so among the inputs, and what comes out among the outputs.
const CACHE: &str = "ccache.tar";
/// What ccache counted, as `ccache --print-stats` says it.
const COUNTS: &str = "ccache.txt";
/// Bytes of the counts that are read.
const LONGEST_COUNTS: u64 = 64 * 1024;
/// Where ccache works: on a disk of its own, so that it takes nothing from the build's.
const FOLDER: &str = "/var/tmp/ccache";

/// What one build has of its target's ccache.
pub(super) struct Ccache {
    target: String,
    arch: Arch,
    mb: u64,
    /// There is something in it.
    pub(super) is_filled: bool,
}

impl Ccache {
    /// Lays what is kept beside the inputs. `None` if the build is to have none: that is the rule, and being allowed one by
    /// the recipe the exception. Trouble with it is no reason to fail.
    pub(super) async fn of(bench: &mut Bench<'_>) -> Option<Self> {
        let (recipe, caches) = (bench.recipe.clone(), &bench.tools.ccaches);
        let (mb, arch) = (recipe.ccache_mb(), recipe.arch);
        let sharing = recipe.sharing.as_ref().filter(|_| mb > 0 && caches.are_kept());
        let Sharing { target, .. } = sharing?;
        let lent = caches.lend(target, arch, &bench.workspace.inputs().join(CACHE));
        let (is_filled, told) = match lent {
            Ok(Some(size)) => (true, format!("{size} bytes of earlier builds of {target} on {arch}")),
            Ok(None) => (false, format!("there is none of {target} on {arch} yet")),
            Err(error) => {
                tracing::warn!(of = target, %arch, %error, "cannot use a ccache");
                (false, "what is kept cannot be used".to_owned())
            }
        };
        bench.journal.note(&format!("Ccache: {told}")).await;
        Some(Self { target: target.clone(), arch, mb, is_filled })
    }

    /// What the build's container is told. Only what the same compiler made of the same text in the same folder is found
    /// again, so that what comes out is the same as without.
    pub(super) fn env(ccache: Option<&Self>, toolchain: &Digest) -> Vec<(String, String)> {
        let set = |name: &str, value: String| (name.to_owned(), value);
        match ccache {
            // Some build scripts look for a ccache themselves, and would only fill the memory.
            None => vec![set("CCACHE_DISABLE", "1".to_owned())],
            Some(Self { mb, .. }) => vec![
                set("CCACHE_DIR", FOLDER.to_owned()),
                set("CCACHE_MAXSIZE", format!("{mb}Mi")),
                set("CCACHE_COMPILERCHECK", "content".to_owned()),
                set("CCACHE_NAMESPACE", toolchain.to_string()),
                set("GRANGE_CCACHE", format!("{INPUTS}/{CACHE}")),
                set("GRANGE_CCACHE_BYTES", mb.saturating_mul(MIB).to_string()),
            ],
        }
    }

    /// The files that come out of the build's container on its behalf.
    pub(super) fn kinds(ccache: Option<&Self>) -> &'static [&'static str] {
        if ccache.is_some() { &[".rpm", CACHE, COUNTS] } else { &[".rpm"] }
    }

    /// Takes those out of the outputs of a build that passed, which must not be uploaded.
    pub(super) fn split(outputs: &mut Outputs) -> Vec<OutputFile> {
        outputs.files.extract_if(.., |file| !file.name.ends_with(".rpm")).collect()
    }

    /// Keeps what the build left for the next one. Nothing about it is a reason to fail.
    pub(super) async fn keep(&self, bench: &mut Bench<'_>, outputs: &Outputs, files: &[OutputFile]) {
        let find = |name: &str| files.iter().find(|file| file.name == name);
        let Some(counts) = find(COUNTS) else {
            return bench.journal.note("Ccache: there is no ccache in the image; it was built without").await;
        };
        let counts = outputs.text(counts, LONGEST_COUNTS).unwrap_or_default();
        let kept = match find(CACHE) {
            None => "kept as it was".to_owned(),
            Some(file) => {
                let most = self.mb.saturating_mul(MIB);
                match bench.tools.ccaches.keep(&self.target, self.arch, most, (outputs, file)).await {
                    Ok(()) => format!("{} bytes kept", file.size),
                    Err(why) => format!("not kept: {why}"),
                }
            }
        };
        bench.journal.note(&format!("Ccache: {}; {kept}", told(&counts))).await;
    }
}

/// Hits and misses in a line.
fn told(counts: &str) -> String {
    let count = |names: &[&str]| -> u64 {
        let values = counts.lines().filter_map(|line| line.split_once('\t'));
        let values = values.filter(|(name, _)| names.contains(name));
        values.filter_map(|(_, value)| value.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    let hits = count(&["direct_cache_hit", "preprocessed_cache_hit"]);
    format!("{hits} hits, {} misses", count(&["cache_miss"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_are_counted_whatever_is_said() {
        let said = "cache_miss\t2\ndirect_cache_hit\t3\npreprocessed_cache_hit\t1\nfiles_in_cache\t99\n";
        assert_eq!(told(said), "4 hits, 2 misses");
        assert_eq!(told("cache_miss\tmany\ncache_miss 3\n\t\n"), "0 hits, 0 misses");
    }
}
