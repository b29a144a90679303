//! What was seen before: a repo that shows an older state than once seen is being replayed, however well that is signed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{Report, Violation};

/// The newest state that was seen of each repo, by tag.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory(BTreeMap<String, Seen>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    revision: i64,
    snapshot: String,
    /// The revision of its metadata; none where a former version of this program has looked.
    #[serde(default)]
    metadata: Option<i64>,
}

impl Memory {
    /// Reads what is remembered; nothing when there is no such file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Memory> {
        match std::fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not what `grange verify --remember` writes", file.display())),
        }
    }

    /// Holds a report against what is remembered, and remembers what is newer. `whole` when all repos of a tree were looked at.
    pub(super) fn compare(&mut self, report: &mut Report, whole: bool) {
        for repo in &mut report.repos {
            let (Some(tag), Some(revision), Some(snapshot)) = (&repo.tag, repo.revision, &repo.snapshot)
            else {
                continue;
            };
            let now = Seen { revision, snapshot: snapshot.clone(), metadata: repo.metadata_revision };
            let before = self.0.get(tag);
            let wrong = match before {
                Some(before) if before.revision > now.revision => Some(format!(
                    "it shows revision {}, and revision {} was seen before: an older state is being replayed",
                    now.revision, before.revision
                )),
                Some(before) if before.revision == now.revision && before.snapshot != now.snapshot => {
                    Some(format!(
                        "it shows revision {} with snapshot {}, and the same revision was seen with snapshot {}",
                        now.revision, now.snapshot, before.snapshot
                    ))
                }
                Some(Seen { metadata: Some(before), .. })
                    if now.metadata.is_some_and(|now| now < *before) =>
                {
                    Some(format!(
                        "its metadata has revision {}, and {before} was seen before: clients would take it for older",
                        now.metadata.unwrap_or_default()
                    ))
                }
                Some(_) | None => None,
            };
            if let Some(why) = wrong {
                repo.violations.push(Violation::new(&repo.at, why));
            } else if repo.violations.is_empty() {
                self.0.insert(tag.clone(), now);
            }
        }
        if whole {
            let shown = |tag: &String| report.repos.iter().any(|repo| repo.tag.as_ref() == Some(tag));
            let gone = self.0.keys().filter(|tag| !shown(tag));
            let gone = gone
                .map(|tag| Violation::new(format!("live/{tag}"), "it was there before, and is not any more"));
            report.violations.extend(gone);
        }
    }

    /// Writes what is remembered, in one step.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let write = || -> anyhow::Result<()> {
            let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            let mut fresh = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
            serde_json::to_writer_pretty(&mut fresh, self)?;
            fresh.flush()?;
            fresh.persist(file)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}
