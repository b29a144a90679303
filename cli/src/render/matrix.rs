//! What works on what, as a grid.

use std::fmt::Write as _;

use farm::matrix::{Cell as Shown, Matrix};

use super::{Cell, Table, ago};
use crate::screen::{Look, Tone};

/// The grid, then what its columns stand for, then what failed and why.
#[must_use]
pub fn matrix(view: &Matrix, look: &Look) -> String {
    if view.columns.is_empty() {
        return format!("nothing of {} of {} is live in {}\n", view.project, view.sig, view.stage);
    }
    let mut grid = Table::new(&[""]);
    let dim = |text: &str| Cell::new(Tone::Dim, text);
    let numbers = (1..=view.columns.len()).map(|number| dim(&number.to_string()));
    grid.row([dim("TARGET"), dim("ARCH")].into_iter().chain(numbers));
    let mut failures = Vec::new();
    for row in &view.rows {
        let cells = row.cells.iter().enumerate().map(|(column, shown)| {
            if let Some(Shown::Failed { suites }) = shown {
                for (suite, reason) in suites {
                    failures.push(format!(
                        "{} on {} on {}: {suite}: {reason}",
                        row.target,
                        row.arch,
                        column + 1
                    ));
                }
            }
            cell(shown.as_ref())
        });
        let head = [Cell::new(Tone::Strong, row.target.as_str()), row.arch.as_str().into()];
        grid.row(head.into_iter().chain(cells.collect::<Vec<_>>()));
    }
    let mut text = grid.render(look);
    text.push('\n');
    let mut columns = Table::new(&["", "SINCE", "LAYERS"]);
    for (number, column) in (1..).zip(&view.columns) {
        let layers = if column.layers.is_empty() {
            format!("none, on image {}", column.image)
        } else {
            column.layers.join(", ")
        };
        columns.row([number.to_string().into(), ago(column.since, look.now).into(), layers.into()]);
    }
    text.push_str(&columns.render(look));
    for failure in failures {
        let _ = writeln!(text, "{}", look.paint(Tone::Bad, &failure));
    }
    text
}

fn cell(shown: Option<&Shown>) -> Cell {
    let Some(shown) = shown else { return Cell::new(Tone::Dim, "-") };
    let (tone, suites) = match shown {
        Shown::Passed => (Tone::Good, Vec::new()),
        Shown::Failed { suites } => (Tone::Bad, suites.keys().cloned().collect()),
        Shown::Waived { suites } => (Tone::Busy, suites.clone()),
        Shown::Running { .. } => (Tone::Busy, Vec::new()),
        Shown::NotRun { suites } => (Tone::Dim, suites.clone()),
    };
    let of = if suites.is_empty() { String::new() } else { format!(": {}", suites.join(" ")) };
    Cell::new(tone, format!("{}{of}", shown.word()))
}
