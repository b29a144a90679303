//! Uploads to a hub that does not read them to their end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::{Duration, Instant};

use common::{code, grange, problem_body, told};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// More than the buffers between two processes hold.
const SIZE: u64 = 16 << 20;

/// Reads a call's head, and no more of the call than came with it. Gives the length it announces.
async fn head(stream: &mut TcpStream) -> u64 {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the call ended in its head");
        head.extend_from_slice(&piece[..count]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.unwrap_or_else(|| panic!("no length in {text}")).trim().parse().unwrap()
}

async fn say(stream: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// A hub that has no file yet and takes none: it answers from the head alone and closes the connection, with much of the
/// call unread. Its first answers to a file are lost on the way.
async fn hub(mut lost: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if head(&mut stream).await < SIZE {
                say(&mut stream, "200 OK", "Missing").await;
                // The form may still be coming.
                let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0; 4096])).await;
            } else if lost > 0 {
                lost -= 1;
            } else {
                let body = problem_body(413, "the body has 16777216 bytes; 1048576 are allowed here", None);
                say(&mut stream, "413 Payload Too Large", &body.to_string()).await;
            }
        }
    });
    url
}

async fn refused(words: &[&str], url: &str) {
    let begun = Instant::now();
    let (_, result) = grange(words, &[("GRANGE_URL", url), ("GRANGE_TOKEN", "secret")]).await;
    assert_eq!(code(&result), 3, "{result:?}");
    assert_eq!(told(result), "grange: the body has 16777216 bytes; 1048576 are allowed here\n");
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_refused_in_the_hubs_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("big-1-1.src.rpm");
    std::fs::File::create(&file).unwrap().set_len(SIZE).unwrap();
    let file = file.to_str().unwrap();
    let upload = ["lookaside", "upload", "big", file];
    let scratch = ["scratch", "target", file];
    for _ in 0..2 {
        let url = hub(0).await;
        refused(&upload, &url).await;
        refused(&scratch, &url).await;
    }
    refused(&upload, &hub(1).await).await;
    refused(&scratch, &hub(1).await).await;
}
