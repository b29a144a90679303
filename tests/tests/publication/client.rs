//! Somebody who uses the repos all the time: fetches what a `.repo` file leads to as dnf would, and what is under the paths that
//! people know as any client would. Nothing may ever fail, and what was fetched must be one whole snapshot that was live meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::ledger::Db;
use farm::openpgp::{PublicKey, verify_detached};
use farm::snapshot::{RpmKind, Snapshot};
use tokio::task::JoinSet;

/// Between two visits: others need the processor too.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a repo may move on between its list and the signature of that, in one visit by its plain path.
const REREADS: usize = 50;
/// What is fetched: each repo, its part under the paths people know, and two of its folders.
const REPOS: [(&str, &str); 2] =
    [("demo9s-fruit-1-testing", "buildlogs/centos"), ("demo9s-fruit-1-release", "mirror/SIGs")];
const FOLDERS: [(&str, &str); 2] = [("x86_64", ""), ("source", "-source")];

/// What came of it so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    complaints: Mutex<Vec<String>>,
    /// Whole snapshots that were fetched by way of a metalink.
    fetched: AtomicU64,
    /// The same by their plain paths.
    by_path: AtomicU64,
    /// Visits in which a repo moved on before the signature of its list was read, so that both were read again.
    reread: AtomicU64,
}

impl Seen {
    /// What went wrong since it was asked last.
    pub(crate) fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut *self.complaints.lock().unwrap())
    }

    /// How often what went well.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("fetched by metalink", of(&self.fetched)),
            ("fetched by path", of(&self.by_path)),
            ("read again by path", of(&self.reread)),
        ]
    }
}

/// A client at work, until it is dropped.
pub(crate) struct Client {
    pub(crate) seen: Arc<Seen>,
    _at_work: JoinSet<()>,
}

impl Client {
    /// Begins to fetch from the hub at this address, which shows the public tree in this folder.
    pub(crate) fn begin(front: &str, db: &Db, public: PathBuf) -> Client {
        let seen = Arc::new(Seen::default());
        let http = reqwest::Client::builder().timeout(Duration::from_secs(120)).build().unwrap();
        let mut visitor =
            Visitor { http, front: front.to_owned(), db: db.clone(), public, newest: BTreeMap::new() };
        let mut at_work = JoinSet::new();
        let told = seen.clone();
        at_work.spawn(async move {
            loop {
                visitor.round(&told).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Client { seen, _at_work: at_work }
    }
}

struct Visitor {
    http: reqwest::Client,
    front: String,
    db: Db,
    public: PathBuf,
    /// The newest revision seen of each tag.
    newest: BTreeMap<String, i64>,
}

/// The body of an answer; `None` where there is nothing.
type Fetched = Result<Option<Vec<u8>>, String>;

impl Visitor {
    async fn round(&mut self, seen: &Seen) {
        for (tag, top) in REPOS {
            for (folder, section) in FOLDERS {
                match self.by_metalink(tag, folder, section).await {
                    Ok(true) => _ = seen.fetched.fetch_add(1, Ordering::Relaxed),
                    Ok(false) => {}
                    Err(why) => {
                        seen.complaints.lock().unwrap().push(format!("{tag}/{folder} by metalink: {why}"));
                    }
                }
                match self.by_path(tag, top, folder, seen).await {
                    Ok(true) => _ = seen.by_path.fetch_add(1, Ordering::Relaxed),
                    Ok(false) => {}
                    Err(why) => {
                        seen.complaints.lock().unwrap().push(format!("{tag}/{folder} by its path: {why}"));
                    }
                }
            }
        }
    }

    /// Fetches all that the `.repo` file leads to. Says whether anything was published.
    async fn by_metalink(&mut self, tag: &str, folder: &str, section: &str) -> Result<bool, String> {
        let shown = self.live(tag);
        let file = self.text(&format!("{}/api/v1/repos/{tag}.repo", self.front)).await?;
        let own = file
            .split_once(&format!("[{tag}{section}]\n"))
            .ok_or_else(|| format!("no section {tag}{section} in {file}"))?
            .1;
        let line = |name: &str| {
            let found = own.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found
                .map(|value| value.replace("$basearch", "x86_64"))
                .ok_or_else(|| format!("no {name} in {file}"))
        };
        let (metalink, gpgkey) = (line("metalink")?, line("gpgkey")?);
        // Known from before, as to dnf: a key that is retired while this goes on is not published any more.
        let mut keys = match self.get(&gpgkey).await? {
            Some(known) => keys_of(&String::from_utf8_lossy(&known))?,
            None => Vec::new(),
        };
        let Some(metalink) = self.get(&metalink).await? else {
            return match shown {
                None => Ok(false),
                Some(id) => Err(format!("there is no metalink though {id} is live")),
            };
        };
        let metalink = String::from_utf8_lossy(&metalink).into_owned();
        let hash = between(&metalink, "<hash type=\"sha256\">", "</hash>")?;
        let element = between(&metalink, "<url ", "</url>")?;
        let url = element.split_once('>').ok_or("no address in the metalink")?.1.to_owned();
        let base = url.strip_suffix("repodata/repomd.xml").ok_or_else(|| format!("an odd address: {url}"))?;
        let id: SnapshotId =
            between(&url, "/snap/", "/")?.parse().map_err(|_| format!("no snapshot: {url}"))?;

        let repomd = self.must(&url).await?;
        if Digest::of(&repomd).as_str() != hash {
            return Err(format!("{url} is not what the metalink says"));
        }
        let signature = self.text(&format!("{url}.asc")).await?;
        if verify_detached(&signature, &repomd, &keys).is_err() {
            // As dnf does: a key that followed since is fetched.
            keys.extend(keys_of(&self.text(&gpgkey).await?)?);
            verify_detached(&signature, &repomd, &keys).map_err(|error| format!("{url}.asc: {error}"))?;
        }
        let names = self.contents(base, &repomd).await?;
        self.must_have_been_live(tag, shown, id).await?;
        let snapshot = self.db.read().await.unwrap().snapshot(id).await.unwrap().unwrap();
        if names != listed_in(&snapshot, folder) {
            return Err(format!("{id} shows {names:?} instead of {:?}", listed_in(&snapshot, folder)));
        }
        Ok(true)
    }

    /// Fetches a folder by its plain path. When the repo moves on between the list and its signature, both are read again; what a
    /// list names is there whatever has happened since it was read.
    async fn by_path(&self, tag: &str, top: &str, folder: &str, seen: &Seen) -> Result<bool, String> {
        let base = format!("{}/repos/{top}/9-stream/demo/{folder}/fruit-1/", self.front);
        let gpgkey = format!("{}/repos/keys/RPM-GPG-KEY-demo", self.front);
        let url = format!("{base}repodata/repomd.xml");
        let shown = self.live(tag);
        let Some(mut repomd) = self.get(&url).await? else {
            return match shown {
                None => Ok(false),
                Some(id) => Err(format!("{url} is missing though {id} is live")),
            };
        };
        for _ in 0..REREADS {
            let signature = self.text(&format!("{url}.asc")).await?;
            let keys = keys_of(&self.text(&gpgkey).await?)?;
            let Err(why) = verify_detached(&signature, &repomd, &keys) else {
                return self.contents(&base, &repomd).await.map(|_| true);
            };
            let now = self.must(&url).await?;
            if now == repomd {
                return Err(format!("{url}.asc: {why}"));
            }
            repomd = now;
            seen.reread.fetch_add(1, Ordering::Relaxed);
        }
        Err("it never stays the same".to_owned())
    }

    /// Fetches every index that a `repomd.xml` names and every package that they name, by their checksums. Gives the packages'
    /// file names.
    async fn contents(&self, base: &str, repomd: &[u8]) -> Result<BTreeSet<String>, String> {
        let text = String::from_utf8_lossy(repomd);
        let mut names = BTreeSet::new();
        for data in text.split("<data ").skip(1) {
            let index = self.checked(base, data).await?;
            if !data.starts_with("type=\"primary\"") {
                continue;
            }
            let mut primary = String::new();
            let mut gunzip = flate2::read::MultiGzDecoder::new(index.as_slice());
            gunzip.read_to_string(&mut primary).map_err(|error| format!("{base}: {error}"))?;
            for package in primary.split("<package ").skip(1) {
                self.checked(base, package).await?;
                let href = between(package, "<location href=\"", "\"")?;
                let name = href.rsplit('/').next().unwrap_or(href).to_owned();
                if !names.insert(name) {
                    return Err(format!("{href} is listed twice"));
                }
            }
        }
        Ok(names)
    }

    /// The file that a piece of metadata names, if it has the checksum that stands there.
    async fn checked(&self, base: &str, piece: &str) -> Result<Vec<u8>, String> {
        let checksum = between(piece, "<checksum type=\"sha256\"", "</checksum>")?;
        let expected = checksum.split_once('>').ok_or("no checksum")?.1;
        let url = format!("{base}{}", between(piece, "<location href=\"", "\"")?);
        let bytes = self.must(&url).await?;
        match Digest::of(&bytes).as_str() == expected {
            true => Ok(bytes),
            false => Err(format!("{url} has another checksum than its list says")),
        }
    }

    /// Was this snapshot what the tag showed at some time since `shown` was, and is it no older than what was seen before?
    async fn must_have_been_live(
        &mut self,
        tag: &str,
        shown: Option<SnapshotId>,
        id: SnapshotId,
    ) -> Result<(), String> {
        let history = self.db.read().await.unwrap().publications(tag, 10_000).await.unwrap();
        let revision = |id: SnapshotId| history.iter().find(|one| one.snapshot == id).map(|one| one.revision);
        let found = revision(id).ok_or_else(|| format!("{id} was never published in {tag}"))?;
        if shown.and_then(revision).is_some_and(|shown| found < shown) {
            return Err(format!("{id} was replaced before it was asked for"));
        }
        let newest = self.newest.entry(tag.to_owned()).or_default();
        if found < *newest {
            return Err(format!("revision {found} came after revision {newest}"));
        }
        *newest = found;
        Ok(())
    }

    /// What the disk shows now.
    fn live(&self, tag: &str) -> Option<SnapshotId> {
        let target = std::fs::read_link(self.public.join("live").join(tag)).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    async fn text(&self, url: &str) -> Result<String, String> {
        Ok(String::from_utf8_lossy(&self.must(url).await?).into_owned())
    }

    async fn must(&self, url: &str) -> Result<Vec<u8>, String> {
        self.get(url).await?.ok_or_else(|| format!("{url} is missing"))
    }

    async fn get(&self, url: &str) -> Fetched {
        let said = |error: reqwest::Error| format!("{url}: {error:?}");
        let answer = self.http.get(url).send().await.map_err(said)?;
        match answer.status().as_u16() {
            200 => Ok(Some(answer.bytes().await.map_err(said)?.to_vec())),
            404 => Ok(None),
            other => Err(format!("{url} answered {other}")),
        }
    }
}

/// The file names of a snapshot's packages that belong into a folder.
fn listed_in(snapshot: &Snapshot, folder: &str) -> BTreeSet<String> {
    let belongs = |kind: RpmKind, arch: &str| match kind {
        RpmKind::Source => folder == "source",
        RpmKind::Binary => folder == arch,
        RpmKind::Debug => folder.strip_prefix("debug-") == Some(arch),
    };
    let own = snapshot.rpms().filter(|rpm| belongs(rpm.kind, &rpm.nevra.arch));
    own.map(|rpm| rpm.file.clone()).collect()
}

/// Public keys that are armoured one behind the other.
fn keys_of(text: &str) -> Result<Vec<PublicKey>, String> {
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let blocks = text.split_inclusive(END).filter(|block| block.contains(END));
    blocks.map(|block| PublicKey::from_armored(block).map_err(|error| error.to_string())).collect()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Result<&'a str, String> {
    let found = text.split_once(from).and_then(|(_, rest)| rest.split_once(to));
    found.map(|(found, _)| found).ok_or_else(|| format!("no {from} in {text}"))
}
