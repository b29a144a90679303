//! The OpenAPI document: it grows from the same list as the routes. What holds for every call is said here once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use farm::api::ProblemBody;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, Content, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::PROBLEM_JSON;

/// Where the document is.
pub(super) const PATH: &str = "/api/v1/openapi.json";
/// The media type of files.
const BYTES: &str = "application/octet-stream";
/// What the token is called in the document.
const TOKEN: &str = "token";

/// The document before any route is in it.
pub(super) fn heading() -> OpenApi {
    let info = InfoBuilder::new().title("Grange").version(env!("CARGO_PKG_VERSION")).description(Some(
        "A community RPM build farm. Reading needs no token; whatever changes something does. Every error is a \
         problem+json document with a stable code, what was wrong, and what to do.",
    ));
    OpenApiBuilder::new().info(info.build()).components(Some(Components::new())).build()
}

/// The document with what every call has in common: the answer to what goes wrong, and the token.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme(TOKEN, scheme);
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, mut item) in paths {
        let takes_token = path.starts_with("/api/v1/attempts/") || path == "/api/v1/git/policy";
        // An enrolment is proven by the one-time token, which is in its body.
        let writes = path != "/api/v1/builders/enrol";
        for operation in item.get.iter_mut() {
            finish(operation, takes_token);
        }
        for operation in [&mut item.post, &mut item.put, &mut item.delete].into_iter().flatten() {
            finish(operation, writes);
        }
        // axum marks a parameter that takes several segments; OpenAPI has no such mark.
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
    document
}

fn finish(operation: &mut Operation, takes_token: bool) {
    // A handler's name says what it does within its file; the document needs one that is unique.
    let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    operation.operation_id =
        operation.operation_id.take().map(|name| format!("{tag}-{}", name.replace('_', "-")));
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            if response.description.is_empty() {
                response.description = "What was asked for".to_owned();
            }
            as_bytes(response.content.get_mut(BYTES));
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        as_bytes(body.content.get_mut(BYTES));
    }
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
    let problem = ResponseBuilder::new().description("What went wrong").content(PROBLEM_JSON, content);
    operation.responses.responses.insert("default".to_owned(), problem.build().into());
    if takes_token {
        let none: [&str; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, none)]);
    }
}

/// A file is a file, not the list of its bytes.
fn as_bytes(content: Option<&mut RefOr<Content>>) {
    if let Some(RefOr::T(content)) = content {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        let schema = ObjectBuilder::new().schema_type(Type::String).format(Some(format));
        content.schema = Some(schema.into());
    }
}

/// Serves the document.
pub(super) async fn show(State(text): State<Arc<str>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string())
}
