//! Where a repo is for the public, and the `.repo` file that tells dnf so.

use farm::sig::{Project, Stage};

/// dnf's priority of the farm's repos, before the 99 of everything that has none: a SIG's package is preferred to the
/// distribution's of the same name.
const PRIORITY: u32 = 90;

/// The path of a stage's folder (`x86_64`, `debug-x86_64`, `source`, or `$basearch`) below the public root, as CentOS lays
/// it out: `buildlogs/centos/9-stream/storage/x86_64/gluster-11`. `None` for candidates, which are not public.
#[must_use]
pub fn public_path(project: &Project, stage: Stage, folder: &str) -> Option<String> {
    let top = match stage {
        Stage::Candidate => return None,
        Stage::Testing => "buildlogs/centos",
        Stage::Release => "mirror/SIGs",
    };
    let (dist, name) = (project.dist_folder(), project.folder());
    Some(format!("{top}/{dist}/{}/{folder}/{name}", project.sig))
}

/// The text of `/etc/yum.repos.d/<tag>.repo`. `base_url` is where the public root is served; `arch` is an architecture, or
/// `None` to let dnf fill its own in. `None` for candidates, which are not public.
#[must_use]
pub fn repo_file(
    project: &Project,
    stage: Stage,
    base_url: &str,
    arch: Option<farm::arch::Arch>,
) -> Option<String> {
    let path = public_path(project, stage, arch.map_or("$basearch", farm::arch::Arch::as_str))?;
    // People who test want what was built just now; people in production want few downloads.
    let expire = match stage {
        Stage::Candidate | Stage::Testing => "5m",
        Stage::Release => "6h",
    };
    Some(format!(
        "[{tag}]\n\
         name=SIG {sig}: {project} {release} for {dist} ({stage})\n\
         baseurl={base}/{path}/\n\
         enabled=1\n\
         gpgcheck=0\n\
         metadata_expire={expire}\n\
         priority={PRIORITY}\n\
         skip_if_unavailable=0\n",
        tag = project.tag(stage),
        sig = project.sig,
        project = project.name,
        release = project.release,
        dist = project.dist_folder(),
        base = base_url.trim_end_matches('/'),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repos::samples::gluster;

    #[test]
    fn paths_follow_centos() {
        let project = gluster();
        let path = |stage| public_path(&project, stage, "x86_64");
        assert_eq!(path(Stage::Candidate), None);
        assert_eq!(
            path(Stage::Testing).as_deref(),
            Some("buildlogs/centos/9-stream/storage/x86_64/gluster-11")
        );
        assert_eq!(path(Stage::Release).as_deref(), Some("mirror/SIGs/9-stream/storage/x86_64/gluster-11"));
    }

    #[test]
    fn a_repo_file_names_the_moving_repo() {
        let text = repo_file(&gluster(), Stage::Testing, "http://farm:8080/", None).unwrap();
        assert!(text.starts_with("[storage9s-gluster-11-testing]\n"), "{text}");
        let baseurl = "\nbaseurl=http://farm:8080/buildlogs/centos/9-stream/storage/$basearch/gluster-11/\n";
        assert!(text.contains(baseurl), "{text}");
        assert_eq!(repo_file(&gluster(), Stage::Candidate, "http://farm:8080", None), None);
    }
}
