//! The OpenAPI document: it grows from the same list as the routes. What holds for every call is said here once.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use farm::api::ProblemBody;
use std::sync::Arc;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::PROBLEM_JSON;

/// Where the document is.
pub(super) const PATH: &str = "/api/v1/openapi.json";
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
        if let Some(get) = &mut item.get {
            finish(get, takes_token);
        }
        for operation in writing(&mut item) {
            finish(operation, true);
        }
        // axum marks a parameter that takes several segments; OpenAPI has no such mark.
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
    document
}

fn writing(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.post, &mut item.put, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn finish(operation: &mut Operation, takes_token: bool) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
    let problem = ResponseBuilder::new().description("What went wrong").content(PROBLEM_JSON, content);
    operation.responses.responses.insert("default".to_owned(), problem.build().into());
    if takes_token {
        let none: [&str; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, none)]);
    }
}

/// Serves the document.
pub(super) async fn show(State(text): State<Arc<str>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string())
}
