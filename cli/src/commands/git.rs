//! `REPO#COMMIT`, the way a commit is named.

use std::str::FromStr;

/// A commit of a dist-git repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// `rpms/hello`, or a clone URL.
    pub repo: String,
    /// A commit id or a branch.
    pub commit: String,
}

impl FromStr for GitSource {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('#') {
            Some((repo, commit)) if !repo.is_empty() && !commit.is_empty() => {
                Ok(GitSource { repo: repo.to_owned(), commit: commit.to_owned() })
            }
            Some(_) | None => Err(
                "expected REPO#COMMIT: a repo's path on the farm's git server or a clone URL, then the commit or \
                 branch, such as rpms/hello#c9s-sig-storage-gluster"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_behind_the_last_hash() {
        let source: GitSource = "https://git.example.org/rpms/hello.git#c9s-sig-storage".parse().unwrap();
        assert_eq!(
            (&*source.repo, &*source.commit),
            ("https://git.example.org/rpms/hello.git", "c9s-sig-storage")
        );
        for wrong in ["rpms/hello", "rpms/hello#", "#abc", ""] {
            assert!(wrong.parse::<GitSource>().unwrap_err().contains("REPO#COMMIT"), "{wrong}");
        }
    }
}
