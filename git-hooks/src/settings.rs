//! Where the hub is, who pushes and which repo: from the environment on the hub's own git server, from
//! `grange-hooks.toml` on any other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use farm::sig::template::is_repo_path;
use serde::Deserialize;

/// The file's name in a bare repo or a folder above it.
pub const FILE_NAME: &str = "grange-hooks.toml";
/// The file for a whole machine.
pub const MACHINE_FILE: &str = "/etc/grange/hooks.toml";
/// How many folders above the repo are looked into for [`FILE_NAME`].
const PARENTS_SEARCHED: usize = 4;
/// How long the hub may take to answer, unless it is said otherwise: a person waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many reports are kept while the hub is down, unless the file says otherwise.
const SPOOL_LIMIT: usize = 10_000;
/// Where reports are kept on a machine whose file names no other place.
const MACHINE_SPOOL: &str = "/var/spool/grange-hooks";
/// Variables that name the pusher: gitolite, smart HTTP behind a web server, Gitea and Forgejo, and our own.
const PERSON_VARIABLES: [&str; 4] = ["GL_USER", "REMOTE_USER", "GITEA_PUSHER_NAME", "GRANGE_PERSON"];

/// Everything a hook needs to know about its surroundings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's address, without a slash at its end.
    pub hub: String,
    /// Where the rules come from.
    pub policy: PolicySource,
    /// The folder where reports wait for the hub.
    pub spool: PathBuf,
    /// How many may wait there.
    pub spool_limit: usize,
    /// How long the hub may take to answer.
    pub timeout: Duration,
    token: Token,
    person_variables: Vec<String>,
    place: Place,
}

/// Where the rules come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicySource {
    /// A file that the hub writes beside the repos it serves itself.
    File(PathBuf),
    /// The hub; its last answer is kept in this file for when it is down.
    Hub {
        /// The file.
        cache: PathBuf,
    },
}

/// Which repo is pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoName {
    /// `rpms/hello`
    pub path: String,
    /// What the hub knows it by: its path on the hub's own git server, its clone URL elsewhere.
    pub address: String,
}

/// The hub knows the hook by a secret.
#[derive(Debug, Clone)]
enum Token {
    Given(Option<String>),
    File(PathBuf),
}

/// How the repo is told.
#[derive(Debug, Clone)]
enum Place {
    /// The hub's git server says it.
    Told(Option<String>),
    /// It is where it lies below a folder.
    Below { root: PathBuf, url: Option<String> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    hub: String,
    token_file: PathBuf,
    root: PathBuf,
    #[serde(default)]
    repo_url: Option<String>,
    #[serde(default)]
    person_env: Option<Vec<String>>,
    #[serde(default)]
    spool: Option<PathBuf>,
    #[serde(default)]
    spool_limit: Option<usize>,
    #[serde(default)]
    policy_cache: Option<PathBuf>,
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

impl Settings {
    /// Reads the surroundings of a hook that runs in `git_dir`. When `GRANGE_HUB` is set the environment speaks alone and
    /// no file is read: the hub's own git server sets it for each push.
    ///
    /// # Errors
    /// When there is neither, or the file cannot be read; one sentence an operator can act on.
    pub fn read(git_dir: &Path) -> anyhow::Result<Settings> {
        match variable("GRANGE_HUB") {
            Some(hub) => Self::from_environment(&hub, git_dir),
            None => Self::from_file(&find_file(git_dir)?),
        }
    }

    fn from_environment(hub: &str, git_dir: &Path) -> anyhow::Result<Settings> {
        let path = |name: &str| variable(name).map(PathBuf::from);
        Ok(Settings {
            hub: address(hub).context("GRANGE_HUB")?,
            policy: path("GRANGE_POLICY").map_or_else(
                || PolicySource::Hub { cache: git_dir.join("grange-policy.json") },
                PolicySource::File,
            ),
            spool: path("GRANGE_SPOOL").unwrap_or_else(|| git_dir.join("grange-spool")),
            spool_limit: SPOOL_LIMIT,
            timeout: variable("GRANGE_TIMEOUT_MS").map_or(Ok(TIMEOUT), |text| milliseconds(&text))?,
            token: Token::Given(variable("GRANGE_HOOK_TOKEN")),
            person_variables: vec!["GRANGE_PERSON".to_owned()],
            place: Place::Told(variable("GRANGE_REPO")),
        })
    }

    fn from_file(path: &Path) -> anyhow::Result<Settings> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: File = toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let hub = address(&file.hub).with_context(|| format!("{}: `hub`", path.display()))?;
        if file.repo_url.as_ref().is_some_and(|template| !template.contains("{repo}")) {
            bail!(
                "{}: `repo-url` must contain {{repo}}, such as \"https://git.example.org/{{repo}}.git\"",
                path.display()
            );
        }
        let spool = file.spool.unwrap_or_else(|| PathBuf::from(MACHINE_SPOOL));
        Ok(Settings {
            hub,
            policy: PolicySource::Hub {
                cache: file.policy_cache.unwrap_or_else(|| spool.join("policy.cache")),
            },
            spool,
            spool_limit: file.spool_limit.unwrap_or(SPOOL_LIMIT),
            timeout: file.timeout_seconds.map_or(TIMEOUT, Duration::from_secs),
            token: Token::File(file.token_file),
            person_variables: file.person_env.unwrap_or_else(|| PERSON_VARIABLES.map(str::to_owned).to_vec()),
            place: Place::Below { root: file.root, url: file.repo_url },
        })
    }

    /// The secret the hub knows this git server by.
    ///
    /// # Errors
    /// When there is none, or its file cannot be read.
    pub fn token(&self) -> anyhow::Result<String> {
        let token = match &self.token {
            Token::Given(token) => token.clone().context("GRANGE_HOOK_TOKEN is not set")?,
            Token::File(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the token file {}", path.display()))?
                .trim()
                .to_owned(),
        };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("the hook's token is not one line of visible characters");
        }
        Ok(token)
    }

    /// Who pushes.
    ///
    /// # Errors
    /// When the git server does not say.
    pub fn person(&self) -> anyhow::Result<String> {
        self.person_variables.iter().find_map(|name| variable(name)).ok_or_else(|| {
            anyhow!(
                "the git server does not say who pushes: none of {} is set",
                self.person_variables.join(", ")
            )
        })
    }

    /// Which repo is pushed to.
    ///
    /// # Errors
    /// When it lies outside the configured root, or its path is none the hub would take.
    pub fn repo(&self, git_dir: &Path) -> anyhow::Result<RepoName> {
        let (path, url) = match &self.place {
            Place::Told(path) => (path.clone().context("GRANGE_REPO is not set")?, None),
            Place::Below { root, url } => (path_below(root, git_dir)?, url.as_ref()),
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        if !is_repo_path(&path) {
            bail!(
                "`{path}` is no repo the farm knows: it takes packages below rpms/ and suites below tests/"
            );
        }
        let address = url.map_or_else(|| path.clone(), |template| template.replace("{repo}", &path));
        Ok(RepoName { path, address })
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn milliseconds(text: &str) -> anyhow::Result<Duration> {
    let number = text.parse().with_context(|| format!("GRANGE_TIMEOUT_MS: `{text}` is no number"))?;
    Ok(Duration::from_millis(number))
}

fn address(text: &str) -> anyhow::Result<String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        bail!("`{text}` is not an address: it begins with http:// or https://");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn find_file(git_dir: &Path) -> anyhow::Result<PathBuf> {
    if let Some(named) = variable("GRANGE_HOOKS_CONFIG") {
        return Ok(PathBuf::from(named));
    }
    git_dir
        .ancestors()
        .take(PARENTS_SEARCHED + 1)
        .map(|folder| folder.join(FILE_NAME))
        .chain([PathBuf::from(MACHINE_FILE)])
        .find(|path| path.exists())
        .ok_or_else(|| {
            anyhow!(
                "the hook is not configured: there is no {FILE_NAME} in {} or above it, and no {MACHINE_FILE}",
                git_dir.display()
            )
        })
}

fn path_below(root: &Path, git_dir: &Path) -> anyhow::Result<String> {
    let root = root.canonicalize().with_context(|| format!("cannot find `root` {}", root.display()))?;
    // A repo with a working tree keeps its git folder inside; its own folder is what bears its name.
    let repo = if git_dir.ends_with(".git") { git_dir.parent().unwrap_or(git_dir) } else { git_dir };
    repo.strip_prefix(&root)
        .ok()
        .and_then(Path::to_str)
        .map(str::to_owned)
        .with_context(|| format!("the repo {} is not below `root` {}", repo.display(), root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_without_options_gets_the_defaults() {
        let (_folder, path) = written(
            "hub = \"https://grange.example.org/\"\ntoken-file = \"/etc/grange/hook-token\"\nroot = \"/srv/git\"\n",
        );
        let settings = Settings::from_file(&path).unwrap();
        assert_eq!(settings.hub, "https://grange.example.org");
        assert_eq!(settings.timeout, Duration::from_secs(5));
        assert_eq!(settings.person_variables, PERSON_VARIABLES);
        assert_eq!(
            settings.policy,
            PolicySource::Hub { cache: PathBuf::from("/var/spool/grange-hooks/policy.cache") }
        );
    }

    #[test]
    fn a_wrong_file_says_what_is_wrong_and_where() {
        for (text, expected) in [
            ("hub = \"https://x\"\ntoken-fil = \"/t\"\n", "token-fil"),
            ("hub = \"https://x\"\n", "token-file"),
            ("hub = \"grange.example.org\"\ntoken-file = \"/t\"\nroot = \"/srv\"\n", "`hub`"),
            (
                "hub = \"https://x\"\ntoken-file = \"/t\"\nroot = \"/srv\"\nrepo-url = \"https://g\"\n",
                "{repo}",
            ),
        ] {
            let (_folder, path) = written(text);
            let said = format!("{:#}", Settings::from_file(&path).unwrap_err());
            assert!(said.contains(expected) && said.contains(FILE_NAME), "{said}");
        }
    }

    #[test]
    fn the_repo_is_where_it_lies_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let place = |url: Option<&str>| Settings {
            hub: "https://x".into(),
            policy: PolicySource::Hub { cache: PathBuf::new() },
            spool: PathBuf::new(),
            spool_limit: 1,
            timeout: Duration::ZERO,
            token: Token::Given(None),
            person_variables: Vec::new(),
            place: Place::Below { root: root.path().to_owned(), url: url.map(str::to_owned) },
        };
        let below = |path: &str| root.path().canonicalize().unwrap().join(path);
        let named = place(Some("https://git.example.org/{repo}.git")).repo(&below("rpms/hello.git")).unwrap();
        assert_eq!((&*named.path, &*named.address), ("rpms/hello", "https://git.example.org/rpms/hello.git"));
        assert_eq!(place(None).repo(&below("rpms/hello.git")).unwrap().address, "rpms/hello");
        assert_eq!(place(None).repo(&below("rpms/hello/.git")).unwrap().path, "rpms/hello");
        assert!(place(None).repo(&below("gitolite-admin.git")).is_err());
        assert!(place(None).repo(Path::new("/elsewhere/rpms/hello.git")).is_err());
    }
}
