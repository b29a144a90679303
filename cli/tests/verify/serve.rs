//! A web server for a public tree, with a page of links for each folder.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};

pub(crate) async fn tree(root: PathBuf) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(answer).with_state(root);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn answer(State(root): State<PathBuf>, request: Request) -> Response {
    let Some(inner) = request.uri().path().strip_prefix("/repos/") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let path = root.join(inner);
    if path.is_dir() {
        let links = std::fs::read_dir(&path).unwrap().map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            format!("<a href=\"{name}/\">{name}</a>\n")
        });
        return Html(format!("<a href=\"../\">..</a>\n{}", links.collect::<String>())).into_response();
    }
    match std::fs::read(&path) {
        Ok(bytes) => Body::from(bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
