//! A line to an HTTP server on which answers go wrong.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What ends the head of a message.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The server is not asked: the answer is this status.
    Refused(u16),
    /// The line breaks in the middle of the body.
    CutOff,
    /// The body is only its first half, and is said to be no longer.
    Short,
    /// One byte of the body is another.
    Twisted,
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`
    pub method: String,
    /// With what stands behind the question mark.
    pub path: String,
}

type Judge = Arc<dyn Fn(&Asked) -> Fault + Send + Sync>;

/// The line. Each call is a connection of its own.
pub struct FaultyLine {
    /// Where it listens.
    pub address: SocketAddr,
    state: State,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct State {
    judge: Arc<Mutex<Judge>>,
    faults: Arc<AtomicUsize>,
}

impl FaultyLine {
    /// A line to a server; all goes well at first.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let judge: Judge = Arc::new(|_| Fault::None);
        let state = State { judge: Arc::new(Mutex::new(judge)), faults: Arc::default() };
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let state = shared.clone();
                tokio::spawn(async move {
                    let _who_calls_sees_it_too = state.pass_on(near, server).await;
                });
            }
        });
        Self { address, state, accepting }
    }

    /// From now on this says what goes wrong with which answer.
    pub fn does(&self, judge: impl Fn(&Asked) -> Fault + Send + Sync + 'static) {
        *self.state.judge.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(judge);
    }

    /// From now on all goes well.
    pub fn is_well(&self) {
        self.does(|_| Fault::None);
    }

    /// How many answers have gone wrong.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.state.faults.load(Ordering::SeqCst)
    }
}

impl Drop for FaultyLine {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    async fn pass_on(&self, mut near: TcpStream, server: SocketAddr) -> io::Result<()> {
        let (head, mut body) = head_of(&mut near).await?;
        let mut words = head.split(' ').map(str::to_owned);
        let asked =
            Asked { method: words.next().unwrap_or_default(), path: words.next().unwrap_or_default() };
        let length = length_in(&head).unwrap_or(0);
        let mut rest = vec![0; length.saturating_sub(body.len())];
        near.read_exact(&mut rest).await?;
        body.extend(rest);

        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fault = judge(&asked);
        if let Fault::Refused(status) = fault {
            self.faults.fetch_add(1, Ordering::SeqCst);
            let said = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return near.write_all(said.as_bytes()).await;
        }
        let mut far = TcpStream::connect(server).await?;
        let head = without(&head, "connection").replacen("\r\n", "\r\nconnection: close\r\n", 1);
        far.write_all(head.as_bytes()).await?;
        far.write_all(&body).await?;
        let (mut head, mut body) = head_of(&mut far).await?;
        far.read_to_end(&mut body).await?;
        let is_content = head.starts_with("HTTP/1.1 20") && length_in(&head) == Some(body.len());
        if fault != Fault::None && is_content && body.len() > 1 {
            self.faults.fetch_add(1, Ordering::SeqCst);
            let half = body.len() / 2;
            match fault {
                Fault::CutOff => body.truncate(half),
                Fault::Short => {
                    body.truncate(half);
                    let length = format!("\r\ncontent-length: {half}\r\n");
                    head = without(&head, "content-length").replacen("\r\n", &length, 1);
                }
                Fault::Twisted => body[half] ^= 1,
                Fault::None | Fault::Refused(_) => {}
            }
        }
        near.write_all(head.as_bytes()).await?;
        near.write_all(&body).await
    }
}

/// The head of a message with the empty line at its end, and what was read of the body.
async fn head_of(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(at) = read.windows(HEAD_END.len()).position(|bytes| bytes == HEAD_END) {
            let body = read.split_off(at + HEAD_END.len());
            return Ok((String::from_utf8_lossy(&read).into_owned(), body));
        }
        if from.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn length_in(head: &str) -> Option<usize> {
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(value)
}

/// The head without a line.
fn without(head: &str, name: &str) -> String {
    let is_other =
        |line: &&str| !line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
    head.split_inclusive("\r\n").filter(is_other).collect()
}
