//! The hub's HTTP API, as the commands call it.

use std::path::Path;
use std::time::Duration;

use farm::api::{Page, ProblemBody};
use futures_util::stream::pending;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use url::Url;

use crate::failure::Failure;
use crate::settings::Settings;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an ordinary call may take. Transfers of files have no limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a hub may take to refuse a file that it has been told of.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The kind of a problem that came without one.
const UNTYPED: &str = "about:blank";
/// How much of a page that is no problem+json is shown.
const SHOWN_OF_FOREIGN_ERROR: usize = 200;

/// A query's parameters.
pub type Query<'a> = &'a [(&'a str, String)];

/// The hub.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
}

/// What the hub answered.
#[derive(Debug, Clone)]
pub struct Body {
    text: String,
    url: String,
}

/// A listing, with or without a next page.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listing<T> {
    Page(Page<T>),
    All(Vec<T>),
}

impl Body {
    /// As it came.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    ///
    /// # Errors
    /// When it is not what was asked for: the address is no hub's, or the hub's version does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| Failure::Unreachable {
            url: self.url.clone(),
            why: format!("what it answered cannot be understood: {error}"),
        })
    }

    /// What a listing says, and where the next page begins.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn items<T: DeserializeOwned>(&self) -> Result<Page<T>, Failure> {
        Ok(match self.read()? {
            Listing::Page(page) => page,
            Listing::All(items) => Page { items, next: None },
        })
    }
}

/// Makes the one TLS implementation known that this program carries. Doing it twice does no harm.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Client {
    /// A client for one hub.
    ///
    /// # Errors
    /// When HTTP cannot be set up.
    pub fn new(settings: Settings) -> Result<Client, Failure> {
        install_tls();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| Failure::Local(anyhow::Error::new(error).context("cannot set up HTTP")))?;
        Ok(Client { http, settings })
    }

    /// Where the hub is.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.settings.url
    }

    /// Reads something.
    ///
    /// # Errors
    /// When the hub refuses or cannot be reached.
    pub async fn get(&self, path: &[&str], query: Query<'_>) -> Result<Body, Failure> {
        self.called(self.call(Method::GET, path, query)?.timeout(CALL_TIMEOUT)).await
    }

    /// Asks for something, with a body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Body, Failure> {
        let text = serde_json::to_string(body).map_err(|error| Failure::Local(error.into()))?;
        let call = self.call(Method::POST, path, &[])?.header(CONTENT_TYPE, "application/json").body(text);
        self.called(call.timeout(CALL_TIMEOUT)).await
    }

    /// Puts something in the place of what is there.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn put(&self, path: &[&str], body: &impl Serialize) -> Result<Body, Failure> {
        let text = serde_json::to_string(body).map_err(|error| Failure::Local(error.into()))?;
        let call = self.call(Method::PUT, path, &[])?.header(CONTENT_TYPE, "application/json").body(text);
        self.called(call.timeout(CALL_TIMEOUT)).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn delete(&self, path: &[&str]) -> Result<Body, Failure> {
        self.called(self.call(Method::DELETE, path, &[])?.timeout(CALL_TIMEOUT)).await
    }

    /// Asks for something that its address says in full.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post_nothing(&self, path: &[&str]) -> Result<Body, Failure> {
        let call = self.call(Method::POST, path, &[])?.header(CONTENT_LENGTH, 0);
        self.called(call.timeout(CALL_TIMEOUT)).await
    }

    /// Sends a file as it is.
    ///
    /// # Errors
    /// As [`Client::get`], and when the file cannot be read.
    pub async fn post_file(&self, path: &[&str], query: Query<'_>, file: &Path) -> Result<Body, Failure> {
        let call = |body, size: u64| {
            let call = self.call(Method::POST, path, query)?;
            let call = call.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, size);
            Ok(call.body(body))
        };
        self.send_file(file, call).await
    }

    /// Sends a form to the lookaside, with a file in it if one is given. The lookaside speaks the protocol of dist-git
    /// clients, so it lies beside the API and not below it.
    ///
    /// # Errors
    /// As [`Client::post_file`].
    pub async fn post_to_lookaside(
        &self,
        fields: &[(&str, String)],
        file: Option<(&str, &Path)>,
    ) -> Result<Body, Failure> {
        let form = || {
            let texts = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            texts.fold(Form::new(), |form, (name, value)| form.text(name, value))
        };
        let upload = || self.call_site(Method::POST, &["lookaside", "upload"], &[]);
        let Some((name, path)) = file else {
            return self.called(upload()?.multipart(form())).await;
        };
        let file_name = file_name(path)?;
        // With the length of each part known, the call says its own, and a hub need not read it to refuse it.
        let call = |body, size| {
            let part = Part::stream_with_length(body, size).file_name(file_name.clone());
            Ok(upload()?.multipart(form().part(name.to_owned(), part)))
        };
        self.send_file(path, call).await
    }

    /// Sends a file, with a call that is made of a body and its size.
    async fn send_file(
        &self,
        file: &Path,
        call: impl Fn(reqwest::Body, u64) -> Result<RequestBuilder, Failure>,
    ) -> Result<Body, Failure> {
        let (body, size) = file_body(file).await?;
        let failure = match self.called(call(body, size)?).await {
            Err(failure) if is_cut_short(&failure) => failure,
            answer => return answer,
        };
        // A hub that refuses a file without reading it closes the connection, and what it says is easily lost while the
        // file is being written to it. It says the same to a call that announces the file and then sends nothing.
        let nothing = reqwest::Body::wrap_stream(pending::<std::io::Result<Vec<u8>>>());
        match self.called(call(nothing, size)?.timeout(REFUSAL_TIMEOUT)).await {
            Err(Failure::Refused(problem)) => Err(Failure::Refused(problem)),
            Ok(_) | Err(_) => Err(failure),
        }
    }

    /// Reads something that may be long: the caller takes the answer apart.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn open(&self, path: &[&str], query: Query<'_>) -> Result<Response, Failure> {
        self.sent(self.call(Method::GET, path, query)?).await
    }

    /// The connection broke off while something long was read.
    #[must_use]
    pub fn broken_off(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable { url: self.base().to_string(), why: root_cause(error) }
    }

    fn call(&self, method: Method, path: &[&str], query: Query<'_>) -> Result<RequestBuilder, Failure> {
        let path: Vec<&str> = ["api", "v1"].into_iter().chain(path.iter().copied()).collect();
        self.call_site(method, &path, query)
    }

    fn call_site(&self, method: Method, path: &[&str], query: Query<'_>) -> Result<RequestBuilder, Failure> {
        let mut url = self.settings.url.clone();
        // Segments are escaped one by one, so that nothing a user types leads to another address.
        url.path_segments_mut()
            .map_err(|()| {
                Failure::usage(format!("`{}` is not the address of a hub", self.base()), "see --url")
            })?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut call = self
            .http
            .request(method, url)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("grange/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.settings.token {
            call = call.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        Ok(call)
    }

    async fn called(&self, call: RequestBuilder) -> Result<Body, Failure> {
        let response = self.sent(call).await?;
        let text = response.text().await.map_err(|error| self.broken_off(&error))?;
        Ok(Body { text, url: self.base().to_string() })
    }

    async fn sent(&self, call: RequestBuilder) -> Result<Response, Failure> {
        let response = call.send().await.map_err(|error| self.broken_off(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let problem = serde_json::from_str::<ProblemBody>(&text).unwrap_or_else(|_| ProblemBody {
            kind: UNTYPED.to_owned(),
            title: status.to_string(),
            status: status.as_u16(),
            detail: foreign_error(status, &text),
            fix: None,
        });
        Err(if status.is_client_error() { Failure::Refused(problem) } else { Failure::HubFailed(problem) })
    }
}

/// Is it a broken connection, or an answer without its body?
fn is_cut_short(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Refused(problem) => problem.kind == UNTYPED,
        Failure::HubFailed(_)
        | Failure::Failed(_)
        | Failure::Usage { .. }
        | Failure::Local(_)
        | Failure::Output(_) => false,
    }
}

async fn file_body(path: &Path) -> Result<(reqwest::Body, u64), Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("cannot read {}: {error}", path.display()), "name a file that can be read")
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    Ok((reqwest::Body::wrap_stream(ReaderStream::new(file)), size))
}

/// The last part of a path, which must be text to be sent.
///
/// # Errors
/// [`Failure::Usage`] when it is not.
pub fn file_name(path: &Path) -> Result<String, Failure> {
    path.file_name().and_then(|name| name.to_str()).map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("{} has no name that can be sent", path.display()), "rename the file")
    })
}

fn foreign_error(status: reqwest::StatusCode, text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') {
        return format!("the answer was {status}");
    }
    let shown: String = text.chars().take(SHOWN_OF_FOREIGN_ERROR).collect();
    format!("the answer was {status}: {shown}")
}

/// What reqwest wraps, which is what says something: `Connection refused (os error 111)`.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
