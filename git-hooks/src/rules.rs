//! May this push? The rules of the update hook.

use farm::message::Policy;
use farm::sig::PushRefused;
use farm::sig::template::is_branch;
use git2::{Oid, Repository};

use crate::settings::RepoName;

/// The folder packages live in.
const PACKAGES: &str = "rpms";
/// The folders that repos of suites, and of what is published beside packages, live in.
const SUITES: &str = "tests";
const METADATA: &str = "metadata";

/// One branch that is to move.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// `refs/heads/c9s-sig-demo-hello`
    pub reference: &'a str,
    /// The commit it has; all zeros when it is new.
    pub old: &'a str,
    /// The commit it would have; all zeros when it would go away.
    pub new: &'a str,
}

/// Is this the id git writes for nothing?
#[must_use]
pub fn is_nothing(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte == b'0')
}

/// Whose branch is it, and has this person a right to it?
///
/// # Errors
/// [`PushRefused`]: what is wrong, and what to do.
pub fn may(policy: &Policy, person: &str, repo: &RepoName, update: Update<'_>) -> Result<(), PushRefused> {
    let Some(branch) = update.reference.strip_prefix("refs/heads/") else {
        return refuse(
            format!("{} is not a branch", update.reference),
            "only branches are pushed here; tags and other refs stay in your own clone",
        );
    };
    if is_nothing(update.new) {
        return refuse(
            format!("branch {branch} cannot be deleted"),
            "what was built must stay traceable; leave the branch, or take it out of the SIG's template",
        );
    }
    if !is_branch(branch) {
        return refuse(
            format!("`{branch}` is not a branch name the farm takes"),
            "letters, digits, `.`, `_` and `-`, at most 128, such as c9s-sig-storage-gluster",
        );
    }
    let admin = policy.admins.iter().any(|known| known == person);
    match repo.path.split_once('/') {
        Some((PACKAGES, package)) => policy.community.may_push(person, admin, package, branch),
        Some((SUITES | METADATA, _)) => policy.community.may_push_files(person, admin, &repo.path),
        _ => refuse(
            format!("{} is neither a package nor a repo of suites or metadata", repo.path),
            "packages live below rpms/, suites below tests/, metadata below metadata/",
        ),
    }
}

/// Does the branch only grow? Builds and published packages name its commits.
///
/// # Errors
/// [`PushRefused`] when a commit would be lost, or git cannot tell.
pub fn only_grows(repo: &Repository, update: Update<'_>) -> Result<(), PushRefused> {
    if is_nothing(update.old) {
        return Ok(());
    }
    let grows = Oid::from_str(update.old)
        .and_then(|old| Oid::from_str(update.new).map(|new| (old, new)))
        .and_then(|(old, new)| Ok(old == new || repo.graph_descendant_of(new, old)?));
    match grows {
        Ok(true) => Ok(()),
        Ok(false) => refuse(
            format!("the push would take commits out of {}", update.reference),
            "history is what builds are traced to: merge or rebase onto the branch, or undo with `git revert`",
        ),
        Err(error) => refuse(
            format!("cannot compare the commits of {}: {}", update.reference, error.message()),
            "try again, and tell the git server's operators if it happens again",
        ),
    }
}

fn refuse(what: String, fix: &str) -> Result<(), PushRefused> {
    Err(PushRefused { what, fix: fix.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATES: [&str; 2] = [
        "name = \"storage\"\n[[member]]\nname = \"ada\"\nroles = [\"maintainer\"]\n\
         [[member]]\nname = \"rex\"\nroles = [\"release-manager\"]\n\
         [[project]]\nname = \"gluster\"\nrelease = \"11\"\ndist = \"9s\"\narches = [\"x86_64\"]\npackages = [\"gluster\"]\n\
         tests.suites = { repo = \"tests/storage\", branch = \"main\" }\n\
         metadata = { repo = \"metadata/storage\", branch = \"main\" }\n",
        "name = \"storagex\"\n[[member]]\nname = \"eve\"\nroles = [\"maintainer\"]\n\
         [[project]]\nname = \"ceph\"\nrelease = \"19\"\ndist = \"9s\"\narches = [\"x86_64\"]\npackages = [\"ceph\"]\n",
    ];

    fn policy() -> Policy {
        let mut policy = Policy { admins: vec!["root".into()], ..Policy::default() };
        for template in TEMPLATES {
            policy.community =
                policy.community.with(farm::sig::template::parse("sig.toml", template).unwrap());
        }
        policy.community.check().unwrap();
        policy
    }

    fn judged(person: &str, repo: &str, reference: &str) -> Result<(), PushRefused> {
        let repo = RepoName { path: repo.into(), address: repo.into() };
        may(&policy(), person, &repo, Update { reference, old: "00", new: "11" })
    }

    #[test]
    fn a_branch_belongs_to_one_sig() {
        assert_eq!(judged("ada", "rpms/gluster", "refs/heads/c9s-sig-storage-gluster"), Ok(()));
        assert_eq!(judged("ada", "rpms/new", "refs/heads/c9s-sig-storage-later"), Ok(()));
        assert_eq!(judged("root", "rpms/gluster", "refs/heads/c9s-sig-storage-gluster"), Ok(()));
        for (person, repo, branch, said) in [
            ("ada", "rpms/ceph", "c9s-sig-storagex-ceph", "ada is not a maintainer of SIG storagex"),
            ("eve", "rpms/gluster", "c9s-sig-storage-gluster", "eve is not a maintainer of SIG storage"),
            ("rex", "rpms/gluster", "c9s-sig-storage-gluster", "rex is not a maintainer"),
            ("ada", "rpms/gluster", "c9s", "belongs to no SIG"),
            ("root", "rpms/gluster", "main", "belongs to no SIG"),
            ("ada", "rpms/gluster", "c9s-sig-storagey", "belongs to no SIG"),
            ("ada", "rpms/other", "c9s-sig-storage-gluster", "package other is not in project"),
            ("ada", "rpms/gluster", "c9s-sig-storage-a/b", "not a branch name"),
            ("ada", "mirrors/gluster", "c9s-sig-storage-gluster", "neither a package nor a repo of"),
        ] {
            let refused = judged(person, repo, &format!("refs/heads/{branch}")).unwrap_err();
            assert!(refused.what.contains(said), "{refused}");
            assert!(!refused.fix.is_empty());
        }
    }

    #[test]
    fn repos_of_suites_and_metadata_belong_to_the_sigs_that_take_from_them() {
        assert_eq!(judged("ada", "tests/storage", "refs/heads/main"), Ok(()));
        assert_eq!(judged("ada", "tests/storage", "refs/heads/next"), Ok(()));
        assert_eq!(judged("root", "tests/storage", "refs/heads/main"), Ok(()));
        assert_eq!(judged("ada", "metadata/storage", "refs/heads/main"), Ok(()));
        for repo in ["metadata/storage", "metadata/other"] {
            assert!(judged("eve", repo, "refs/heads/main").is_err(), "{repo}");
        }
        for person in ["eve", "rex", "mallory"] {
            let refused = judged(person, "tests/storage", "refs/heads/main").unwrap_err();
            assert!(refused.what.contains("is not a maintainer of SIG storage"), "{refused}");
        }
        let nobodys = judged("ada", "tests/other", "refs/heads/main").unwrap_err();
        assert!(nobodys.what.contains("no SIG takes suites or metadata from tests/other"), "{nobodys}");
        assert!(nobodys.fix.contains("suites = { repo = \"tests/other\""), "{nobodys}");
        assert_eq!(judged("root", "tests/other", "refs/heads/main"), Ok(()));
    }

    #[test]
    fn only_branches_are_pushed() {
        for reference in ["refs/tags/v1", "refs/notes/commits", "HEAD", "refs/for/c9s-sig-storage-gluster"] {
            assert!(judged("root", "rpms/gluster", reference).unwrap_err().what.contains("is not a branch"));
        }
    }
}
