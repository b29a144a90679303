//! The repos as files: the public tree at `/repos`, the candidate repos at `/candidate`.

use std::path::{Path as FilePath, PathBuf};

use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use super::auth::Caller;
use super::pages::{self, Page};
use crate::files::blocking;
use crate::problem::{Answer, Problem};
use crate::shelf::{Leads, Shelf};
use crate::state::Hub;

/// Entries of a folder that are shown.
const MOST_ENTRIES: usize = 5000;

#[derive(Template)]
#[template(path = "folder.html")]
struct Folder {
    path: String,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    size: String,
}

/// What is published.
pub(super) async fn public(State(hub): State<Hub>, request: Request) -> Result<Response, Page> {
    let shelved = match &hub.shelf {
        Some(shelf) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            from_shelf(&hub, shelf, request.uri().path().to_owned()).await.map_err(Page)?
        }
        Some(_) | None => None,
    };
    match shelved {
        Some(Shelved::Told(response)) => Ok(response),
        Some(Shelved::Package(file)) => serve_file(file, request, false).await.map_err(Page),
        None => serve(hub.public.root().to_owned(), request).await.map_err(Page),
    }
}

enum Shelved {
    /// The answer has it, or sends the caller there.
    Told(Response),
    /// A package that was brought here.
    Package(PathBuf),
}

/// Where what is asked for is, when it is not in the tree on the disk that users get it from.
async fn from_shelf(hub: &Hub, shelf: &Shelf, asked: String) -> Answer<Option<Shelved>> {
    let Some(path) = inner_path(&asked) else { return Ok(None) };
    let mut leads = shelf.leads(&path).await?;
    if let Leads::Lost(id) = leads {
        // The ledger knows which repo showed it, and that one did.
        let shown = hub.db.glance().await?.publications_of(id).await?;
        leads = shown.first().map_or(Leads::Here, |shown| shelf.leads_in_lost(&path, &shown.tag));
    }
    match leads {
        Leads::Elsewhere(address) => {
            let mut response = Redirect::temporary(&address).into_response();
            if !path.starts_with("snap") {
                // What it leads to is another thing after the pointer has moved.
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            }
            Ok(Some(Shelved::Told(response)))
        }
        Leads::Package(digest) => {
            let file = shelf.package(&digest).await.map_err(super::problem::of_artifact)?;
            Ok(Some(Shelved::Package(file)))
        }
        Leads::Stored(key) => {
            let opened = shelf.open(&key).await.map_err(|error| {
                Problem::unavailable(format!("{asked} is not to be had now: {error}"), "ask again later")
            })?;
            let Some((size, reader)) = opened else { return Ok(None) };
            let response = Response::builder()
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .header(header::CONTENT_LENGTH, size)
                .body(super::stream::body_of(reader, size));
            Ok(Some(Shelved::Told(response.map_err(|error| Problem::Internal(error.into()))?)))
        }
        Leads::Lost(_) | Leads::Here => Ok(None),
    }
}

/// What is built and not published: for builds and tests, and for people of the farm who want to look. Nobody else can take
/// it for something that has passed its tests.
pub(super) async fn candidate(State(hub): State<Hub>, _: Caller, request: Request) -> Result<Response, Page> {
    serve(hub.candidates.root().to_owned(), request).await.map_err(Page)
}

async fn serve(root: PathBuf, request: Request) -> Answer<Response> {
    let asked = request.uri().path().to_owned();
    let missing = || Problem::NotFound { what: format!("there is nothing at {asked}") };
    let inner = inner_path(&asked).ok_or_else(missing)?;
    let place = root.join(&inner);
    let meta = tokio::fs::metadata(&place).await.map_err(|_| missing())?;
    if meta.is_dir() {
        if !asked.ends_with('/') {
            return Ok(Redirect::permanent(&format!("{asked}/")).into_response());
        }
        let entries = entries_of(place).await?;
        return pages::html(&Folder { path: asked, entries });
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(StatusCode::METHOD_NOT_ALLOWED.into_response());
    }
    serve_file(place, request, is_moving(&inner)).await
}

/// A file of the disk. `moves` says whether another one is at its address after a pointer has moved.
async fn serve_file(place: PathBuf, mut request: Request, moves: bool) -> Answer<Response> {
    if moves {
        // Two snapshots may have been made within one second: its time says nothing about what a pointer shows.
        request.headers_mut().remove(header::IF_MODIFIED_SINCE);
    }
    let served = ServeFile::new(place).oneshot(request).await.map_err(anyhow::Error::from)?;
    let mut response = served.map(Body::new);
    if moves {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    Ok(response)
}

/// The path below the root, from an address such as `/repos/live/…`: `None` for what no tree has. Names in a tree have
/// no characters that addresses escape, except those of package names.
fn inner_path(asked: &str) -> Option<PathBuf> {
    let (_, inner) = asked.trim_start_matches('/').split_once('/').unwrap_or((asked, ""));
    let inner = percent_encoding::percent_decode_str(inner).decode_utf8().ok()?;
    let mut path = PathBuf::new();
    for part in inner.split('/').filter(|part| !part.is_empty()) {
        if part.starts_with('.') || part.contains(['\\', '\0']) {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

/// Is this a file whose content changes when a pointer moves?
fn is_moving(path: &FilePath) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("repomd.xml") && !path.starts_with("snap")
}

async fn entries_of(folder: PathBuf) -> Answer<Vec<Entry>> {
    blocking(move || {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&folder)?.take(MOST_ENTRIES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
            if name.starts_with('.') {
                continue;
            }
            entries.push(if meta.is_dir() {
                Entry { name: format!("{name}/"), size: String::new() }
            } else {
                Entry { name, size: pages::size(meta.len()) }
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_a_tree() {
        assert_eq!(inner_path("/repos/live/x/"), Some(PathBuf::from("live/x")));
        assert_eq!(inner_path("/repos"), Some(PathBuf::new()));
        assert_eq!(inner_path("/repos/a%2Bb"), Some(PathBuf::from("a+b")));
        for bad in [
            "/repos/../x",
            "/repos/%2e%2e/x",
            "/repos/a%2f..%2fx",
            "/repos/.hidden",
            "/repos/a%00b",
            "/repos/%ff",
        ] {
            assert_eq!(inner_path(bad), None, "{bad}");
        }
    }
}
