//! The hub's API, from the signer's side. One try each: whoever calls comes back later.

use std::path::Path;
use std::time::Duration;

use farm::digest::Digest;
use farm::ids::{PromotionId, SnapshotId};
use farm::openpgp::SignedPackage;
use farm::signing::{Endorsement, SignerWord, SigningKey, Work};
use futures_util::StreamExt as _;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;
use url::Url;

use crate::trouble::Trouble;

const CONNECT: Duration = Duration::from_secs(10);
/// A hub that says nothing for this long, beyond what it was allowed to wait, has forgotten the call.
const SILENCE: Duration = Duration::from_secs(60);
/// Characters of the hub's own words that are passed on.
const QUOTE: usize = 300;

/// Where the hub is, and what is shown to it; clones share one connection pool.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl Hub {
    pub(crate) fn new(base: Url, token: String, wait: Duration) -> Result<Hub, reqwest::Error> {
        // Whoever starts the process may have chosen a provider before; then that one stays.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let http =
            reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(wait + SILENCE).build()?;
        Ok(Hub { http, base, token })
    }

    /// What there is to sign, once that is something else than `seen`.
    pub(crate) async fn work(&self, wait: Duration, seen: Option<&str>) -> Result<Work, Trouble> {
        let mut url = self.url(&[]);
        url.query_pairs_mut().append_pair("wait", &wait.as_millis().to_string());
        if let Some(seen) = seen {
            url.query_pairs_mut().append_pair("seen", seen);
        }
        let answer = self.send("the call for work", self.http.get(url)).await?;
        answer.json().await.map_err(away)
    }

    /// Fetches an artifact into a file. What it is, is the caller's to check.
    pub(crate) async fn artifact(&self, digest: &Digest, to: &Path) -> Result<(), Trouble> {
        let url = self.url(&["artifacts", digest.as_str()]);
        let answer = self.send("the call for a package", self.http.get(url)).await?;
        let mut file = tokio::fs::File::create(to).await?;
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece.map_err(away)?).await?;
        }
        file.flush().await?;
        Ok(())
    }

    /// Fetches a file of a staged snapshot, of at most so many bytes.
    pub(crate) async fn staged(
        &self,
        id: SnapshotId,
        folder: &str,
        path: &str,
        most: u64,
    ) -> Result<Vec<u8>, Trouble> {
        let id = id.to_string();
        let segments: Vec<&str> = ["snapshots", &id, folder].into_iter().chain(path.split('/')).collect();
        let answer = self.send("the call for metadata", self.http.get(self.url(&segments))).await?;
        let mut bytes = Vec::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(away)?);
            if bytes.len() as u64 > most {
                return Err(Trouble::refused(format!("{folder}/{path} has more than {most} bytes")));
            }
        }
        Ok(bytes)
    }

    /// Brings a signed package.
    pub(crate) async fn package(
        &self,
        promotion: PromotionId,
        signed: &SignedPackage,
        file: &Path,
    ) -> Result<(), Trouble> {
        let mut url = self.url(&["packages", signed.body.as_str()]);
        url.query_pairs_mut()
            .append_pair("promotion", &promotion.to_string())
            .append_pair("fingerprint", &signed.by)
            .append_pair("digest", signed.digest.as_str());
        let body = reqwest::Body::wrap_stream(ReaderStream::new(tokio::fs::File::open(file).await?));
        let request = self.http.put(url).header(reqwest::header::CONTENT_LENGTH, signed.size).body(body);
        self.send("a signed package", request).await.map(drop)
    }

    /// Brings what was signed of a snapshot.
    pub(crate) async fn endorse(&self, endorsement: &Endorsement) -> Result<(), Trouble> {
        let url = self.url(&["endorsements", &endorsement.snapshot.to_string()]);
        self.send("the signed metadata", self.http.put(url).json(endorsement)).await.map(drop)
    }

    /// Tells of the public keys.
    pub(crate) async fn keys(&self, keys: &[SigningKey]) -> Result<(), Trouble> {
        self.send("the public keys", self.http.put(self.url(&["keys"])).json(keys)).await.map(drop)
    }

    /// Says how the signer fares.
    pub(crate) async fn word(&self, word: &SignerWord) -> Result<(), Trouble> {
        self.send("a word of the signer", self.http.put(self.url(&["word"])).json(word)).await.map(drop)
    }

    async fn send(&self, what: &'static str, request: RequestBuilder) -> Result<Response, Trouble> {
        let answer = request.bearer_auth(&self.token).send().await.map_err(away)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        let said = explanation(&text);
        let passes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if passes || status.is_server_error() {
            let why = said.unwrap_or_else(|| "it says nothing more".to_owned());
            return Err(Trouble::HubFails { what, status, why });
        }
        Err(Trouble::HubRefused { what, why: said.unwrap_or_else(|| status.to_string()) })
    }

    /// An address of the API.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1", "signing"]).extend(segments);
        }
        url
    }
}

fn away(error: reqwest::Error) -> Trouble {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    Trouble::HubAway(text)
}

/// What a problem says, in one line.
fn explanation(text: &str) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_str(text).ok()?;
    let said = problem.get("detail")?.as_str()?;
    let fix = problem.get("fix").and_then(serde_json::Value::as_str);
    let line = fix.map_or_else(|| said.to_owned(), |fix| format!("{said}; {fix}"));
    Some(line.chars().take(QUOTE).collect())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What the signer says when the hub gives this answer.
    async fn said(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let hub = Hub::new(base, "token".to_owned(), Duration::from_secs(10)).unwrap();
        let answers = async {
            let (mut line, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            assert!(line.read(&mut asked).await.unwrap() > 0);
            line.write_all(answer.as_bytes()).await.unwrap();
        };
        let (work, ()) = tokio::join!(hub.work(Duration::ZERO, None), answers);
        work.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_hub_that_fails_is_told_from_one_that_is_away() {
        let problem = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n\
            {\"detail\":\"the database does not answer\",\"fix\":\"try again in a moment\"}";
        assert_eq!(
            said(problem).await,
            "the hub answered the call for work with 503 Service Unavailable: \
             the database does not answer; try again in a moment"
        );
        let proxy = "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n<html></html>";
        assert_eq!(
            said(proxy).await,
            "the hub answered the call for work with 502 Bad Gateway: it says nothing more"
        );
        let refused = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n{\"detail\":\"this is no signer\"}";
        assert_eq!(said(refused).await, "the hub refused the call for work: this is no signer");
        let away = said("").await;
        assert!(away.starts_with("the hub cannot be reached: "), "{away}");
    }
}
