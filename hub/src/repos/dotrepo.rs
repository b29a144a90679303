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

/// The text of `/etc/yum.repos.d/<tag>.repo`: the repo, and those with its sources and debuginfo, which whoever wants them
/// turns on. `base_url` is where the public root is served; `arch` is an architecture, or `None` to let dnf fill its own
/// in. `None` for candidates, which are not public.
#[must_use]
pub fn repo_file(
    project: &Project,
    stage: Stage,
    base_url: &str,
    arch: Option<farm::arch::Arch>,
) -> Option<String> {
    let arch = arch.map_or("$basearch", farm::arch::Arch::as_str);
    let sections = [
        section(project, stage, base_url, arch, ("", "", true))?,
        section(project, stage, base_url, "source", ("-source", ", sources", false))?,
        section(project, stage, base_url, &format!("debug-{arch}"), ("-debuginfo", ", debuginfo", false))?,
    ];
    Some(sections.join("\n"))
}

/// One repo: what is added to its id and to its name, and whether it is turned on.
fn section(
    project: &Project,
    stage: Stage,
    base_url: &str,
    folder: &str,
    (suffix, what, enabled): (&str, &str, bool),
) -> Option<String> {
    let path = public_path(project, stage, folder)?;
    // People who test want what was built just now; people in production want few downloads.
    let expire = match stage {
        Stage::Candidate | Stage::Testing => "5m",
        Stage::Release => "6h",
    };
    Some(format!(
        "[{tag}{suffix}]\n\
         name=SIG {sig}: {project} {release} for {dist} ({stage}{what})\n\
         baseurl={base}/{path}/\n\
         enabled={enabled}\n\
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
        enabled = u8::from(enabled),
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::repos::compose::compose;
    use crate::repos::samples::{Bench, X86, gluster};

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

    /// A client that has this file and nothing else, and turns on what `extra` says.
    fn dnf(root: &std::path::Path, extra: &[&str]) -> Vec<String> {
        let output = Command::new("dnf")
            .args(["--quiet", "--releasever=9", "--forcearch=x86_64"])
            .arg(format!("--installroot={}", root.join("root").display()))
            .arg(format!("--setopt=reposdir={}", root.join("repos").display()))
            .arg(format!("--setopt=cachedir={}", root.join("cache").display()))
            .args(extra)
            .args(["repoquery", "--qf", "%{repoid} %{name}.%{arch}"])
            .output()
            .expect("dnf must be installed (Debian: apt install dnf)");
        assert!(output.status.success(), "dnf: {}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[tokio::test]
    async fn dnf_finds_sources_and_debuginfo_when_they_are_turned_on() {
        let mut bench = Bench::new();
        let (project, stage) = (gluster(), Stage::Testing);
        let hello = bench.hello("2.10").await;
        let snapshot = bench.snapshot(&project.tag(stage), None, &[hello]);
        let patient = Duration::from_secs(60);
        let composed = compose(&bench.staging(), &bench.artifacts, &snapshot, &X86, patient).await.unwrap();
        let root = bench.dir.path();
        for folder in ["x86_64", "debug-x86_64", "source"] {
            let path = root.join("public").join(public_path(&project, stage, folder).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(composed.join(folder), path).unwrap();
        }
        let text = repo_file(&project, stage, &format!("file://{}/public", root.display()), None).unwrap();
        std::fs::create_dir(root.join("repos")).unwrap();
        std::fs::write(root.join("repos/gluster.repo"), text).unwrap();
        let tag = project.tag(stage);
        let binary = [format!("{tag} hello-doc.noarch"), format!("{tag} hello.x86_64")];
        assert_eq!(dnf(root, &[]), binary);
        let extra = [format!("{tag}-debuginfo hello-debuginfo.x86_64"), format!("{tag}-source hello.src")];
        assert_eq!(
            dnf(root, &["--enablerepo=*-source", "--enablerepo=*-debuginfo"]),
            [&binary[..], &extra].concat()
        );
    }
}
