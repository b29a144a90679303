//! Pages for people: rendered by the hub, readable without scripts.

pub(super) mod build;
pub(super) mod front;
pub(super) mod matrix;
pub(super) mod promotion;

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use farm::stamp::Stamp;

use crate::problem::{Answer, Problem};

/// The one style sheet.
const STYLE: &str = include_str!("../../../templates/style.css");
/// The one script: it follows logs.
const SCRIPT: &str = include_str!("../../../templates/follow.js");

/// A problem, as a page.
pub(super) struct Page(pub(super) Problem);

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    title: String,
    detail: String,
    fix: String,
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let body = self.0.body();
        let mut response = self.0.into_response();
        let page = ProblemPage { title: body.title, detail: body.detail, fix: body.fix.unwrap_or_default() };
        if let Ok(text) = page.render() {
            let status = response.status();
            response = (status, Html(text)).into_response();
        }
        response
    }
}

/// `/assets/style.css`
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")], STYLE)
}

/// `/assets/follow.js`
pub(super) async fn script() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")],
        SCRIPT,
    )
}

/// A rendered page.
pub(super) fn html(page: &impl Template) -> Answer<Response> {
    let text = page.render().map_err(anyhow::Error::from)?;
    Ok((StatusCode::OK, Html(text)).into_response())
}

/// `2026-11-21 08:30:12 UTC`
pub(super) fn when(stamp: Stamp) -> String {
    jiff::Timestamp::from_millisecond(stamp.millis())
        .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// `1 h 4 min`, `2 min 5 s`, `7 s`
pub(super) fn span(from: Stamp, to: Stamp) -> String {
    let seconds = (to - from).as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// `12.3 MiB`
pub(super) fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "a person reads two digits of it")]
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1000.0 || unit == "GiB" {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_times_and_sizes() {
        let at = Stamp::from_millis;
        assert_eq!(when(at(0)), "1970-01-01 00:00:00 UTC");
        assert_eq!(span(at(0), at(65_000)), "1 min 5 s");
        assert_eq!(span(at(0), at(3_840_000)), "1 h 4 min");
        assert_eq!((size(7).as_str(), size(12_897_485).as_str()), ("7 B", "12.3 MiB"));
    }
}
