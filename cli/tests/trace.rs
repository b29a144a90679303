//! `grange trace`: what is asked of the hub, and what people read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::build::Build;
use farm::buildroot::RootFacts;
use farm::digest::Digest;
use farm::gate::{TestResult, TestVerdict};
use farm::ids::Minter;
use farm::provenance::{self, Facts};
use farm::request::{Request, RequestKind, Source};
use farm::stamp::Stamp;
use farm::trace::{Shown, Trace};
use hub::rpms::sample::sample_rpm;

use common::{Hub, code, told};

fn sample() -> Trace {
    let now = Stamp::from_millis(1_700_000_000_000);
    let mut minter = Minter::new(3);
    let request = Request {
        id: minter.mint(now),
        kind: RequestKind::Push { branch: "c9s-sig-storage-gluster".into() },
        sig: "storage".into(),
        target: "storage9s-gluster-11-el9s".into(),
        package: "hello".into(),
        by: "ada".into(),
        source: Source::Git { repo: "rpms/hello".into(), commit: "c0ffee".repeat(7), tree: None },
        created: now,
        retry_of: None,
        chain: None,
        closed: None,
    };
    let root = RootFacts {
        image: "debian-rpm".into(),
        image_digest: format!("sha256:{}", "7".repeat(64)),
        lock: Digest::of(b"lock"),
        input: Digest::of(b"input"),
        ccache: false,
    };
    let build = Build {
        id: minter.mint(now),
        nvr: "hello-2.10-1.el9s".parse().unwrap(),
        sig: "storage".into(),
        target: "storage9s-gluster-11-el9s".into(),
        request: request.id,
        imported: now,
        rpms: Vec::new(),
        roots: BTreeMap::from([(Arch::X86_64, root)]),
    };
    let shown = Shown {
        tag: "storage9s-gluster-11-release".into(),
        live: true,
        since: now,
        revision: 4,
        snapshot: minter.mint(now),
        promotion: minter.mint(now),
        approved_by: "rita".into(),
        approvals: Vec::new(),
        results: vec![TestResult {
            job: minter.mint(now),
            content: Digest::of(b"content"),
            suite: "installs".into(),
            arch: Arch::X86_64,
            on: None,
            version: Digest::of(b"v"),
            environment: Digest::of(b"e"),
            against: None,
            verdict: TestVerdict::Passed,
            at: now,
        }],
        waivers: Vec::new(),
    };
    let id = build.id;
    let facts = Facts { build, request, jobs: Vec::new(), hashes: Vec::new() };
    Trace {
        build: id,
        nvr: "hello-2.10-1.el9s".into(),
        file: Some("hello-2.10-1.el9s.x86_64.rpm".into()),
        body: Some(Digest::of(b"body")),
        provenance: provenance::statement(&facts),
        installed: BTreeMap::from([(Arch::X86_64, 214)]),
        shown: vec![shown],
    }
}

#[tokio::test]
async fn a_package_is_traced_by_its_name_or_by_what_it_is() {
    let hub = Hub::start().await;
    let answer = serde_json::to_string(&sample()).unwrap();
    hub.on("GET /trace?nevra=hello-2.10-1.el9s.x86_64", [common::text(&answer)]);
    let (printed, result) = hub.grange(&["trace", "hello-2.10-1.el9s.x86_64"]).await;
    assert_eq!(code(&result), 0, "{printed}");
    for part in [
        "hello-2.10-1.el9s for storage9s-gluster-11-el9s",
        "by ada",
        &format!("{} of rpms/hello, branch c9s-sig-storage-gluster", "c0ffee".repeat(7)),
        &format!("x86_64: debian-rpm sha256:{}", "7".repeat(64)),
        "x86_64: 214 packages, lock ",
        "`grange buildroot hello-2.10-1.el9s --arch x86_64` lists them",
        "storage9s-gluster-11-release live",
        "rita",
        "installs on x86_64 passed",
    ] {
        assert!(printed.contains(part), "no `{part}` in\n{printed}");
    }
    let (printed, _) = hub.grange(&["trace", "hello-2.10-1.el9s.x86_64", "--json"]).await;
    assert_eq!(serde_json::from_str::<Trace>(&printed).unwrap(), sample());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whatever it is called");
    std::fs::write(&file, sample_rpm("hello", "2.10", "1.el9s", "x86_64").bytes().unwrap()).unwrap();
    let body = farm::openpgp::body_of(&file).unwrap();
    hub.on(&format!("GET /trace?body={body}"), [common::text(&answer)]);
    let (printed, result) = hub.grange(&["trace", file.to_str().unwrap()]).await;
    assert_eq!(code(&result), 0, "{printed}");
    std::fs::write(&file, "no package").unwrap();
    let (_, result) = hub.grange(&["trace", file.to_str().unwrap()]).await;
    assert_eq!(code(&result), 2);
    assert!(told(result).contains("not an RPM"));
}
