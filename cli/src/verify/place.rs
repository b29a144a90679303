//! A public tree, wherever it is: behind HTTP, or on a disk. Everything that is read from it is bounded, and nothing it says
//! leads out of it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Method, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use crate::client::{install_tls, root_cause};
use crate::failure::Failure;

/// How long a connection may take to be made, and a server may say nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes a list of a folder's entries may have.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;
/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// A folder of a public tree.
#[derive(Debug, Clone)]
pub struct Place {
    root: Root,
    /// Parts of a path below the root.
    inner: Vec<String>,
}

#[derive(Debug, Clone)]
enum Root {
    Http { client: reqwest::Client, url: Url },
    Disk(PathBuf),
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Missing,
    /// It is larger than it may be.
    TooLarge(u64),
    /// Its server cannot be reached.
    Unreachable(String),
    /// Something else.
    Unreadable(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Missing => f.write_str("it is missing"),
            Fault::TooLarge(most) => write!(f, "it has more than {most} bytes"),
            Fault::Unreachable(why) => write!(f, "its server cannot be reached: {why}"),
            Fault::Unreadable(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Fault::Missing,
            _ => Fault::Unreadable(error.to_string()),
        }
    }
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        let why = root_cause(&error);
        if error.is_connect() { Fault::Unreachable(why) } else { Fault::Unreadable(why) }
    }
}

/// The parts of a relative path that leads nowhere but down, or why it is none. A stranger has written it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parts(path: &str) -> Result<Vec<&str>, String> {
    let unsafe_part = |part: &&str| part.is_empty() || part.starts_with('.');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~^/".contains(c);
    let shown: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
    if path.len() > 4096 || !path.chars().all(is_plain) {
        return Err(format!("the path `{shown}` has characters that a path in a repo has no use for"));
    }
    let parts: Vec<&str> = path.split('/').collect();
    match parts.iter().find(|part| unsafe_part(part)) {
        Some(_) => Err(format!("the path `{shown}` leads out of the repo, or to what is hidden")),
        None => Ok(parts),
    }
}

impl Place {
    /// The folder at an address (`https://…`, `file:///…`), or at a path of this machine.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is neither.
    pub fn open(text: &str) -> Result<Place, Failure> {
        let no = |what: String| {
            Failure::usage(what, "give a folder of a public tree, such as https://HOST/repos/")
        };
        let root = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                install_tls();
                let client = reqwest::Client::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(SILENCE)
                    .user_agent(concat!("grange-verify/", env!("CARGO_PKG_VERSION")))
                    .build()
                    .map_err(|error| {
                        Failure::Local(anyhow::Error::new(error).context("cannot set up HTTP"))
                    })?;
                let mut url = url;
                url.set_query(None);
                url.set_fragment(None);
                Root::Http { client, url }
            }
            Ok(url) if url.scheme() == "file" => Root::Disk(
                url.to_file_path().map_err(|()| no(format!("`{text}` names no file of this machine")))?,
            ),
            // `C:` and such are no schemes that mean anything here; a path is.
            _ if Path::new(text).is_dir() => Root::Disk(PathBuf::from(text)),
            _ => {
                return Err(no(format!(
                    "`{text}` is no http, https or file address, and no folder of this machine"
                )));
            }
        };
        Ok(Place { root, inner: Vec::new() })
    }

    /// A folder below this one.
    #[must_use]
    pub fn below(&self, parts: &[&str]) -> Place {
        let mut place = self.clone();
        place.inner.extend(parts.iter().map(|part| (*part).to_owned()));
        place
    }

    /// The folder that this one is in, if it is within what was opened or can be told from its address.
    #[must_use]
    pub fn parent(&self) -> Option<Place> {
        let mut place = self.clone();
        if place.inner.pop().is_some() {
            return Some(place);
        }
        match &mut place.root {
            Root::Http { url, .. } => {
                url.path_segments_mut().ok()?.pop_if_empty().pop();
            }
            Root::Disk(path) => *path = path.parent()?.to_owned(),
        }
        Some(place)
    }

    /// The parts of its address or path, the last of which names the folder.
    #[must_use]
    pub fn segments(&self) -> Vec<String> {
        let mut all: Vec<String> = match &self.root {
            Root::Http { url, .. } => url
                .path_segments()
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            Root::Disk(path) => {
                path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
            }
        };
        all.extend(self.inner.iter().cloned());
        all
    }

    /// Where a file in it is, for people.
    #[must_use]
    pub fn shown(&self, path: &str) -> String {
        let inner: Vec<&str> =
            self.inner.iter().map(String::as_str).chain([path]).filter(|part| !part.is_empty()).collect();
        inner.join("/")
    }

    /// A file of at most so many bytes.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn read(&self, path: &str, most: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.each_piece(path, most, async |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }

    /// Copies a file of at most so many bytes to this machine.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn save(&self, path: &str, most: u64, to: &Path) -> Result<(), Fault> {
        let mut file = tokio::fs::File::create(to).await?;
        self.each_piece(path, most, async |piece| Ok(file.write_all(piece).await?)).await?;
        Ok(file.flush().await?)
    }

    /// How many bytes a file has, without reading it; `None` where its server does not say.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn size(&self, path: &str) -> Result<Option<u64>, Fault> {
        match &self.root {
            Root::Http { .. } => {
                let answer = self.call(Method::HEAD, path).await?;
                let length = answer.headers().get(reqwest::header::CONTENT_LENGTH);
                Ok(length.and_then(|length| length.to_str().ok()).and_then(|length| length.parse().ok()))
            }
            Root::Disk(_) => {
                let meta = tokio::fs::metadata(self.on_disk(path)?).await?;
                if meta.is_file() { Ok(Some(meta.len())) } else { Err(Fault::Missing) }
            }
        }
    }

    /// The names of what is in a folder that could be names of repos, sorted. A web server tells them with a page of links.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let mut names: Vec<String> = match &self.root {
            Root::Http { .. } => {
                let page = self.read(&format!("{folder}/"), LARGEST_LIST).await?;
                links(&String::from_utf8_lossy(&page))
            }
            Root::Disk(_) => {
                let mut entries = tokio::fs::read_dir(self.on_disk(folder)?).await?;
                let mut names = Vec::new();
                while let Some(entry) = entries.next_entry().await? {
                    names.extend(entry.file_name().into_string());
                }
                names
            }
        };
        names.retain(|name| parts(name).is_ok_and(|parts| parts.len() == 1));
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn each_piece(
        &self,
        path: &str,
        most: u64,
        mut take: impl AsyncFnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut left = most;
        let mut count = |piece: &[u8]| {
            left = left.checked_sub(piece.len() as u64).ok_or(Fault::TooLarge(most))?;
            Ok::<(), Fault>(())
        };
        match &self.root {
            Root::Http { .. } => {
                let mut pieces = self.call(Method::GET, path).await?.bytes_stream();
                while let Some(piece) = pieces.next().await {
                    let piece = piece?;
                    count(&piece)?;
                    take(&piece).await?;
                }
            }
            Root::Disk(_) => {
                let path = self.on_disk(path)?;
                // A pipe in the place of a file would keep whoever opens it waiting for ever.
                if !tokio::fs::metadata(&path).await?.is_file() {
                    return Err(Fault::Missing);
                }
                let mut file = tokio::fs::File::open(&path).await?;
                let mut chunk = vec![0; CHUNK];
                loop {
                    let read = file.read(&mut chunk).await?;
                    if read == 0 {
                        break;
                    }
                    count(&chunk[..read])?;
                    take(&chunk[..read]).await?;
                }
            }
        }
        Ok(())
    }

    async fn call(&self, method: Method, path: &str) -> Result<Response, Fault> {
        let Root::Http { client, url } = &self.root else { return Err(Fault::Missing) };
        let mut url = url.clone();
        let is_folder = path.ends_with('/');
        let below = parts(path.trim_end_matches('/')).map_err(Fault::Unreadable)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.inner).extend(below);
            if is_folder {
                segments.push("");
            }
        }
        let answer = client.request(method, url).send().await?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Fault::Missing),
            status if status.is_server_error() => Err(Fault::Unreachable(format!("it answered {status}"))),
            status => Err(Fault::Unreadable(format!("its server answered {status}"))),
        }
    }

    fn on_disk(&self, path: &str) -> Result<PathBuf, Fault> {
        let Root::Disk(root) = &self.root else { return Err(Fault::Missing) };
        let mut place = root.clone();
        place.extend(&self.inner);
        place.extend(parts(path).map_err(Fault::Unreadable)?);
        Ok(place)
    }
}

/// What a page links to in its own folder.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    targets
        .map(|target| target.strip_prefix("./").unwrap_or(target))
        .map(|target| target.strip_suffix('/').unwrap_or(target).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_down_or_is_refused() {
        assert_eq!(parts("Packages/h/0a/hello-1.0~rc1^git+x-1.el9s.x86_64.rpm").unwrap().len(), 4);
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/./b",
            "a\\b",
            "a b",
            "a?b",
            "a%2e%2e/b",
            "http://x/y",
            ".hidden",
        ] {
            assert!(parts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_of_links_is_read_whoever_made_it() {
        let page = "<a href=\"../\">up</a> <a href='one-1-release/'>one</a><a href=\"./two\">two</a><a href=\"https://else/x\">x</a>";
        let mut names = links(page);
        names.retain(|name| parts(name).is_ok_and(|parts| parts.len() == 1));
        assert_eq!(names, ["one-1-release", "two"]);
    }
}
