//! SIG templates: every example can be applied, every key is documented, and every fault is named with its line.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeSet;
use std::path::PathBuf;

use farm::sig::plan::plan;
use farm::sig::template::{Faults, locate, parse};
use farm::sig::{Community, Role, Stage};
use sample::{community, sig};

fn templates() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sig-templates")
}

/// In the order in which they build on each other.
const EXAMPLES: [&str; 4] = ["minimal.toml", "library.toml", "application.toml", "demo.toml"];

fn example(name: &str) -> String {
    std::fs::read_to_string(templates().join("examples").join(name)).unwrap()
}

#[test]
fn every_example_can_be_applied() {
    let there: BTreeSet<String> = std::fs::read_dir(templates().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, EXAMPLES.iter().map(ToString::to_string).collect(), "name every example in this test");

    let mut all = Community::default();
    for name in EXAMPLES {
        let sig = parse(name, &example(name)).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!plan(all.sig(&sig.name), &sig).is_empty(), "{name} is new");
        all = all.with(sig.clone());
        all.check().unwrap_or_else(|clashes| panic!("{name}: {clashes:?}"));
        assert_eq!(plan(all.sig(&sig.name), &sig), [], "{name} is applied already");
    }
}

#[test]
fn the_demo_is_what_the_demonstration_expects() {
    let demo = parse("demo.toml", &example("demo.toml")).unwrap();
    let hello = &demo.projects[0];
    assert_eq!(hello.target(), "demo9s-hello-2-el9s");
    assert_eq!(hello.tag(Stage::Testing), "demo9s-hello-2-testing");
    assert!(hello.branches.contains("c9s-sig-demo-hello"));
    assert_eq!(hello.required, ["installs", "runs"]);
}

/// The README's worked example of inheritance, with the real examples below it.
#[test]
fn the_readme_tells_the_truth_about_inheritance() {
    let readme = std::fs::read_to_string(templates().join("README.md")).unwrap();
    let gallery = readme
        .split("```toml\n")
        .skip(1)
        .map(|part| part.split("```").next().unwrap())
        .find(|block| block.contains("\"gallery\""))
        .unwrap();
    let mut all = community(&EXAMPLES.map(example).iter().map(String::as_str).collect::<Vec<_>>());
    all = all.with(sig(gallery));
    all.check().unwrap();
    let layers: Vec<String> = all
        .layers(&all.sig("gallery").unwrap().projects[0])
        .into_iter()
        .map(|layer| match layer {
            farm::sig::Layer::Tag { tag } => format!("`{tag}`"),
            farm::sig::Layer::External(repo) => format!("external `{}`", repo.name),
        })
        .collect();
    for (index, layer) in layers.iter().enumerate() {
        let row = format!("| {} | {layer} |", index + 1);
        assert!(readme.contains(&row), "the README's table has no row `{row}`");
    }
    assert!(!readme.contains(&format!("| {} | `", layers.len() + 1)));
}

/// Asks the parser which keys it knows, table by table, by giving it one it does not know.
fn known_keys(before: &str) -> Vec<String> {
    let text = format!("{before}\nzzzz = 1\n");
    let what = parse("x", &text).unwrap_err().faults.remove(0).what;
    assert!(what.starts_with("unknown field `zzzz`"), "{what}");
    what.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_readme_lists_every_key() {
    let readme = std::fs::read_to_string(templates().join("README.md")).unwrap();
    let project =
        "name = 'a'\n[[project]]\nname = 'b'\nrelease = '1'\ndist = '9s'\narches = []\npackages = []\n";
    let mut keys = 0;
    for (before, form) in [
        (String::new(), "KEY"),
        ("name = 'a'\n[[member]]".into(), "KEY"),
        ("name = 'a'\n[share]".into(), "KEY"),
        (project.to_owned(), "KEY"),
        (format!("{project}[[project.external-repo]]"), "KEY"),
        (format!("{project}[project.tests]"), "KEY"),
        (format!("{project}[project.tests.suites]"), "suites.KEY"),
        (format!("{project}[project.metadata]"), "metadata.KEY"),
        (format!("{project}[project.promotion]"), "KEY"),
        (format!("{project}[[project.stack]]"), "KEY"),
        (format!("{project}[project.repo]"), "KEY"),
        (format!("{project}[project.retention]"), "KEY"),
        (format!("{project}[project.limits]"), "KEY"),
    ] {
        for key in known_keys(&before) {
            keys += 1;
            let row = |cell: &str| readme.contains(&format!("| `{cell}` |"));
            let named = form.replace("KEY", &key);
            let listed = row(&named)
                || row(&format!("[{named}]"))
                || row(&format!("[[{named}]]"))
                || row(&format!("[[project.{named}]]"))
                || row(&format!("[project.{named}]"));
            assert!(listed, "sig-templates/README.md does not list `{named}` (below `{before}`)");
        }
    }
    assert!(keys >= 30, "only {keys} keys found");
}

#[test]
fn the_library_says_who_must_agree_and_what_goes_together() {
    let library = parse("library.toml", &example("library.toml")).unwrap();
    let [stream10, stream9] = &library.projects[..] else { panic!("{:?}", library.projects) };
    assert_eq!((stream9.approvers, stream9.nightly, stream9.zstd), (2, true, false));
    assert_eq!((stream10.approvers, stream10.nightly, stream10.zstd), (1, false, true));
    let managers = library.members.keys().filter(|name| library.has_role(name, Role::ReleaseManager)).count();
    assert!(managers >= 2, "two must agree, so that there must be two");
    let names = |packages: &BTreeSet<String>| packages.iter().cloned().collect::<Vec<_>>();
    assert_eq!(stream9.stack("compressors").map(names), Some(vec!["lz4".to_owned(), "zstd".to_owned()]));
    assert_eq!(stream9.stack("nothing"), None);
    assert_eq!(stream10.stack("compressors"), None, "a stack belongs to its project");
}

#[test]
fn stacks_and_approvers_are_read_strictly() {
    let project = "name = 'a'\n[[project]]\nname = 'b'\nrelease = '1'\ndist = '9s'\narches = ['x86_64']\npackages = ['p', 'q']\n";
    let read = |more: &str| parse("sig.toml", &format!("{project}{more}"));
    let all = read("[[project.stack]]\nname = 'all'\n").unwrap();
    assert_eq!(
        all.projects[0].stack("all"),
        Some(&all.projects[0].packages),
        "a stack without packages is everything"
    );
    for (more, line, words) in [
        ("[project.promotion]\napprovers = 0\n", 9, "0 is not a number of approvers"),
        ("[project.promotion]\napprovers = 6\n", 9, "6 is not a number of approvers"),
        ("[[project.stack]]\nname = 'All'\n", 9, "All"),
        ("[[project.stack]]\nname = 's'\npackages = ['p', 'r']\n", 10, "package r of stack s is not in"),
        ("[[project.stack]]\nname = 's'\n[[project.stack]]\nname = 's'\n", 11, "stack s is listed twice"),
    ] {
        let faults = read(more).unwrap_err().faults;
        assert_eq!(faults.len(), 1, "{more}: {faults:?}");
        assert_eq!(faults[0].line, Some(line), "{more}");
        assert!(faults[0].what.contains(words), "{more}: {}", faults[0].what);
    }
}

fn faults(text: &str) -> Faults {
    parse("sig.toml", text).unwrap_err()
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let text = "name = 'demo'\n\n[[project]]\nname = 'hello'\nrelease = '2'\ndist = '9s'\narches = ['x86_64']\npakages = ['hello']\n";
    let fault = &faults(text).faults[0];
    assert_eq!(fault.line, Some(8));
    assert!(fault.what.contains("pakages"));
    assert_eq!(fault.fix, "did you mean `packages`?");
    for (given, nearest) in [
        ("name = 'a'\ntitel = 'b'\n", "title"),
        ("name = 'a'\n[[member]]\nname = 'b'\nrole = []\n", "roles"),
        ("name = 'a'\n[[member]]\nname = 'b'\nroles = ['maintaner']\n", "maintainer"),
        ("name = 'a'\n[[member]]\nname = 'b'\nroles = ['release_manager']\n", "release-manager"),
        ("name = 'a'\n[[project]]\nname = 'b'\ndefault_branch = true\n", "default-branch"),
        ("name = 'a'\n[[project]]\nname = 'b'\narches = ['x86-64']\n", "x86_64"),
        ("name = 'a'\n[[project]]\nname = 'b'\n[project.limits]\nmemory-mb = 1\n", "memory_mb"),
    ] {
        assert_eq!(faults(given).faults[0].fix, format!("did you mean `{nearest}`?"), "{given}");
        assert_eq!(faults(given).faults[0].line, Some(given.lines().count()), "{given}");
    }
}

#[test]
fn what_is_missing_or_of_the_wrong_form_is_named() {
    let missing = &faults("title = 'x'\n").faults[0];
    assert!(missing.what.contains("name") && missing.fix.contains("README"), "{missing:?}");
    let number = &faults("name = 'a'\n[[project]]\nname = 'b'\nrelease = 2\n").faults[0];
    assert_eq!(number.line, Some(4));
    assert!(number.what.contains("string"), "{number:?}");
    let syntax = &faults("name = 'a'\n[[project]\n").faults[0];
    assert_eq!(syntax.line, Some(2));
}

#[test]
fn every_bad_name_is_named_at_once() {
    let text = "\
name = 'Demo'
[[member]]
name = 'ada lovelace'
roles = ['maintainer']
[[project]]
name = 'a--b'
release = '1-2'
dist = 'el9'
arches = []
packages = ['../x']
image = '-rm'
labels = ['ssd', 'a,b']
macros = { 'a b' = 'x' }
branches = ['c9s-sig/x']
inherit = ['storage9s-gluster-11']
[[project.external-repo]]
name = 'a b'
baseurl = 'ftp://x'
[project.tests]
required = ['a/b']
suites = { repo = 'storage', branch = '--upload-pack=x' }
";
    let found = faults(text);
    let mut lines: Vec<usize> = found.faults.iter().map(|fault| fault.line.unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 20, 21, 21], "{found}");
    assert!(found.faults.iter().all(|fault| !fault.fix.is_empty()));
    assert!(found.to_string().starts_with("sig.toml:1: `Demo` is not a SIG name (fix: lower-case"));
}

#[test]
fn a_share_has_bounds() {
    let share =
        |text: &str| parse("sig.toml", &format!("name = 'a'\n[share]\n{text}\n")).map(|sig| sig.share);
    let given = |weight, cap| Ok(farm::sig::Share { weight, cap });
    assert_eq!(share(""), given(1, None));
    assert_eq!(share("weight = 100\ncap = 1"), given(100, Some(1)));
    for (text, line, what) in [
        ("weight = 0", 3, "0 is not a weight"),
        ("weight = 101", 3, "101 is not a weight"),
        ("weight = 3\ncap = 0", 4, "nothing of this SIG would ever be built"),
        ("weight = -1", 3, "-1"),
    ] {
        let fault = &share(text).unwrap_err().faults[0];
        assert_eq!(fault.line, Some(line), "{text}");
        assert!(fault.what.contains(what), "{fault:?}");
    }
}

#[test]
fn a_ccache_fits_into_what_a_build_may_use() {
    let project =
        |text: &str| parse("sig.toml", &project_of("demo", "hello", text)).map(|sig| sig.projects[0].clone());
    assert_eq!(project("").unwrap().ccache_mb, 0, "none unless somebody asks for it");
    assert_eq!(project("ccache-mb = 512").unwrap().ccache_mb, 512);
    let small = "\n[project.limits]\ndisk_mb = 400\n";
    assert!(project(&format!("ccache-mb = 100{small}")).is_ok());
    for (text, what) in [
        ("ccache-mb = 0", "a ccache of 0 MiB"),
        (&format!("ccache-mb = 101{small}"), "a ccache of 101 MiB"),
        ("ccache-mb = 1025\n[project.limits]\nmemory_mb = 4096\ndisk_mb = 9999\n", "a ccache of 1025 MiB"),
        ("ccache-mb = -1", "-1"),
        ("ccache_mb = 512", "unknown field `ccache_mb`"),
    ] {
        let fault = &project(text).unwrap_err().faults[0];
        assert_eq!(fault.line, Some(8), "{text}");
        assert!(fault.what.contains(what), "{fault:?}");
    }
    assert_eq!(project("ccache_mb = 512").unwrap_err().faults[0].fix, "did you mean `ccache-mb`?");
}

#[test]
fn nothing_is_listed_twice() {
    let project =
        "[[project]]\nname = 'hello'\nrelease = '2'\ndist = '9s'\narches = ['x86_64']\npackages = []\n";
    let found = faults(&format!("name = 'demo'\n{project}{project}"));
    assert_eq!(found.faults[0].line, Some(9));
    assert!(found.faults[0].what.contains("hello-2 for 9s is listed twice"));

    let member = "[[member]]\nname = 'ada'\nroles = ['maintainer']\n";
    let mixed = format!("name = 'demo'\n{member}[[member]]\nname = 'ada'\nroles = ['release-manager']\n");
    let found = faults(&mixed);
    assert_eq!(found.faults[0].line, Some(6));
    assert!(found.faults[0].fix.contains("all roles into one"));

    let repo = "[[project.external-repo]]\nname = 'base'\nbaseurl = 'https://x'\n";
    let found = faults(&format!("name = 'demo'\n{project}{repo}{repo}"));
    assert_eq!(found.faults[0].line, Some(12));
    assert!(found.faults[0].what.contains("external repo base is listed twice"));
}

/// What the farm checks by itself says nothing of the packages' own tests: it is no suite that makes a project publish.
#[test]
fn the_farms_own_checks_are_no_suites_to_require() {
    let requiring = |suites: &str| {
        let tests = format!("[project.tests]\nrequired = [{suites}]\n");
        parse("sig.toml", &project_of("demo", "hello", &tests))
    };
    for own in ["repoclosure", "repoclosure-whole"] {
        let fault = requiring(&format!("'installs', '{own}'")).unwrap_err().faults.remove(0);
        assert_eq!(fault.line, Some(9), "{own}");
        assert!(fault.what.starts_with(&format!("suite {own} is the farm's own")), "{}", fault.what);
        assert!(fault.fix.contains("leave it out"), "{}", fault.fix);
    }
    assert_eq!(requiring("'installs', 'my-repoclosure'").unwrap().projects[0].required.len(), 2);
}

/// A test tells the repo it is about, and those of tags, from repos outside by their names.
#[test]
fn a_repo_outside_has_no_name_that_a_repo_of_the_farm_has() {
    let named = |name: &str| {
        let repo = format!("[[project.external-repo]]\nname = '{name}'\nbaseurl = 'https://x'\n");
        parse("sig.toml", &project_of("demo", "hello", &repo))
    };
    for bad in
        ["under-test", "demo9s-hello-1-candidate", "other9-big-hello-2.1-release", "my-sig10s-a-1-testing"]
    {
        let fault = named(bad).unwrap_err().faults.remove(0);
        assert_eq!(fault.line, Some(9), "{bad}");
        assert_eq!(fault.what, format!("external repo {bad} has a name that only repos of the farm have"));
        assert!(fault.fix.contains("call it otherwise") && fault.fix.contains("`inherit`"), "{}", fault.fix);
    }
    for good in ["crb", "epel9-testing", "epel-next-testing", "under-tests", "ceph-18-el9s-release"] {
        assert!(named(good).is_ok(), "{good}");
    }
}

fn project_of(sig: &str, project: &str, extra: &str) -> String {
    format!(
        "name = '{sig}'\n[[project]]\nname = '{project}'\nrelease = '1'\ndist = '9s'\narches = ['x86_64']\n\
         packages = ['{sig}-{project}']\n{extra}\n"
    )
}

/// What applying the last template says, when the others are applied already.
fn clash(templates: &[String]) -> String {
    let all = community(&templates.iter().map(String::as_str).collect::<Vec<_>>());
    let text = templates.last().unwrap();
    locate("new.toml", text, all.check().unwrap_err()).to_string()
}

#[test]
fn a_branch_has_one_owner() {
    let foreign = clash(&[
        project_of("storage", "gluster", ""),
        project_of("cloud", "nova", "branches = ['c9s-sig-storage-gluster']"),
    ]);
    assert!(foreign.contains("new.toml:8: branch c9s-sig-storage-gluster is claimed by"), "{foreign}");
    assert!(foreign.contains("does not belong to SIG cloud but to SIG storage"), "{foreign}");

    let one_sig = clash(&[format!(
        "{}[[project]]\nname = 'gluster'\nrelease = '2'\ndist = '9s'\narches = ['x86_64']\npackages = []\n",
        project_of("storage", "gluster", "")
    )]);
    assert!(
        one_sig.contains("claimed by storage9s-gluster-1-el9s and by storage9s-gluster-2-el9s"),
        "{one_sig}"
    );

    let distribution = clash(&[project_of("storage", "gluster", "branches = ['c9s']")]);
    assert!(distribution.contains("branch c9s does not belong to SIG storage"), "{distribution}");

    // The SIG that comes later takes the branch away from the one whose name it begins with.
    let longer = clash(&[project_of("a", "b", ""), project_of("a-b", "c", "")]);
    assert!(longer.contains("branch c9s-sig-a-b does not belong to SIG a but to SIG a-b"), "{longer}");
}

#[test]
fn a_package_has_one_owner() {
    let said = clash(&[
        project_of("storage", "gluster", ""),
        project_of("cloud", "nova", "").replace("cloud-nova", "storage-gluster"),
    ]);
    assert!(said.contains("new.toml:7: package storage-gluster is claimed by SIG"), "{said}");
    let shared = "[[project]]\nname = 'gluster'\nrelease = '2'\ndist = '10s'\narches = ['x86_64']\n\
                  packages = ['storage-gluster']\n";
    community(&[&format!("{}{shared}", project_of("storage", "gluster", ""))]).check().unwrap();
}

#[test]
fn tags_have_one_owner() {
    let first = project_of("a", "b9s-c", "");
    let second = project_of("a9s-b", "c", "");
    // a9s-b9s-c-1 is what both would begin with.
    let said = clash(&[first, second]);
    assert!(said.contains("would both own the tags a9s-b9s-c-1-*"), "{said}");
}

#[test]
fn what_is_inherited_exists_and_does_not_go_round() {
    let unknown = clash(&[project_of("cloud", "nova", "inherit = ['storage9s-gluster-1-release']")]);
    assert!(
        unknown.contains("new.toml:8: cloud9s-nova-1-el9s inherits tag storage9s-gluster-1-release, which no applied SIG has"),
        "{unknown}"
    );
    let circle = clash(&[
        project_of("a", "x", "inherit = ['b9s-x-1-release']"),
        project_of("b", "x", "inherit = ['c9s-x-1-testing']"),
        project_of("c", "x", "inherit = ['a9s-x-1-candidate']"),
    ]);
    assert!(circle.contains("a9s-x-1 -> b9s-x-1 -> c9s-x-1 -> a9s-x-1"), "{circle}");
    assert!(circle.contains("new.toml:8:"), "{circle}");
    let own = clash(&[project_of("a", "x", "inherit = ['a9s-x-1-testing']")]);
    assert!(own.contains("goes round in a circle"), "{own}");
}
