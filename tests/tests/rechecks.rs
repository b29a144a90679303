//! What is live is tested again by itself when something below it moves; on the embedded defaults, and on PostgreSQL and RabbitMQ.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::time::{Duration, Instant};

use farm::api::{StatusView, TagView};
use farm::ids::PromotionId;
use farm::matrix::{Cell, Matrix};
use farm::recheck::{Cause, LayerVersion};
use farm::request::{Request, RequestKind, Status};
use farm::why::{Why, WhyCode};
use serde_json::json;
use tests::{Behaviour, Farm, Options, Package, SIG_ABOVE, outside_repo, stories};

stories!(
    what_moves_below_a_live_repo_is_a_reason_to_test_it_again,
    a_repo_outside_that_changes_is_a_reason_to_test_again,
);

/// Nothing must have moved for so long.
const WAIT: u64 = 3_000;
const BELOW: &str = "demo9s-hello-2-release";
const LIVE: &str = "above9s-moon-1-release";

async fn release(farm: &Farm, package: &Package, branch: &str) {
    let pushed = farm.push("ada", package, branch);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    farm.tested(&package.nvr()).await;
    let (status, body) = farm.promote("rex", &[&package.nvr()]).await;
    assert!((200..300).contains(&status), "{body}");
    let settled = farm.settled(body["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(settled.promotion.phase(), "published", "{}", settled.sentence);
}

/// Makes the repo below show again what it showed at a revision.
async fn roll_back(farm: &Farm, to: i64) {
    let body = json!({"tag": BELOW, "revision": to, "reason": "a story of one that goes back"});
    let (status, body) = farm.post("rex-token", "/api/v1/rollbacks", &body).await;
    assert!((200..300).contains(&status), "{body}");
    let id: PromotionId = body["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(farm.settled(id).await.promotion.phase(), "published");
}

async fn revision(farm: &Farm, tag: &str) -> i64 {
    let (_, body) = farm.get(&format!("/api/v1/tags/{tag}")).await;
    serde_json::from_value::<TagView>(body).unwrap().revision
}

/// The rechecks of a live repo, the oldest first.
async fn checks(farm: &Farm, tag: &str) -> Vec<Request> {
    let (status, body) = farm.get(&format!("/api/v1/builds?kind=check&package={tag}&limit=200")).await;
    assert_eq!(status, 200, "{body}");
    let items = body["items"].as_array().unwrap();
    items.iter().rev().map(|item| serde_json::from_value(item["request"].clone()).unwrap()).collect()
}

fn causes(request: &Request) -> Vec<Cause> {
    let RequestKind::Check { causes, .. } = &request.kind else { panic!("{:?}", request.kind) };
    causes.clone()
}

/// Waits until there are so many rechecks and the last one is over; gives what that one was for.
async fn checked(farm: &Farm, tag: &str, times: usize) -> (Vec<Cause>, Status) {
    let last = farm
        .until(&format!("{tag} was tested again {times} times"), || async {
            let checks = checks(farm, tag).await;
            assert!(checks.len() <= times, "{checks:?}");
            (checks.len() == times).then(|| checks.into_iter().next_back().unwrap())
        })
        .await;
    (causes(&last), farm.closed(last.id).await.status)
}

/// Waits until the keeper has looked at a live repo.
async fn seen(farm: &Farm, tag: &str) {
    farm.until(&format!("{tag} was looked at"), || async {
        farm.db.read().await.unwrap().watch(tag).await.unwrap().map(|_| ())
    })
    .await;
}

/// Waits until a live repo has been tested on a revision of the one below, and the keeper has looked at how that ended.
async fn tested_on(farm: &Farm, tag: &str, revision: i64) {
    let below = LayerVersion::tag(BELOW, revision);
    farm.until(&format!("{tag} was tested on {}", below.label()), || async {
        let watch = farm.db.read().await.unwrap().watch(tag).await.unwrap()?;
        (watch.request.is_none() && watch.tested.around.layers.contains(&below)).then_some(())
    })
    .await;
}

async fn matrix(farm: &Farm, sig: &str, project: &str) -> Matrix {
    let (status, body) = farm.get(&format!("/api/v1/matrix?sig={sig}&project={project}")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

fn moved(from: i64, to: i64) -> Vec<Cause> {
    let (from, to) = (Some(format!("r{from}")), Some(format!("r{to}")));
    vec![Cause::LayerMoved { layer: BELOW.to_owned(), from, to }]
}

async fn what_moves_below_a_live_repo_is_a_reason_to_test_it_again() {
    let farm = Farm::bare(Options { recheck_ms: WAIT, ..Options::default() }).await;
    farm.apply_demo().await;
    let hello = |version: &str| Package::new("hello", version, Behaviour::Builds);
    release(&farm, &hello("1"), "c9s-sig-demo-hello").await;
    farm.apply(SIG_ABOVE).await;
    let moon = Package::new("moon", "1", Behaviour::Builds);
    release(&farm, &moon, "c9s-sig-above-moon").await;
    seen(&farm, LIVE).await;
    seen(&farm, "above9s-moon-1-testing").await;
    assert_eq!(checks(&farm, LIVE).await.len(), 0, "its own promotion has tested it");
    let grid = matrix(&farm, "above", "moon").await;
    assert_eq!(grid.columns.len(), 1);
    assert_eq!(
        (&grid.columns[0].layers[..], &grid.rows[0].cells[..]),
        (&[format!("{BELOW}@r1")][..], &[Some(Cell::Passed)][..])
    );

    // The layer below moves, after its own gate has tried what is layered on it.
    release(&farm, &hello("2"), "c9s-sig-demo-hello").await;
    assert_eq!(checked(&farm, LIVE, 1).await, (moved(1, 2), Status::Complete));
    checked(&farm, "above9s-moon-1-testing", 1).await;
    let grid = matrix(&farm, "above", "moon").await;
    let layers: Vec<_> = grid.columns.iter().map(|column| column.layers.join(" ")).collect();
    assert_eq!(layers, [format!("{BELOW}@r1"), format!("{BELOW}@r2")]);
    assert_eq!(grid.rows.len(), 1);
    assert_eq!(grid.rows[0].cells, [Some(Cell::Passed), Some(Cell::Passed)]);
    let page = reqwest::get(format!("{}/matrix?sig=above&project=moon", farm.url)).await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains(&format!("{BELOW}@r2")) && page.contains("badge passed"), "{page}");
    assert_eq!(checks(&farm, BELOW).await.len(), 0, "nothing is below that one");

    // Three moves in a row are one recheck, unless this machine took too long over them.
    let begun = Instant::now();
    for to in [1, 2, 1] {
        roll_back(&farm, to).await;
    }
    let now = revision(&farm, BELOW).await;
    assert_eq!(now, 5);
    if begun.elapsed() < Duration::from_millis(WAIT) {
        assert_eq!(checked(&farm, LIVE, 2).await, (moved(2, now), Status::Complete));
    }
    // Both repos show the same, so what one is tested for says something of the other.
    tested_on(&farm, LIVE, now).await;
    tested_on(&farm, "above9s-moon-1-testing", now).await;
    let times = checks(&farm, LIVE).await.len();
    what_breaks_is_said(&farm, &moon, times).await;
    farm.ends_well().await;
}

/// What fails stays live; it is said, with what broke it.
async fn what_breaks_is_said(farm: &Farm, moon: &Package, times: usize) {
    farm.breaks(moon);
    roll_back(farm, 2).await;
    let (_, status) = checked(farm, LIVE, times + 1).await;
    assert_eq!(status, Status::Failed);
    let red = farm
        .until("it is said", || async {
            let (_, body) = farm.get("/api/v1/status").await;
            let view: StatusView = serde_json::from_value(body).unwrap();
            view.red.into_iter().find(|red| red.tag == LIVE && red.red.suite == "runs")
        })
        .await;
    let said = format!("{LIVE}: suite runs fails on x86_64 since {BELOW}@r6");
    assert!(red.sentence.starts_with(&said), "{}", red.sentence);
    let (_, body) = farm.get(&format!("/api/v1/why/{LIVE}")).await;
    let why: Why = serde_json::from_value(body).unwrap();
    assert_eq!((why.code, why.sentence), (WhyCode::Failed, red.sentence));
    let figures = reqwest::get(format!("{}/metrics", farm.url)).await.unwrap().text().await.unwrap();
    assert!(figures.contains(&format!("grange_live_red{{tag=\"{LIVE}\"}} 1")), "{figures}");
    let grid = matrix(farm, "above", "moon").await;
    let last = grid.rows[0].cells.last().unwrap().as_ref().unwrap();
    assert!(matches!(last, Cell::Failed { suites } if suites.contains_key("runs")), "{last:?}");
    let (_, body) = farm.get(&format!("/api/v1/tags/{LIVE}")).await;
    assert_eq!(body["builds"][0]["nvr"], "moon-1-1", "it stays live");
    checked(farm, "above9s-moon-1-testing", checks(farm, "above9s-moon-1-testing").await.len()).await;
}

async fn a_repo_outside_that_changes_is_a_reason_to_test_again() {
    let base = tempfile::tempdir().unwrap();
    outside_repo(base.path(), "1");
    let farm = Farm::bare(Options {
        recheck_ms: 500,
        outside_ms: 500,
        file_repos: vec![base.path().to_owned()],
        ..Options::default()
    })
    .await;
    farm.apply_demo_with(&format!(
        "[[project.external-repo]]\nname = \"base\"\nbaseurl = \"file://{}\"\n",
        base.path().display()
    ))
    .await;
    let testing = "demo9s-hello-2-testing";
    farm.closed(farm.build(&Package::new("hello", "1", Behaviour::Builds))).await;
    assert_eq!(farm.tested("hello-1-1").await.phase(), "published");
    farm.until("the repo outside and the live one were looked at", || async {
        let mut tx = farm.db.read().await.unwrap();
        let is_seen = !tx.outside().await.unwrap().is_empty();
        let watch = tx.watch(testing).await.unwrap()?;
        (is_seen && watch.tested.around.layers.iter().all(|layer| layer.version.is_some())).then_some(())
    })
    .await;
    assert_eq!(checks(&farm, testing).await.len(), 0);
    outside_repo(base.path(), "2");
    let (causes, status) = checked(&farm, testing, 1).await;
    assert_eq!(status, Status::Complete);
    let [Cause::OutsideChanged { name, from, to }] = &causes[..] else { panic!("{causes:?}") };
    assert!(name == "base" && from != to && to.len() == 8, "{causes:?}");
    // Every suite was run anew: that the repo outside is another does not show in the environment.
    let request = checks(&farm, testing).await.pop().unwrap();
    assert_eq!(farm.request(request.id).await.jobs.len(), 2);
    farm.ends_well().await;
}
