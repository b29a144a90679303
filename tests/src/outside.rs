//! A repo that belongs to nobody here, and a server that shows it when it likes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use farm::digest::Digest;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Makes of this folder a repo outside without packages, or moves it there, in a state of that name.
pub fn outside_repo(folder: &Path, state: &str) {
    let index = |kind: &str, root: &str| {
        let text = format!("<?xml version=\"1.0\"?>\n<{root} packages=\"0\"></{root}>\n<!-- {state} -->\n");
        let href = format!("repodata/{state}-{kind}.xml");
        std::fs::write(folder.join(&href), &text).expect("the repo outside is written");
        format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"{href}\"/><size>{}</size></data>",
            Digest::of(text.as_bytes()).as_str(),
            text.len()
        )
    };
    std::fs::create_dir_all(folder.join("repodata")).expect("the repo outside is written");
    let indexes = index("primary", "metadata") + &index("filelists", "filelists");
    let repomd = format!("<repomd><revision>{state}</revision>{indexes}</repomd>");
    std::fs::write(folder.join("repodata/next"), repomd).expect("the repo outside is written");
    std::fs::rename(folder.join("repodata/next"), folder.join("repodata/repomd.xml"))
        .expect("the repo outside is written");
}

/// A web server with the files of a folder. While it is silent it takes every call and answers none; those who are still there
/// when it speaks again are answered then.
pub struct Mirror {
    /// Where it is.
    pub url: String,
    speaks: watch::Sender<bool>,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Calls {
    held: AtomicUsize,
    given_up: AtomicUsize,
}

impl Mirror {
    /// One that answers.
    pub async fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (speaks, calls) = (watch::Sender::new(true), Arc::<Calls>::default());
        let (folder, says, counts) = (folder.to_owned(), speaks.clone(), calls.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, folder.clone(), says.subscribe(), counts.clone()));
            }
        });
        Self { url, speaks, calls }
    }

    /// From now on it is silent, or is not any more.
    pub fn speaks(&self, speaks: bool) {
        self.speaks.send_replace(speaks);
    }

    /// How many calls it holds without an answer, and of how many such the caller has lost patience.
    #[must_use]
    pub fn unanswered(&self) -> (usize, usize) {
        (self.calls.held.load(Ordering::SeqCst), self.calls.given_up.load(Ordering::SeqCst))
    }
}

async fn serve(mut stream: TcpStream, folder: PathBuf, mut speaks: watch::Receiver<bool>, calls: Arc<Calls>) {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let (mut first, mut line) = (String::new(), String::new());
    if read.read_line(&mut first).await.is_err() {
        return;
    }
    while line != "\r\n" {
        line.clear();
        if !matches!(read.read_line(&mut line).await, Ok(count) if count > 0) {
            return;
        }
    }
    if !*speaks.borrow() {
        calls.held.fetch_add(1, Ordering::SeqCst);
        let is_gone = tokio::select! {
            _ = speaks.wait_for(|speaks| *speaks) => false,
            _ = read.read_u8() => true,
        };
        calls.held.fetch_sub(1, Ordering::SeqCst);
        if is_gone {
            calls.given_up.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let (status, body) = match std::fs::read(folder.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // Who has gone meanwhile misses nothing.
    let _gone = write.write_all(&[head.into_bytes(), body].concat()).await;
}
