//! The lookaside over HTTP, as centpkg and fedpkg speak to it. The protocol's words are in [`crate::lookaside`].

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use farm::ledger::{LookasideFile, Person};
use farm::sig::Role;
use futures_util::TryStreamExt as _;
use tokio_util::io::StreamReader;

use super::auth::Caller;
use super::checked::Checked;
use super::extract::Path;
use super::problem::of_artifact;
use super::stream;
use crate::artifacts::ArtifactError;
use crate::lookaside::{AVAILABLE, BadQuery, HashKind, Hashes, MISSING, Query};
use crate::problem::{Answer, Problem};
use crate::state::{Hub, require_role};

/// Fields a form may have before its file.
const MOST_FIELDS: usize = 16;
/// Bytes a text field may have.
const LONGEST_FIELD: usize = 4096;

/// `POST /lookaside/upload`: asks whether a file is there, or brings it.
pub(super) async fn upload(
    State(hub): State<Hub>,
    Caller(person): Caller,
    request: Request,
) -> Answer<String> {
    stream::must_fit(request.headers(), stream::upload_limit(&hub))?;
    let form = Multipart::from_request(stream::attentive(request), &hub).await;
    let mut form = form.map_err(|rejection| of_text(&rejection.body_text()))?;
    let mut fields: Vec<(String, String)> = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| of_form(&hub, &error))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            let file = field.file_name().unwrap_or_default().to_owned();
            let query = Query::from_fields(&fields, Some(&file)).map_err(bad)?;
            must_own(&hub, &person, &query.package).await?;
            return store(&hub, &person, &query, field).await;
        }
        if fields.len() == MOST_FIELDS {
            return Err(Problem::TooLarge { what: format!("the form has more than {MOST_FIELDS} fields") });
        }
        fields.push((name, text_of(&hub, field).await?));
    }
    let query = Query::from_fields(&fields, None).map_err(bad)?;
    must_own(&hub, &person, &query.package).await?;
    Ok(if find(&hub, &query).await?.is_some() { AVAILABLE } else { MISSING }.to_owned())
}

/// `GET /lookaside/pkgs/<package>/<file>/<type>/<hash>/<file>`: downloads a file.
pub(super) async fn download(State(hub): State<Hub>, Path(path): Path<String>) -> Answer<Response> {
    let path = path.strip_prefix("rpms/").unwrap_or(&path);
    let parts: Vec<&str> = path.split('/').collect();
    let &[package, file, kind, hash, again] = parts.as_slice() else {
        let what = "a lookaside path is <package>/<file>/<type>/<hash>/<file>".to_owned();
        return Err(Problem::NotFound { what });
    };
    let query = Query::from_path(package, file, kind, hash, again)
        .map_err(|error| Problem::NotFound { what: error.to_string() })?;
    let missing = || Problem::NotFound { what: format!("the lookaside has no {}", query.path()) };
    let found = find(&hub, &query).await?.ok_or_else(missing)?;
    stream::artifact(&hub, &found.digest, &query.file).await
}

/// Streams the file into the store, hashing it on the way: one that is not what was announced is never stored.
async fn store(hub: &Hub, person: &Person, query: &Query, field: Field<'_>) -> Answer<String> {
    let reader = StreamReader::new(field.map_err(std::io::Error::other));
    let mut checked = Checked::new(reader, query.kind, &query.hex);
    let stored = hub.artifacts.put_stream(&mut checked, stream::upload_limit(hub), None).await;
    if let Some(actual) = checked.mismatch() {
        return Err(Problem::invalid(
            format!("{} has the {} {actual}, not {}", query.file, query.kind, query.hex),
            "send the file again, or the hash it really has",
        ));
    }
    stored.map_err(|error| of_stored(hub, error))?;
    let hashes = checked.into_hashes();
    note(hub, person, query, &hashes).await?;
    tracing::info!(
        package = query.package,
        file = query.file,
        by = person.name,
        "a source file was uploaded"
    );
    Ok(format!("stored {} ({} bytes)\n", query.path(), hashes.size))
}

/// Writes the file down under its hash of every kind, so that any `sources` file finds it.
async fn note(hub: &Hub, person: &Person, query: &Query, hashes: &Hashes) -> Answer<()> {
    let file = LookasideFile { digest: hashes.sha256.clone(), size: hashes.size };
    let mut tx = hub.db.write().await?;
    for kind in HashKind::ALL {
        let (hash, by, now) = (hashes.get(kind), &person.name, hub.now());
        tx.put_lookaside(&query.package, &query.file, kind.as_str(), hash, &file, by, now).await?;
    }
    Ok(tx.commit().await?)
}

async fn find(hub: &Hub, query: &Query) -> Answer<Option<LookasideFile>> {
    let mut tx = hub.db.read().await?;
    Ok(tx.lookaside(&query.package, &query.file, query.kind.as_str(), &query.hex).await?)
}

/// A package's files are the business of the maintainers of the SIG that owns it.
async fn must_own(hub: &Hub, person: &Person, package: &str) -> Answer<()> {
    let community = hub.community().await?;
    match community.projects().find(|project| project.packages.contains(package)) {
        Some(project) => require_role(&community, person, &project.sig, Role::Maintainer),
        None if person.admin => Ok(()),
        None => Err(Problem::forbidden(
            format!("no SIG owns package {package}"),
            "add it to the `packages` of a project and have the template applied",
        )),
    }
}

async fn text_of(hub: &Hub, mut field: Field<'_>) -> Answer<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| of_form(hub, &error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > LONGEST_FIELD {
            return Err(Problem::TooLarge {
                what: format!("a form field has more than {LONGEST_FIELD} bytes"),
            });
        }
    }
    String::from_utf8(bytes).map_err(|_| of_text("a form field is not UTF-8"))
}

fn bad(error: BadQuery) -> Problem {
    of_text(&error.to_string())
}

fn of_text(what: &str) -> Problem {
    Problem::invalid(what, "send name, <type>sum, and then filename to ask or file to upload")
}

fn of_form(hub: &Hub, error: &MultipartError) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return stream::too_large(stream::upload_limit(hub));
    }
    of_text(&error.body_text())
}

/// Why the file could not be stored; that the form is too large comes to the store as a reader that fails.
fn of_stored(hub: &Hub, error: ArtifactError) -> Problem {
    if let ArtifactError::Interrupted(cause) = &error
        && let Some(cause) = cause.get_ref().and_then(|cause| cause.downcast_ref::<MultipartError>())
        && cause.status() == StatusCode::PAYLOAD_TOO_LARGE
    {
        return of_form(hub, cause);
    }
    of_artifact(error)
}
