//! A line between two processes that can be cut, slowed down, and made to swallow everything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// Bytes passed on at once.
const PIECE: usize = 16 * 1024;

/// How the line behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// It passes everything on at once.
    Fair,
    /// Every piece takes this long, and no more than so many bytes a second pass in each direction.
    Slow {
        /// How long each piece takes.
        delay: Duration,
        /// Bytes a second.
        rate: u64,
    },
    /// It takes whatever is said, and passes nothing on: nobody hears that the line is gone.
    BlackHole,
    /// Whoever calls is hung up on.
    Closed,
}

/// A proxy for TCP before one or several servers. A call goes to the next of them that answers.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    lines: Arc<Mutex<Vec<AbortHandle>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens, and passes on what comes.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn to(servers: &[SocketAddr]) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (weather, seen) = watch::channel(Weather::Fair);
        let lines = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let accepting = tokio::spawn(accept(listener, servers.to_vec(), seen, lines.clone()));
        Proxy { address, weather, lines, accepting }
    }

    /// From now on the line behaves so. What is closed is cut first.
    pub fn turns(&self, weather: Weather) {
        self.weather.send_replace(weather);
        if weather == Weather::Closed {
            self.cut();
        }
    }

    /// Cuts every call that is under way; gives how many.
    pub fn cut(&self) -> usize {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = lines.iter().filter(|line| !line.is_finished()).count();
        for line in lines.drain(..) {
            line.abort();
        }
        cut
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    servers: Vec<SocketAddr>,
    weather: watch::Receiver<Weather>,
    lines: Arc<Mutex<Vec<AbortHandle>>>,
) {
    let mut turn = 0;
    while let Ok((near, _)) = listener.accept().await {
        if *weather.borrow() == Weather::Closed {
            continue;
        }
        turn += 1;
        let (mut servers, weather) = (servers.clone(), weather.clone());
        let first = turn % servers.len().max(1);
        servers.rotate_left(first);
        let line = tokio::spawn(async move {
            let Some(far) = connect(&servers).await else { return };
            let _quicker = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            // When one direction breaks, both are gone; one that merely ended leaves the other open.
            let there = pump(near_in, far_out, weather.clone());
            let back = pump(far_in, near_out, weather);
            let _broke = tokio::try_join!(there, back);
        });
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| !line.is_finished());
        lines.push(line.abort_handle());
    }
}

async fn connect(servers: &[SocketAddr]) -> Option<TcpStream> {
    for server in servers {
        if let Ok(stream) = TcpStream::connect(server).await {
            return Some(stream);
        }
    }
    None
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let size = from.read(&mut piece).await?;
        if weather.wait_for(|now| *now != Weather::BlackHole).await.is_err() {
            return Ok(());
        }
        if size == 0 {
            return to.shutdown().await;
        }
        let slow = match *weather.borrow() {
            Weather::Slow { delay, rate } => {
                let passing = Duration::from_micros(1_000_000 * size as u64 / rate.max(1));
                Some(delay + passing)
            }
            Weather::Fair | Weather::BlackHole | Weather::Closed => None,
        };
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        to.write_all(&piece[..size]).await?;
    }
}
