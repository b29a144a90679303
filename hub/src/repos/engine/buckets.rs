//! Which packages share a bucket: a stretch of the metadata that is compressed as one member.
//!
//! A bucket follows from a package's name and architecture, so a new version falls into the bucket of the old one, and of
//! everything else the compressed bytes stay. How many buckets there are follows from the number of packages alone.

use super::Entry;

/// Packages a bucket has on average, at least, in a repo with more than one: smaller ones would compress badly.
const SMALLEST_AVERAGE: usize = 24;

/// Where a package is in the order of all, by its name and architecture (FNV-1a, stirred so that its upper bits tell
/// similar names apart). It must never change: all members ever kept would be of no use.
pub(super) fn spot(name: &str, arch: &str) -> u64 {
    let bytes = name.bytes().chain(*b".").chain(arch.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// How many bits of a spot say which bucket it is in. A change costs the compression of one bucket and the copying of all:
/// both grow alike when there are as many buckets as packages in a bucket.
fn bits(packages: usize) -> u32 {
    let balanced = packages.isqrt().next_power_of_two();
    let most = (packages / SMALLEST_AVERAGE).max(1).ilog2();
    balanced.trailing_zeros().min(most)
}

/// Puts packages into buckets, in whatever order they come; none is empty. In a bucket they are in the order of their names,
/// so that what is alike stands together and compresses well.
pub(super) fn cut(packages: &[Entry]) -> Vec<Vec<&Entry>> {
    let bits = bits(packages.len());
    let mut buckets = vec![Vec::new(); 1 << bits];
    for entry in packages {
        let bucket = entry.spot.checked_shr(u64::BITS - bits).unwrap_or(0);
        // There are as many buckets as such numbers.
        if let Some(bucket) = usize::try_from(bucket).ok().and_then(|bucket| buckets.get_mut(bucket)) {
            bucket.push(entry);
        }
    }
    buckets.retain(|bucket| !bucket.is_empty());
    for bucket in &mut buckets {
        bucket.sort_unstable_by(|one, other| (one.file(), &one.href).cmp(&(other.file(), &other.href)));
    }
    buckets
}

/// A package that has the name of another one: it has its name and architecture too, so they are neighbours in one bucket.
pub(super) fn called_alike<'a>(buckets: &[Vec<&'a Entry>]) -> Option<&'a Entry> {
    let mut pairs = buckets.iter().flat_map(|bucket| bucket.windows(2));
    pairs.find(|pair| pair[0].file() == pair[1].file()).map(|pair| pair[1])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use farm::digest::Digest;
    use farm::nvr::Nevra;

    use super::*;

    #[test]
    fn spots_never_change() {
        assert_eq!(spot("hello", "x86_64"), 4_323_189_697_527_733_157);
    }

    fn packages(names: impl Iterator<Item = String>) -> Vec<Entry> {
        let nevra =
            |name| Nevra { name, epoch: 0, version: "1".into(), release: "1".into(), arch: "x86_64".into() };
        names.map(|name| Entry::new(&nevra(name.clone()), &Digest::of(name.as_bytes()), 1)).collect()
    }

    #[test]
    fn buckets_are_neither_tiny_nor_huge_and_hold_everything_once() {
        for count in [0, 1, 23, 47, 48, 100, 1000, 10_000, 40_000] {
            let packages = packages((0..count).map(|number| format!("python3-module-{number}")));
            let buckets = cut(&packages);
            let all: BTreeSet<&str> = buckets.iter().flatten().map(|entry| entry.href()).collect();
            assert_eq!(all.len(), count);
            assert_eq!(buckets.iter().map(Vec::len).sum::<usize>(), count);
            let largest = buckets.iter().map(Vec::len).max().unwrap_or(0);
            assert!(largest <= 256, "{count}: {largest}");
            assert!(buckets.len() <= count / SMALLEST_AVERAGE + 1, "{count}: {}", buckets.len());
        }
    }

    #[test]
    fn two_packages_of_one_name_are_found_among_many() {
        let mut packages = packages((0..5000).map(|number| format!("package-{number}")));
        assert_eq!(called_alike(&cut(&packages)), None);
        let twice = packages[1234].clone();
        packages.push(Entry { digest: Digest::of(b"another"), ..twice.clone() });
        assert_eq!(called_alike(&cut(&packages)).map(Entry::file), Some(twice.file()));
    }

    #[test]
    fn one_more_package_changes_one_bucket_and_the_order_does_not_matter() {
        let mut packages = packages((0..5000).map(|number| format!("package-{number}")));
        let last = packages.pop().unwrap();
        let before: Vec<Vec<Entry>> =
            cut(&packages).into_iter().map(|bucket| bucket.into_iter().cloned().collect()).collect();
        packages.insert(7, last);
        let after = cut(&packages);
        let is_new = |bucket: &&Vec<&Entry>| !before.iter().any(|old| old.iter().eq(bucket.iter().copied()));
        assert_eq!(after.iter().filter(is_new).count(), 1);
        let shuffled: Vec<Entry> = packages.iter().rev().cloned().collect();
        assert_eq!(cut(&shuffled), after);
    }
}
