use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::sample::{Sample, sample_rpm};
use super::*;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("artifact");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn sample(&self, sample: &Sample) -> PathBuf {
        self.write(&sample.bytes().unwrap())
    }

    /// What Debian's rpmbuild makes of a spec's lines; a description and files are added.
    fn rpmbuild(&self, mode: &str, preamble: &str) -> Vec<PathBuf> {
        let spec = self.dir.path().join("hello.spec");
        let text = format!(
            "Name: hello\nVersion: 2.10\nRelease: 1.el9s\nSummary: s\nLicense: MIT\n{preamble}\n\
             %description\nd\n%install\nmkdir -p %{{buildroot}}/usr/share\necho hi > %{{buildroot}}/usr/share/hello\n\
             %files\n/usr/share/hello\n"
        );
        fs::write(&spec, text).unwrap();
        let top = format!("_topdir {}", self.dir.path().join("rpmbuild").display());
        let output = Command::new("rpmbuild").args([mode, "--define", &top]).arg(&spec).output();
        let output = output.expect("rpmbuild must be installed (Debian: apt install rpm)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        printed.lines().filter_map(|line| line.strip_prefix("Wrote: ")).map(PathBuf::from).collect()
    }
}

#[test]
fn a_sample_is_read_as_what_it_is() {
    let bench = Bench::new();
    let mut sample = sample_rpm("hello", "2.10", "1.el9s", "x86_64");
    sample.requires.push("libgreeting".into());
    sample.epoch = 2;
    let path = bench.sample(&sample);
    let read = read_rpm(&path, Some(Arch::X86_64)).unwrap();
    assert_eq!(read.rpm.nevra.to_string(), "hello-2:2.10-1.el9s.x86_64");
    assert_eq!(read.rpm.kind, RpmKind::Binary);
    assert_eq!(read.rpm.built_on, Some(Arch::X86_64));
    assert_eq!(read.rpm.digest, Digest::of(&fs::read(&path).unwrap()));
    assert_eq!(read.rpm.size, fs::metadata(&path).unwrap().len());
    assert_eq!(read.source_rpm.as_deref(), Some("hello-2.10-1.el9s.src.rpm"));
    assert!(read.requires.contains("libgreeting") && read.provides.contains("hello"));
    read.must_be_called(&sample.file_name()).unwrap();
    let refused = read.must_be_called("hello-2.11-1.el9s.x86_64.rpm").unwrap_err().to_string();
    assert!(refused.contains("but the RPM in it is hello-2.10-1.el9s.x86_64.rpm"), "{refused}");
    assert!(matches!(read_rpm(&path, Some(Arch::S390x)), Err(RpmError::WrongArch { .. })));
    assert!(matches!(read_srpm(&path), Err(RpmError::NotSource(_))));
    for name in ["hello-debuginfo", "hello-debugsource", "kernel-debuginfo-common-x86_64"] {
        let path = bench.sample(&sample_rpm(name, "1", "1", "noarch"));
        assert_eq!(read_rpm(&path, Some(Arch::S390x)).unwrap().rpm.kind, RpmKind::Debug);
    }
}

#[test]
fn samples_are_rpms_to_rpm_itself() {
    let bench = Bench::new();
    for arch in ["x86_64", "noarch", "src"] {
        let path = bench.sample(&sample_rpm("hello", "2.10", "1", arch));
        let check = Command::new("rpmkeys").arg("-K").arg("--nosignature").arg(&path).output().unwrap();
        assert!(check.status.success(), "{arch}: {}", String::from_utf8_lossy(&check.stdout));
        let format = "%{NAME} %{SOURCEPACKAGE} %{SOURCERPM}";
        let query = Command::new("rpm").args(["-qp", "--qf", format]).arg(&path).output().unwrap();
        let expected = if arch == "src" { "hello 1 (none)" } else { "hello (none) hello-2.10-1.src.rpm" };
        assert_eq!(String::from_utf8_lossy(&query.stdout), expected);
    }
}

#[test]
fn the_body_is_everything_behind_the_signature_header() {
    let bench = Bench::new();
    for path in [bench.sample(&sample_rpm("a", "1", "1", "noarch")), bench.rpmbuild("-bs", "").remove(0)] {
        let bytes = fs::read(&path).unwrap();
        let offsets = PackageMetadata::open(&path).unwrap().get_package_segment_offsets();
        let start = usize::try_from(offsets.header).unwrap();
        assert_eq!(read_rpm(&path, None).unwrap().rpm.body, Digest::of(&bytes[start..]));
    }
}

#[test]
fn a_source_rpm_of_rpmbuild_says_where_it_builds() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let subpackage = "%package doc\nSummary: s\nBuildArch: noarch\n%description doc\nd\n%files doc\n";
    let cases: [(&str, &[&str], &[&str], bool); 6] = [
        ("", &[], &[], false),
        ("BuildArch: noarch", &[], &[], true),
        (subpackage, &[], &[], false),
        ("ExclusiveArch: x86_64 aarch64", &["x86_64", "aarch64"], &[], false),
        ("ExcludeArch: s390x", &[], &["s390x"], false),
        ("BuildArch: noarch\nExclusiveArch: x86_64 noarch", &["x86_64", "noarch"], &[], true),
    ];
    for (preamble, exclusive, excluded, noarch) in cases {
        let bench = Bench::new();
        let path = bench.rpmbuild("-bs", &format!("Epoch: 3\nBuildRequires: bash\n{preamble}")).remove(0);
        let srpm = read_srpm(&path).unwrap();
        assert_eq!((srpm.nvr.to_string().as_str(), srpm.epoch), ("hello-2.10-1.el9s", 3));
        let expected = SourceArches { exclusive: set(exclusive), excluded: set(excluded), noarch };
        assert_eq!(srpm.arches, expected, "{preamble}");
        assert_eq!((srpm.read.rpm.nevra.arch.as_str(), srpm.read.rpm.kind), ("src", RpmKind::Source));
        assert_eq!(srpm.read.requires, set(&["bash"]));
        srpm.read.must_be_called(path.file_name().unwrap().to_str().unwrap()).unwrap();
    }
}

#[test]
fn a_binary_rpm_of_rpmbuild_is_read() {
    let bench = Bench::new();
    let paths = bench.rpmbuild("-bb", "BuildArch: noarch\n%define debug_package %{nil}");
    let read = read_rpm(&paths[0], Some(Arch::X86_64)).unwrap();
    assert_eq!(read.rpm.nevra.to_string(), "hello-2.10-1.el9s.noarch");
    assert_eq!(read.source_rpm.as_deref(), Some("hello-2.10-1.el9s.src.rpm"));
    read.must_be_called(paths[0].file_name().unwrap().to_str().unwrap()).unwrap();
}

#[test]
fn a_sample_source_rpm_says_where_it_builds() {
    let bench = Bench::new();
    let mut sample = sample_rpm("hello", "2.10", "1", "src");
    sample.exclusive.push("x86_64".into());
    sample.noarch = true;
    let srpm = read_srpm(&bench.sample(&sample)).unwrap();
    assert_eq!(srpm.arches.exclusive, BTreeSet::from(["x86_64".to_owned()]));
    assert!(srpm.arches.noarch);
    srpm.read.must_be_called(&sample.file_name()).unwrap();
}

#[test]
fn what_is_cut_or_changed_is_refused_and_never_panics() {
    let bench = Bench::new();
    let bytes = sample_rpm("hello", "2.10", "1", "x86_64").bytes().unwrap();
    for length in (0..bytes.len()).step_by(37) {
        let cut = read_rpm(&bench.write(&bytes[..length]), None);
        assert!(matches!(cut, Err(RpmError::NotRpm(_) | RpmError::Damaged(_))), "{length}");
    }
    let header = {
        let path = bench.write(&bytes);
        usize::try_from(PackageMetadata::open(path).unwrap().get_package_segment_offsets().header).unwrap()
    };
    for position in header..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 0x55;
        let refused = read_rpm(&bench.write(&changed), None);
        assert!(matches!(refused, Err(RpmError::NotRpm(_) | RpmError::Damaged(_))), "{position}");
    }
    // The signature header is covered by no digest; whatever it says, nothing breaks.
    for position in 96..header {
        let mut changed = bytes.clone();
        changed[position] ^= 0xff;
        let _ = read_rpm(&bench.write(&changed), None);
    }
}

#[test]
fn impossible_headers_are_refused_before_anything_is_allocated() {
    let bench = Bench::new();
    let bytes = sample_rpm("hello", "2.10", "1", "x86_64").bytes().unwrap();
    for (at, what) in [(96 + 8, "entries"), (96 + 12, "bytes of data")] {
        let mut changed = bytes.clone();
        changed[at..at + 4].fill(0xff);
        let error = read_rpm(&bench.write(&changed), None).unwrap_err().to_string();
        assert!(error.contains("its signature header claims") && error.contains(what), "{error}");
    }
}
