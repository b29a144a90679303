//! A line to the broker that can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes bytes on until it is told not to.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    broker: String,
    lines: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A place where nobody listens yet.
    pub(crate) async fn closed(broker: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Proxy { address, broker: broker.to_owned(), lines: Arc::default(), accepting: None }
    }

    pub(crate) async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (lines, broker) = (self.lines.clone(), self.broker.clone());
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let broker = broker.clone();
                let line = tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(&broker).await {
                        let _cut = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
                lines.lock().unwrap().push(line);
            }
        }));
    }

    /// Cuts every line, and takes no new one.
    pub(crate) async fn cut(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _aborted = accepting.await;
        }
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        for line in lines {
            line.abort();
            let _aborted = line.await;
        }
    }
}
