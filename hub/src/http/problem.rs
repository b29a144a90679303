//! How a [`Problem`] leaves the hub: as `application/problem+json`, its cause logged once here and never shown.

use axum::extract::rejection::{BytesRejection, FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::artifacts::ArtifactError;
use crate::problem::Problem;

/// The media type of RFC 9457.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Problem::Internal(cause) = &self {
            tracing::error!(cause = format!("{cause:#}"), "a call failed by the hub's own fault");
        }
        let body = self.body();
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], json).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // Programs that know no tokens, such as dnf and browsers, send one as a password.
            let how = HeaderValue::from_static("Bearer realm=\"grange\", Basic realm=\"grange\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Problem::NotFound { what: format!("the address names nothing: {}", rejection.body_text()) }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Problem::invalid(rejection.body_text(), "/api/v1/openapi.json lists the parameters of every call")
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        of_body(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        of_body(rejection.status(), rejection.body_text())
    }
}

impl From<FormRejection> for Problem {
    fn from(rejection: FormRejection) -> Self {
        of_body(rejection.status(), rejection.body_text())
    }
}

fn of_body(status: StatusCode, text: String) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::TooLarge { what: "the body is larger than this call takes".to_owned() };
    }
    Problem::invalid(text, "/api/v1/openapi.json describes the body of every call")
}

/// What could not be stored, or not be found.
pub(super) fn of_artifact(error: ArtifactError) -> Problem {
    match error {
        ArtifactError::TooLarge { .. } => Problem::TooLarge { what: error.to_string() },
        ArtifactError::Mismatch { .. } => Problem::invalid(error.to_string(), "send the file again, whole"),
        ArtifactError::Interrupted(cause) => {
            Problem::invalid(format!("the body did not arrive: {cause}"), "send it again, whole")
        }
        ArtifactError::Missing(_) => Problem::NotFound { what: error.to_string() },
        ArtifactError::Bucket(_) => {
            Problem::unavailable(error.to_string(), "try again; an operator sees to the store if this lasts")
        }
        ArtifactError::Damaged { .. } | ArtifactError::Disk(_) => Problem::Internal(error.into()),
    }
}
