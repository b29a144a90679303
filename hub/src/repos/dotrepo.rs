//! Where a repo is for the public, and the `.repo` file that tells dnf so.

use farm::sig::{Project, Stage};

use crate::signing::publish::{KEYS, key_file};

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

/// The text of `/etc/yum.repos.d/<tag>.repo`: the repo, and those with its sources and debuginfo, which whoever wants them
/// turns on. `hub` is the hub's own address; `arch` is an architecture, or `None` to let dnf fill its own in. `None` for
/// candidates, which are not public.
///
/// Packages and metadata must be signed with the SIG's key. It names a metalink and no moving address: see [`super::metalink`].
#[must_use]
pub fn repo_file(
    project: &Project,
    stage: Stage,
    hub: &str,
    arch: Option<farm::arch::Arch>,
) -> Option<String> {
    // People who test want what was built just now; people in production want few downloads.
    let expire = match stage {
        Stage::Candidate => return None,
        Stage::Testing => "5m",
        Stage::Release => "6h",
    };
    let hub = hub.trim_end_matches('/');
    let arch = arch.map_or("$basearch", farm::arch::Arch::as_str);
    let (tag, sig, dist) = (project.tag(stage), &project.sig, project.dist_folder());
    let name = format!("SIG {sig}: {} {} for {dist} ({stage}", project.name, project.release);
    let key = key_file(sig);
    let section = |(suffix, what, folder, enabled): (&str, &str, &str, bool)| {
        let enabled = u8::from(enabled);
        format!(
            "[{tag}{suffix}]\n\
             name={name}{what})\n\
             metalink={hub}/metalink?repo={tag}&folder={folder}\n\
             enabled={enabled}\n\
             gpgcheck=1\n\
             repo_gpgcheck=1\n\
             gpgkey={hub}/repos/{KEYS}/{key}\n\
             metadata_expire={expire}\n\
             priority={PRIORITY}\n\
             skip_if_unavailable=0\n"
        )
    };
    let debug = format!("debug-{arch}");
    let sections = [
        ("", "", arch, true),
        ("-source", ", sources", "source", false),
        ("-debuginfo", ", debuginfo", debug.as_str(), false),
    ];
    Some(sections.map(section).join("\n"))
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
    fn a_repo_file_names_no_moving_address_and_wants_signatures() {
        let text = repo_file(&gluster(), Stage::Testing, "http://farm:8080/", None).unwrap();
        assert!(text.starts_with("[storage9s-gluster-11-testing]\n"), "{text}");
        let metalink = "\nmetalink=http://farm:8080/metalink?repo=storage9s-gluster-11-testing&folder=";
        for folder in ["$basearch", "source", "debug-$basearch"] {
            assert!(text.contains(&format!("{metalink}{folder}\n")), "{text}");
        }
        for line in
            ["gpgcheck=1", "repo_gpgcheck=1", "gpgkey=http://farm:8080/repos/keys/RPM-GPG-KEY-storage"]
        {
            assert_eq!(text.lines().filter(|own| *own == line).count(), 3, "{text}");
        }
        assert!(!text.contains("baseurl"), "{text}");
        assert_eq!(repo_file(&gluster(), Stage::Candidate, "http://farm:8080", None), None);
        let fixed = repo_file(&gluster(), Stage::Release, "x", Some(farm::arch::Arch::S390x)).unwrap();
        assert!(fixed.contains("&folder=debug-s390x\n") && !fixed.contains('$'), "{fixed}");
    }
}
