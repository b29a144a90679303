//! `/metalink?repo=<tag>&folder=<folder>`: where clients find what a public repo shows now. Needs the disk and nothing else.

use anyhow::Context as _;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::extract::Query;
use super::targets::public_base;
use crate::files::blocking;
use crate::problem::{Answer, Problem};
use crate::repos::metalink::metalink;
use crate::state::Hub;

/// The media type of metalinks.
const METALINK: &str = "application/metalink+xml; charset=utf-8";

/// Which folder of which repo. What else a client says of itself (mirror lists are asked for much) is of no interest.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    repo: String,
    folder: String,
}

/// The metalink of what is live.
pub(super) async fn show(
    State(hub): State<Hub>,
    Query(Which { repo, folder }): Query<Which>,
) -> Answer<impl IntoResponse> {
    let missing = || {
        let short = |text: &str| text.chars().take(200).collect::<String>();
        Problem::NotFound { what: format!("nothing is published in {} of {}", short(&folder), short(&repo)) }
    };
    let (tree, tag, of) = (hub.public.clone(), repo.clone(), folder.clone());
    let bases: Vec<String> =
        std::iter::once(public_base(&hub)).chain(hub.config.mirrors.iter().cloned()).collect();
    let text = blocking(move || metalink(&tree, &tag, &of, &bases)).await;
    let text = text.with_context(|| format!("what is live in {repo} cannot be read"))?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, METALINK), (header::CACHE_CONTROL, "no-cache")], text))
}
