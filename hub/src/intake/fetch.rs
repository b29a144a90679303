//! Fetching a commit from another git server, by git itself, into a cache.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use farm::digest::Digest;
use farm::sig::template::is_branch;
use tokio::process::Command;
use url::Url;

use crate::files::{At as _, FileError, blocking, ensure_dir};

/// What git may inherit from the hub: how to reach servers, and nothing that changes what it does.
const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "no_proxy",
    "NO_PROXY",
];
/// How long to wait before looking again whether another fetch of the same repo is over.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want<'a> {
    /// A branch's newest commit.
    Branch(&'a str),
    /// A commit by its full id.
    Commit(&'a str),
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The cached bare repo, which has the commit (but not its history).
    pub repo: PathBuf,
    /// The full commit id.
    pub commit: String,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL git may be given.
    #[error("`{url}` is not a clone URL that can be built from: {why}")]
    BadUrl {
        /// What was given, without a password.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A server nobody allowed.
    #[error(
        "building from {url} is not allowed here; an admin can add its server to the hub's `git_prefixes`"
    )]
    NotAllowed {
        /// What was given.
        url: String,
    },
    /// Neither a branch nor a full commit id.
    #[error("`{0}` is neither a branch name nor a full commit id of 40 digits")]
    BadWant(String),
    /// It took too long.
    #[error("fetching {url} took longer than {seconds} s; try again later")]
    TimedOut {
        /// From where.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// git said no.
    #[error("{want} cannot be fetched from {url}: {said}")]
    Git {
        /// From where.
        url: String,
        /// The branch or commit.
        want: String,
        /// git's last words.
        said: String,
    },
    /// The cache's disk failed, or there is no git.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// Fetches a commit into the cache below `cache`. The URL must begin with one of `allowed`; `file:` too is allowed only so.
/// A commit that is in the cache already is not fetched again. Fetches of one repo wait for each other.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch(
    url: &str,
    allowed: &[String],
    cache: &Path,
    want: Want<'_>,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let url = checked(url, allowed)?;
    let refspec = match want {
        Want::Branch(branch) if is_branch(branch) => format!("+refs/heads/{branch}:refs/heads/{branch}"),
        Want::Commit(id) if is_commit(id) => format!("+{id}:refs/grange/{id}"),
        Want::Branch(text) | Want::Commit(text) => {
            return Err(FetchError::BadWant(text.chars().take(128).collect()));
        }
    };
    let seconds = timeout.as_secs();
    let shown = url.to_string();
    let work = fetch_checked(&url, cache, want, &refspec, timeout);
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(FetchError::TimedOut { url: shown, seconds }))
}

async fn fetch_checked(
    url: &Url,
    cache: &Path,
    want: Want<'_>,
    refspec: &str,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let repo = cache.join(format!("{}.git", Digest::of(url.as_str().as_bytes())));
    let _lock = lock(&repo, timeout).await?;
    let git = Git { url, repo: &repo };
    if !repo.join("HEAD").is_file() {
        git.must(&["init", "--quiet", "--bare"], "the cache").await?;
    }
    let (tip, name) = match want {
        Want::Branch(branch) => (format!("refs/heads/{branch}^{{commit}}"), branch),
        Want::Commit(id) => (format!("{id}^{{commit}}"), id),
    };
    let resolve = ["rev-parse", "--verify", "--quiet", "--end-of-options", tip.as_str()];
    let is_cached = matches!(want, Want::Commit(_)) && git.run(&resolve).await?.status.success();
    if !is_cached {
        let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force"];
        let direct = [&fetch[..], &["--depth=1", "--", url.as_str(), refspec]].concat();
        let output = git.run(&direct).await?;
        if !output.status.success() {
            match want {
                Want::Branch(_) => return Err(git.refused(name, &output)),
                // Servers need not give out commits by id; then it is looked for in the branches, with their history.
                Want::Commit(_) => {
                    let all = [&fetch[..], &["--", url.as_str(), "+refs/heads/*:refs/heads/*"]].concat();
                    git.must(&all, name).await?;
                }
            }
        }
    }
    let output = git.must(&resolve, name).await?;
    Ok(Fetched { commit: String::from_utf8_lossy(&output.stdout).trim().to_owned(), repo })
}

struct Git<'a> {
    url: &'a Url,
    repo: &'a Path,
}

impl Git<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<Output, FetchError> {
        ensure_dir(self.repo)?;
        let settings = [
            "protocol.version=2",
            // A redirect could lead to a server nobody allowed.
            "http.followRedirects=false",
            "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=30",
            "core.hooksPath=/dev/null",
            "credential.helper=",
            "gc.autoDetach=false",
            "maintenance.autoDetach=false",
        ];
        let mut command = Command::new("git");
        command.env_clear().envs(INHERITED.iter().filter_map(|key| Some((key, std::env::var_os(key)?))));
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
            .env("GIT_ALLOW_PROTOCOL", self.url.scheme())
            .env("LC_ALL", "C")
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .arg("--git-dir")
            .arg(self.repo)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command.output().await.at("run git in", self.repo)?)
    }

    async fn must(&self, arguments: &[&str], want: &str) -> Result<Output, FetchError> {
        let output = self.run(arguments).await?;
        if output.status.success() { Ok(output) } else { Err(self.refused(want, &output)) }
    }

    fn refused(&self, want: &str, output: &Output) -> FetchError {
        let words = String::from_utf8_lossy(&output.stderr);
        let said = words.lines().rfind(|line| line.starts_with("fatal:") || line.starts_with("error:"));
        let said = said.map_or("git found no such commit there", |line| {
            line.trim_start_matches("fatal: ").trim_start_matches("error: ")
        });
        FetchError::Git {
            url: self.url.to_string(),
            want: want.to_owned(),
            said: said.chars().take(300).collect(),
        }
    }
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Parses a URL and compares it with what is allowed.
fn checked(text: &str, allowed: &[String]) -> Result<Url, FetchError> {
    let shown: String = text.chars().take(300).collect();
    let bad = |why| Err(FetchError::BadUrl { url: shown.clone(), why });
    let Ok(url) = Url::parse(text) else {
        return bad("it does not begin with https://, http://, ssh:// or git://");
    };
    if !["http", "https", "ssh", "git", "file"].contains(&url.scheme()) {
        return bad("it does not begin with https://, http://, ssh:// or git://");
    }
    if url.password().is_some() {
        let mut url = url.clone();
        let _ = url.set_password(None);
        return Err(FetchError::BadUrl { url: url.to_string(), why: "it has a password in it" });
    }
    if text != url.as_str() || text.contains(|c: char| c.is_control() || c == '%' || c == '\\') {
        return bad("it has unusual characters, `..` or an unusual spelling in it");
    }
    if url.scheme() != "file" && url.host_str().is_none_or(|host| host.is_empty() || host.starts_with('-')) {
        return bad("it names no server");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return bad("it has `?` or `#` in it");
    }
    // `https://git.example.org` must not allow `https://git.example.org.evil`.
    let is_below = |prefix: &String| {
        let prefix = prefix.trim_end_matches('/');
        prefix.contains("://")
            && text.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if allowed.iter().any(is_below) { Ok(url) } else { Err(FetchError::NotAllowed { url: shown }) }
}

/// Waits until no other fetch, of this or another process, is at this repo.
async fn lock(repo: &Path, timeout: Duration) -> Result<std::fs::File, FetchError> {
    let path = repo.with_extension("lock");
    let start = Instant::now();
    let file = blocking(move || {
        if let Some(parent) = path.parent() {
            ensure_dir(parent)?;
        }
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .at("open the lock", &path)
    })
    .await?;
    while start.elapsed() < timeout && file.try_lock().is_err() {
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
