//! The page of a project's grid: what works on what.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use farm::matrix::{self, Matrix};
use farm::sig::Stage;

use super::{Page, html, when};
use crate::http::extract::Query;
use crate::http::matrix::Which;
use crate::live;
use crate::problem::Answer;
use crate::state::Hub;

#[derive(Template)]
#[template(path = "matrix.html")]
struct Grid {
    sig: String,
    project: String,
    stage: &'static str,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

struct Column {
    layers: Vec<String>,
    image: String,
    since: String,
}

struct Row {
    target: String,
    arch: &'static str,
    is_live: bool,
    cells: Vec<Cell>,
}

struct Cell {
    word: &'static str,
    class: &'static str,
    notes: Vec<String>,
    request: String,
}

/// `/matrix?sig=…&project=…&stage=…`
pub(in crate::http) async fn show(
    State(hub): State<Hub>,
    Query(which): Query<Which>,
) -> Result<Response, Page> {
    page(&hub, which).await.and_then(|page| html(&page)).map_err(Page)
}

async fn page(hub: &Hub, Which { sig, project, stage }: Which) -> Answer<Grid> {
    let found = live::matrix(hub, &sig, &project, stage.unwrap_or(Stage::Release)).await?;
    let Matrix { sig, project, stage, columns, rows } = found;
    let column = |column: matrix::Column| Column {
        layers: column.layers,
        image: column.image,
        since: when(column.since),
    };
    let row = |row: matrix::Row| Row {
        target: row.target,
        arch: row.arch.as_str(),
        is_live: row.builds.is_some(),
        cells: row.cells.into_iter().map(cell).collect(),
    };
    Ok(Grid {
        sig,
        project,
        stage: stage.as_str(),
        columns: columns.into_iter().map(column).collect(),
        rows: rows.into_iter().map(row).collect(),
    })
}

fn cell(cell: Option<matrix::Cell>) -> Cell {
    let Some(cell) = cell else {
        return Cell { word: "", class: "", notes: Vec::new(), request: String::new() };
    };
    let word = cell.word();
    let (class, notes, request) = match cell {
        matrix::Cell::Passed => ("passed", Vec::new(), String::new()),
        matrix::Cell::Failed { suites } => {
            let note = |(suite, reason): (String, String)| format!("{suite}: {reason}");
            ("failed", suites.into_iter().map(note).collect(), String::new())
        }
        matrix::Cell::Waived { suites } => ("ready", suites, String::new()),
        matrix::Cell::Running { request } => ("running", Vec::new(), request.to_string()),
        matrix::Cell::NotRun { suites } => ("missing", suites, String::new()),
    };
    Cell { word, class, notes, request }
}
