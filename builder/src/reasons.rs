//! Finds the one sentence in a log that tells a maintainer what went wrong.

use farm::recipe::Limits;

/// What tools say when they give up.
const COMPLAINTS: [&str; 8] =
    ["error:", "error ", "fatal:", "fail:", "failed", "no such file", "not found", "undefined reference"];

/// Characters of a sentence that are shown.
const LONGEST: usize = 240;

/// Limits that a program runs into by itself, as it says so at the end of its log. `None` if it says nothing such.
pub(crate) fn broken_limit(tail: &str, limits: &Limits) -> Option<String> {
    let says = |words: &str| tail.lines().rev().take(400).any(|line| line.contains(words));
    if says("No space left on device") {
        Some(format!("no space left on the build's disk (limit {} MiB)", limits.disk_mb))
    } else if says("Resource temporarily unavailable") || says("fork: retry") {
        Some(format!("reached the limit of {} processes", limits.pids))
    } else if tail.lines().any(was_killed) {
        Some(format!("out of memory (limit {} MiB), most likely: a process was killed", limits.memory_mb))
    } else {
        None
    }
}

/// Is this how bash reports a command that got the signal KILL, "file: line 7:  42 Killed  python3"? Engines do not
/// always say that the kernel killed something.
fn was_killed(line: &str) -> bool {
    let Some((_, rest)) = line.split_once(": line ") else { return false };
    let mut words = rest.split_whitespace();
    words.next().is_some_and(|number| number.ends_with(':'))
        && words.next().is_some_and(|process| process.bytes().all(|byte| byte.is_ascii_digit()))
        && words.next() == Some("Killed")
}

/// Why rpmbuild failed, from the end of its log, whose name is `log`.
pub(crate) fn rpmbuild(tail: &str, log: &str) -> String {
    let lines: Vec<&str> = tail.lines().collect();
    if let Some((at, section)) = bad_exit(&lines) {
        let cause = cause(&lines[..at]).map(|line| format!(": {line}")).unwrap_or_default();
        return format!("rpmbuild failed in {section}{cause}; see {log}");
    }
    let Some(at) = lines.iter().position(|line| line.starts_with("error: ")) else {
        let last = last(&lines).map(|line| format!(": {line}")).unwrap_or_default();
        return format!("rpmbuild failed{last}; see {log}");
    };
    let error = lines[at].trim_start_matches("error: ");
    // "error: Failed build dependencies:" and its like are explained by the indented line below.
    let detail = if error.trim_end().ends_with(':') { lines.get(at + 1).copied().unwrap_or("") } else { "" };
    format!("{}; see {log}", sentence(&format!("{} {}", error.trim(), detail.trim())))
}

/// Why dnf failed, and whether the packages are to blame (otherwise: the repos, hence the farm).
pub(crate) fn dnf(tail: &str, log: &str) -> Result<String, String> {
    const SPACE: [&str; 2] = ["No space left on device", "more space needed on"];
    const REPOS: [&str; 5] = [
        "Failed to download metadata",
        "Errors during downloading metadata",
        "Cannot download repomd.xml",
        "Failed to synchronize cache",
        "Error: Error downloading packages",
    ];
    const PACKAGES: [&str; 5] = [
        "nothing provides ",
        "No matching package to install",
        "No match for argument",
        "conflicting requests",
        "conflicts with",
    ];
    let find = |marks: &[&str]| marks.iter().find_map(|mark| tail.lines().find(|line| line.contains(mark)));
    if let Some(line) = find(&SPACE) {
        return Err(format!("dnf has no room for what it installs: {}; see {log}", sentence(line)));
    }
    if let Some(line) = find(&REPOS) {
        return Err(format!(
            "dnf cannot read a repo: {}; see {log}",
            sentence(line.trim_start_matches("Error: ").trim_start_matches("yield: "))
        ));
    }
    let explained = find(&PACKAGES).or_else(|| tail.lines().find(|line| line.starts_with("Error: ")));
    match explained {
        Some(line) => {
            let line = line.trim_start_matches(|c: char| !c.is_alphabetic());
            let line = line.trim_start_matches("Error: ").trim_start_matches("Problem: ");
            Ok(format!("{}; see {log}", sentence(line)))
        }
        None => {
            let lines: Vec<&str> = tail.lines().collect();
            Err(format!(
                "dnf failed: {}; see {log}",
                last(&lines).unwrap_or_else(|| "it said nothing".to_owned())
            ))
        }
    }
}

/// Where rpmbuild says which section's script failed, and which.
fn bad_exit<'a>(lines: &[&'a str]) -> Option<(usize, &'a str)> {
    let at = lines.iter().position(|line| line.trim_start().starts_with("error: Bad exit status from"))?;
    let section = lines[at].rsplit_once('(')?.1.trim_end().strip_suffix(')')?;
    Some((at, section))
}

/// The line that most likely caused a section to fail: the first since the section began that complains.
fn cause(lines: &[&str]) -> Option<String> {
    let begin = lines.iter().rposition(|line| line.starts_with("Executing(")).map_or(0, |at| at + 1);
    // The shell's own trace quotes commands, not complaints.
    let said: Vec<&str> = lines[begin..].iter().filter(|line| !line.starts_with('+')).copied().collect();
    let complaint = |line: &&&str| {
        let line = line.to_ascii_lowercase();
        COMPLAINTS.iter().any(|word| line.contains(word))
    };
    said.iter().find(complaint).map(|line| sentence(line)).or_else(|| last(&said))
}

/// Why a suite failed that ended with `code`: what it said last.
pub(crate) fn suite(tail: &str, code: i64, log: &str) -> String {
    let said = last(&tail.lines().collect::<Vec<_>>()).map(|line| format!(": {line}")).unwrap_or_default();
    format!("run.sh ended with {code}{said}; see {log}")
}

fn last(lines: &[&str]) -> Option<String> {
    lines.iter().rev().find(|line| !line.trim().is_empty()).map(|line| sentence(line))
}

/// One line, printable and of bounded length.
fn sentence(line: &str) -> String {
    let printable: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    match clean.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &clean[..at]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rpmbuild_is_quoted_by_what_a_maintainer_can_use() {
        for (log, expected) in [
            (
                "Executing(%prep): x\n+ cd /builddir\nExecuting(%build): /bin/sh -e /var/tmp/rpm-tmp.a\n+ make error=1\n\
                 cc -c hello.c\nhello.c:3:5: error: expected ';' before '}' token\nmake: *** [Makefile:2: all] Error 1\n\
                 error: Bad exit status from /var/tmp/rpm-tmp.a (%build)\n\nRPM build errors:\n    Bad exit status\n",
                "rpmbuild failed in %build: hello.c:3:5: error: expected ';' before '}' token; see build.log",
            ),
            (
                "Executing(%check): x\n+ sh t\nit is wrong\n+ exit 1\nerror: Bad exit status from /var/tmp/rpm-tmp.b (%check)\n",
                "rpmbuild failed in %check: it is wrong; see build.log",
            ),
            (
                "warning: x\nerror: line 3: Unknown tag: Nmae: hello\n",
                "line 3: Unknown tag: Nmae: hello; see build.log",
            ),
            (
                "error: Failed build dependencies:\n\tfoo-devel is needed by hello-1-1.x86_64\n",
                "Failed build dependencies: foo-devel is needed by hello-1-1.x86_64; see build.log",
            ),
            (
                "error: Installed (but unpackaged) file(s) found:\n   /usr/bin/x\n\n\nRPM build errors:\n",
                "Installed (but unpackaged) file(s) found: /usr/bin/x; see build.log",
            ),
            ("Segmentation fault\n\n", "rpmbuild failed: Segmentation fault; see build.log"),
            ("", "rpmbuild failed; see build.log"),
        ] {
            assert_eq!(rpmbuild(log, "build.log"), expected);
        }
    }

    #[test]
    fn dnf_is_quoted_and_the_blame_goes_where_it_belongs() {
        assert_eq!(
            dnf(
                "x\nError: \n Problem: nothing provides libfoo.so.1 needed by bar-1-1.x86_64 from base\n",
                "root.log"
            ),
            Ok("nothing provides libfoo.so.1 needed by bar-1-1.x86_64 from base; see root.log".to_owned())
        );
        assert_eq!(
            dnf(
                "No matching package to install: 'foo-devel'\nError: Some packages could not be found.\n",
                "root.log"
            ),
            Ok("No matching package to install: 'foo-devel'; see root.log".to_owned())
        );
        let repo = "Error: Failed to download metadata for repo 'base': Cannot download repomd.xml: x\n";
        assert!(dnf(repo, "root.log").unwrap_err().starts_with("dnf cannot read a repo: Failed to download"));
        assert!(dnf("Traceback\nRuntimeError: x\n", "root.log").unwrap_err().contains("RuntimeError: x"));
    }

    #[test]
    fn broken_limits_are_named_with_their_numbers() {
        let limits = Limits::default();
        let disk = broken_limit("cp: error writing 'x': No space left on device\nmore\n", &limits);
        assert_eq!(disk.unwrap(), "no space left on the build's disk (limit 3072 MiB)");
        let fork = broken_limit("/bin/sh: fork: retry: Resource temporarily unavailable\n", &limits);
        assert_eq!(fork.unwrap(), "reached the limit of 512 processes");
        let killed = broken_limit(
            "/var/tmp/rpm-tmp.x: line 31:    12 Killed                  python3 <<'EOF'",
            &limits,
        );
        assert!(killed.unwrap().contains("out of memory (limit 4096 MiB), most likely"));
        assert_eq!(broken_limit("line 3: Killed the cat: line 7: x\nall is well", &limits), None);
    }

    #[test]
    fn sentences_are_short_and_printable() {
        let long = "ä".repeat(1000);
        assert_eq!(sentence(&long).chars().count(), LONGEST + 1);
        assert_eq!(sentence("\u{1b}[31mred\t"), "[31mred");
    }
}
