//! An S3-compatible server, as a process of its own, with a folder in which it keeps what it has.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hub::bucket::{Bucket, S3};
use tempfile::TempDir;

use crate::processes::free_port;
use crate::tools::service;

/// How long it may take to start.
const START: Duration = Duration::from_secs(120);
/// The bucket that it has.
const BUCKET: &str = "farm";
/// The key that it knows, and its secret.
const KEY: &str = "S3RVER";

/// The server.
#[derive(Debug)]
pub struct S3Server {
    /// Where it listens, also after it was started anew.
    pub address: SocketAddr,
    program: String,
    folder: TempDir,
    process: Option<Child>,
}

impl S3Server {
    /// Starts one; `None`, said so, where there is none to start.
    pub async fn start() -> Option<Self> {
        let program = service("GRANGE_TEST_S3_SERVER")?;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), KEY).expect("a secret");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut server = Self { address, program, folder, process: None };
        server.resume().await;
        Some(server)
    }

    /// Starts it anew at the same address, with what it had.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn resume(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a log");
        let process = Command::new(&self.program)
            .arg("--directory")
            .arg(self.folder.path().join("store"))
            .args(["--address", "127.0.0.1", "--port", &self.address.port().to_string()])
            .args(["--no-vhost-buckets", "--configure-bucket", BUCKET])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("the S3 server starts"));
        let begun = Instant::now();
        loop {
            let answers = tokio::net::TcpStream::connect(self.address).await.is_ok();
            // If it ended, somebody else answers at its port.
            let ended = self.process.as_mut().expect("it was started").try_wait().expect("a status");
            assert!(ended.is_none(), "the S3 server ended by itself, {ended:?}: {}", self.log());
            if answers {
                return;
            }
            assert!(begun.elapsed() < START, "the S3 server does not answer: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills it where it stands.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A hub's configuration of it, at another address if that is a line to it. Users are sent to it.
    #[must_use]
    pub fn config(&self, at: Option<SocketAddr>) -> S3 {
        S3 {
            endpoint: format!("http://{}", at.unwrap_or(self.address)),
            bucket: BUCKET.to_owned(),
            prefix: "one/farm".to_owned(),
            access_key: Some(KEY.to_owned()),
            secret_key_file: Some(self.folder.path().join("secret")),
            public_url: Some(format!("http://{}/{BUCKET}/one/farm/public", self.address)),
            silence_ms: 10_000,
            ..S3::default()
        }
    }

    /// The same as the text of a file.
    #[must_use]
    pub fn settings(&self) -> String {
        let S3 { endpoint, bucket, prefix, secret_key_file, public_url, .. } = self.config(None);
        let (secret, public_url) = (secret_key_file.unwrap_or_default(), public_url.unwrap_or_default());
        format!(
            "endpoint = \"{endpoint}\"\nbucket = \"{bucket}\"\nprefix = \"{prefix}\"\naccess_key = \"{KEY}\"\nsecret_key_file = \"{}\"\npublic_url = \"{public_url}\"\n",
            secret.display()
        )
    }

    /// The bucket, to look at.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        Bucket::open(&self.config(None)).expect("the bucket")
    }

    /// Every file of what is published, with its size; `None` while an object there is not whole, with what the server notes of it.
    #[must_use]
    pub fn at_rest(&self) -> Option<BTreeMap<PathBuf, u64>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.below("public")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).ok()? {
                let entry = entry.ok()?;
                let about = entry.metadata().ok()?;
                if about.is_dir() {
                    folders.push(entry.path());
                } else {
                    files.insert(entry.path(), about.len());
                }
            }
        }
        let is_whole = |path: &PathBuf| {
            let Some(key) = path.to_str().and_then(|path| path.strip_suffix("._S3rver_object")) else {
                return true;
            };
            let notes = [format!("{key}._S3rver_object.md5"), format!("{key}._S3rver_metadata.json")];
            notes.iter().all(|note| files.get(Path::new(note)).is_some_and(|size| *size > 0))
        };
        files.keys().all(is_whole).then_some(files)
    }

    /// Where on its disk the content is that it gives for a key.
    #[must_use]
    pub fn object(&self, key: &str) -> PathBuf {
        self.below(&format!("{key}._S3rver_object"))
    }

    /// Where on its disk a folder of keys is.
    #[must_use]
    pub fn below(&self, folder: &str) -> PathBuf {
        self.folder.path().join("store").join(BUCKET).join("one/farm").join(Path::new(folder))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
    }
}
