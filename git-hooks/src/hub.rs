//! The two things a hook asks the hub.

use anyhow::Context as _;
use farm::message::{Policy, PushAnswer, PushReport};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::settings::Settings;

/// The hub, as this git server sees it.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    address: String,
    token: String,
}

/// Why the hub gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// It cannot be reached, or is in no state to answer: to be tried again.
    Away(String),
    /// It takes in others, but cannot have what this one is about: to be tried again.
    Later(String),
    /// It does not know this git server's token: to be tried again when that is mended.
    Unknown(String),
    /// It has said no, and would say so again.
    Refused(String),
}

impl NoAnswer {
    /// Why, in one sentence.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            NoAnswer::Away(why) | NoAnswer::Later(why) | NoAnswer::Unknown(why) | NoAnswer::Refused(why) => {
                why
            }
        }
    }
}

/// What the hub calls that it cannot have something from elsewhere.
const UNAVAILABLE: &str = "urn:grange:problem:unavailable";

/// An RFC 9457 answer: its code, and the parts that are for people.
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

impl Hub {
    /// Gets ready to ask; asks nothing yet.
    ///
    /// # Errors
    /// When there is no token, or the machine's certificates cannot be read.
    pub fn new(settings: &Settings) -> anyhow::Result<Hub> {
        // Installing fails only when a provider is installed already, and then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(settings.timeout)
            // A redirected POST would arrive as a GET and seem to be taken.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("grange-git-hooks/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot prepare a connection to the hub")?;
        Ok(Hub { client, address: settings.hub.clone(), token: settings.token()? })
    }

    /// Asks for everything a push is judged by.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn policy(&self) -> Result<Policy, NoAnswer> {
        self.ask(self.client.get(format!("{}/api/v1/git/policy", self.address))).await
    }

    /// Reports a push. May be repeated.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn report(&self, report: &PushReport) -> Result<PushAnswer, NoAnswer> {
        self.ask(self.client.post(format!("{}/api/v1/pushes", self.address)).json(report)).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, NoAnswer> {
        let away = |error: reqwest::Error| NoAnswer::Away(format!("{}: {}", self.address, innermost(&error)));
        let response = request.bearer_auth(&self.token).send().await.map_err(away)?;
        let status = response.status();
        let body = response.bytes().await.map_err(away)?;
        if status.is_success() {
            // What is no answer of a hub (a proxy's page, say) was not said by one.
            return serde_json::from_slice(&body)
                .map_err(|error| NoAnswer::Away(format!("{} gave no hub's answer: {error}", self.address)));
        }
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        let is_unavailable = problem.kind == UNAVAILABLE;
        let said = words(status, problem);
        Err(match status {
            _ if is_unavailable => NoAnswer::Later(said),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NoAnswer::Unknown(said),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => NoAnswer::Away(said),
            status if status.is_client_error() => NoAnswer::Refused(said),
            _ => NoAnswer::Away(said),
        })
    }
}

/// reqwest's own words name only the address; what a person needs is at the end of the chain.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn words(status: StatusCode, problem: Problem) -> String {
    match (problem.title.is_empty(), problem.detail.is_empty()) {
        (false, false) => format!("{}: {}", problem.title, problem.detail),
        (false, true) => problem.title,
        (true, false) => problem.detail,
        (true, true) => format!("the hub answered {status}"),
    }
}
