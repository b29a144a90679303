//! A PostgreSQL server at the other end of a line that may vanish without a word: nothing waits for it for ever, and it
//! waits for nobody for ever.

use std::io;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgPool};

use super::Result;

/// Connections to the server.
const CONNECTIONS: u32 = 16;
/// How long making a connection, or waiting for a free one, may take.
const ACQUIRING: Duration = Duration::from_secs(30);
/// How long an answer is waited for. Longer than the server lets a statement run, so that of one that merely takes long
/// the server's own word is heard.
const ANSWER: Duration = Duration::from_secs(75);
/// How long a connection that is given back may take to say that it still works.
const GIVING_BACK: Duration = Duration::from_secs(5);
/// A connection that has been idle for so long is asked whether it still works before it is used again.
const FRESH: Duration = Duration::from_secs(1);
/// What the server is asked for at the start of each connection: to end a statement that runs for too long, and to notice
/// a process that is gone, whose locks would be in everybody's way.
const MANNERS: &str = "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'; \
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = '60s'";

/// Connects to a server.
pub(super) async fn connect(url: &str) -> Result<PgPool> {
    connect_within(url, ACQUIRING, GIVING_BACK).await
}

async fn connect_within(url: &str, acquiring: Duration, giving_back: Duration) -> Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(acquiring)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(MANNERS).await.map(|_done| ()) })
        })
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= FRESH {
                    within(giving_back, connection.ping()).await?;
                }
                Ok(true)
            })
        })
        // The pool itself asks too, but it would wait for ever, and such a connection would be missing from the pool.
        .after_release(move |connection, _| {
            Box::pin(async move { within(giving_back, connection.ping()).await.map(|()| true) })
        })
        .connect_with(PgConnectOptions::from_str(url)?)
        .await?;
    Ok(pool)
}

/// What the server answers, or that it does not.
pub(super) async fn answered<T>(
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within(ANSWER, question).await
}

async fn within<T>(
    patience: Duration,
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(patience, question).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            let why = format!("PostgreSQL has not answered for {} s", patience.as_secs());
            Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

    use tokio::io::copy_bidirectional;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    /// A line to a server; while it is silent, nobody at either end hears that the other is gone. Gives its address.
    async fn line(server: String, silence: watch::Receiver<bool>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut silence) = (server.clone(), silence.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                        _ = silence.wait_for(|silent| *silent) => {}
                    }
                    // Both lines stay open, and nothing passes any more.
                    std::future::pending::<()>().await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_server_that_falls_silent_is_not_waited_for() {
        let Ok(url) = std::env::var("GRANGE_TEST_POSTGRES") else {
            eprintln!("SKIPPED: no GRANGE_TEST_POSTGRES");
            return;
        };
        let (_, server) = url.rsplit_once('@').unwrap();
        let server = server.split('/').next().unwrap();
        let (silence, silent) = watch::channel(false);
        let near = line(server.to_owned(), silent).await;
        let pool = connect_within(&url.replace(server, &near), ACQUIRING, SOON).await.unwrap();

        let mut tx = pool.begin().await.unwrap();
        let (limit,): (String,) = sqlx::query_as("SHOW statement_timeout").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(limit, "1min");
        silence.send_replace(true);
        let error = within(SOON, sqlx::query("SELECT 1").execute(&mut *tx)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "error communicating with database: PostgreSQL has not answered for 1 s"
        );
        drop(tx);
        // The pool gives the connection up, which cannot even be rolled back.
        tokio::time::timeout(ACQUIRING, async {
            while pool.size() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        silence.send_replace(false);
        answered(sqlx::query("SELECT 1").execute(&pool)).await.unwrap();
    }
}
