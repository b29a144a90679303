use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;

use crate::bench::{Bench, TOKEN, problem};

#[tokio::test]
async fn a_log_is_read_in_parts_while_it_grows() {
    let bench = Bench::open().await;
    let work = bench.building().await;
    let path = format!("/api/v1/jobs/{}/logs/build.log", work.job);
    let early = bench.get(&path).send().await.unwrap();
    assert_eq!(early.status(), 200);
    assert_eq!(early.headers()["x-log-size"], "0");
    let put = |offset: u64, text: &'static str| {
        bench.post(&work.at(&format!("logs/build.log?offset={offset}")), TOKEN).body(text).send()
    };
    assert_eq!(put(0, "hello\nworld\n").await.unwrap().status(), 200);
    let part = bench.get(&format!("{path}?offset=6&limit=3")).send().await.unwrap();
    assert_eq!(part.headers()["x-log-size"], "12");
    assert_eq!(part.headers()["x-log-complete"], "false");
    assert_eq!(part.text().await.unwrap(), "wor");
    let beyond = bench.get(&format!("{path}?offset=99")).send().await.unwrap();
    assert_eq!(beyond.text().await.unwrap(), "");
    let finish = json!({"outcome": {"kind": "passed"}});
    bench.post(&work.at("finish"), TOKEN).json(&finish).send().await.unwrap();
    let whole = bench.get(&format!("{path}?turn=1")).send().await.unwrap();
    assert_eq!(whole.headers()["x-log-complete"], "true");
    assert_eq!(whole.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(whole.text().await.unwrap(), "hello\nworld\n");
    for none in ["root.log", "..%2Fbuild.log", "build.txt"] {
        let answer = bench.get(&format!("/api/v1/jobs/{}/logs/{none}", work.job)).send().await.unwrap();
        problem(answer, 404, "not-found").await;
    }
}

/// Reads events until `until` is among what came.
async fn until(bench: &Bench, path: &str, last: Option<&str>, until: &str) -> String {
    let mut call = bench.get(path);
    if let Some(last) = last {
        call = call.header("last-event-id", last);
    }
    let answer = call.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.bytes_stream();
    let mut text = String::new();
    while !text.contains(until) {
        let piece = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
        text.push_str(&String::from_utf8_lossy(&piece.expect("in time").expect("more").unwrap()));
    }
    text
}

#[tokio::test]
async fn a_log_is_followed_from_before_its_beginning_to_its_end() {
    let bench = Bench::open().await;
    let work = bench.offered().await;
    let path = format!("/api/v1/jobs/{}/logs/build.log/events", work.job);
    let all = async { until(&bench, &path, None, "event: end").await };
    let written = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(bench.claim(&work, crate::bench::TICKET, TOKEN).await.0, 200);
        let mut offset = 0;
        for text in ["one\ntw", "o\nthree\rthree\n", "rest"] {
            let put = work.at(&format!("logs/build.log?offset={offset}"));
            assert_eq!(bench.post(&put, TOKEN).body(text).send().await.unwrap().status(), 200);
            offset += text.len();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let finish = json!({"outcome": {"kind": "passed"}});
        bench.post(&work.at("finish"), TOKEN).json(&finish).send().await.unwrap();
    };
    let (all, ()) = tokio::join!(all, written);
    let lines: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(lines, ["one", "two", "three", "three", "rest", "complete"], "{all}");
    assert!(all.contains("id: 4\n") && all.contains("id: 24\n"), "{all}");

    let resumed = until(&bench, &path, Some("8"), "event: end").await;
    assert!(!resumed.contains("data: two") && resumed.contains("data: three"), "{resumed}");
}

#[tokio::test]
async fn a_follower_does_not_keep_the_hub_from_stopping() {
    // Whoever is waited for is waited for longer than this test allows.
    let bench = Bench::with(|config| config.drain_ms = 300_000).await;
    let work = bench.building().await;
    bench.post(&work.at("logs/build.log?offset=0"), TOKEN).body("hello\n").send().await.unwrap();
    let path = format!("/api/v1/jobs/{}/logs/build.log/events", work.job);
    let mut followed = bench.get(&path).send().await.unwrap();
    assert!(followed.chunk().await.unwrap().is_some());
    let begun = std::time::Instant::now();
    bench.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
