//! Who is calling. Reading is open to everybody, except packages that were not published; whoever changes something shows a token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use farm::digest::Digest;
use farm::ledger::Person;

use crate::problem::{Answer, Problem};
use crate::state::{Hub, same_secret};

/// The person whose token the call shows. Asking for one in a handler's arguments makes the handler theirs alone.
pub(super) struct Caller(pub(super) Person);

/// The person, if the call shows a token; a token nobody has is refused even here, so that a mistyped one is noticed.
pub(super) struct MaybeCaller(pub(super) Option<Person>);

/// Which git server's hook is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// A hook of the repos the hub serves itself.
    Own,
    /// A hook on another git server.
    Foreign,
}

/// The token in `Authorization: Bearer <token>`, or the password in `Authorization: Basic`.
pub(super) fn token_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        text.split_once(':')?.1.to_owned()
    } else {
        return None;
    };
    (!token.is_empty()).then_some(token)
}

/// Whose token the headers show.
pub(super) async fn person_of(hub: &Hub, headers: &HeaderMap) -> Answer<Person> {
    let token = token_of(headers).ok_or(Problem::Unauthenticated)?;
    let digest = Digest::of(token.as_bytes());
    hub.db.glance().await?.person_by_token(&digest).await?.ok_or(Problem::UnknownToken)
}

impl FromRequestParts<Hub> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Answer<Self> {
        person_of(hub, &parts.headers).await.map(Caller)
    }
}

impl FromRequestParts<Hub> for MaybeCaller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Answer<Self> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(MaybeCaller(None));
        }
        Ok(MaybeCaller(Some(person_of(hub, &parts.headers).await?)))
    }
}

impl FromRequestParts<Hub> for Hook {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Answer<Self> {
        let token = token_of(&parts.headers).ok_or(Problem::Unauthenticated)?;
        if same_secret(&token, &hub.hook_token) {
            return Ok(Hook::Own);
        }
        match &hub.foreign_hook_token {
            // An empty file is no secret.
            Some(expected) if !expected.is_empty() && same_secret(&token, expected) => Ok(Hook::Foreign),
            Some(_) | None => Err(Problem::UnknownToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        token_of(&headers)
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_the_password() {
        assert_eq!(with("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(with("Basic YWRhOmE6Yg==").as_deref(), Some("a:b"));
        for nothing in ["Bearer ", "abc", "Digest abc", "Basic !!!", "Basic YWRh", "Basic YWRhOg=="] {
            assert_eq!(with(nothing), None, "{nothing}");
        }
    }
}
