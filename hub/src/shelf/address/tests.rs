use farm::sig::{Project, Stage};
use farm::snapshot::Snapshot;

use super::*;
use crate::bucket::{Bucket, S3};
use crate::repos::dotrepo::public_path;
use crate::repos::manifest::Listing;
use crate::repos::publish::SnapshotTree;
use crate::repos::samples::{Bench, gluster};

const BASE: &str = "https://s3.example.org/farm/public";
const STAGE: Stage = Stage::Testing;

struct Farm {
    bench: Bench,
    project: Project,
    public: SnapshotTree,
}

impl Farm {
    /// One whose users fetch packages from the bucket.
    fn new() -> Self {
        let bench = Bench::new();
        let public = SnapshotTree::open(&bench.dir.path().join("public"), &bench.artifacts).unwrap();
        Self { bench, project: gluster(), public: public.without_packages() }
    }

    fn shelf(&self, public_url: Option<&str>) -> Shelf {
        let _another_test_did = rustls::crypto::ring::default_provider().install_default();
        let secret = self.bench.dir.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let nowhere = S3 {
            endpoint: "http://127.0.0.1:9".to_owned(),
            bucket: "farm".to_owned(),
            access_key: Some("nobody".to_owned()),
            secret_key_file: Some(secret),
            ..S3::default()
        };
        let (bucket, notes) = (Bucket::open(&nowhere).unwrap(), self.bench.dir.path().join("notes"));
        Shelf::new(bucket, &self.bench.artifacts, self.public.root(), &notes, public_url)
    }

    async fn publish(&mut self, base: Option<&Snapshot>, version: &str) -> Snapshot {
        let hello = self.bench.hello(version).await;
        let snapshot = self.bench.snapshot(&self.project.tag(STAGE), base, &[hello]);
        let staged = self.bench.compose(&snapshot).await.unwrap();
        let approved = self.bench.approve(&self.project, STAGE, &snapshot, base.map(|base| base.id));
        self.public.admit(&approved, &self.project, STAGE, &staged).await.unwrap();
        let project = Some((&self.project, STAGE));
        self.public.follow(&snapshot.tag, snapshot.id, project).await.unwrap();
        snapshot
    }

    /// The paths of a snapshot's primary and of one of its packages, in its folder for x86_64.
    fn named(&self, snapshot: &Snapshot) -> [String; 2] {
        let listing = Listing::read(&self.public.dir(snapshot.id), snapshot.id, "x86_64").unwrap();
        ["-primary.xml.gz", ".x86_64.rpm"]
            .map(|end| listing.files().find(|file| file.path.ends_with(end)).unwrap().path.to_owned())
    }
}

fn elsewhere(path: &str) -> Leads {
    Leads::Elsewhere(format!("{BASE}/{}", utf8_percent_encode(path, PLAIN)))
}

#[tokio::test]
async fn what_a_former_snapshot_had_is_found_at_the_paths_people_know() {
    let mut farm = Farm::new();
    let first = farm.publish(None, "1").await;
    let second = farm.publish(Some(&first), "2").await;
    let plain = public_path(&farm.project, STAGE, "x86_64").unwrap();
    let (sent, served) = (farm.shelf(Some(BASE)), farm.shelf(None));
    for snapshot in [&first, &second] {
        let [primary, package] = farm.named(snapshot);
        let asked = Path::new(&plain).join(&primary);
        let own = format!("snap/{}/x86_64/{primary}", snapshot.id);
        assert_eq!(sent.leads(&asked).await.unwrap(), elsewhere(&own));
        assert_eq!(served.leads(&asked).await.unwrap(), Leads::Here, "the disk has it");
        let asked = Path::new(&plain).join(&package);
        let pool = format!("pool/{}/x86_64/{package}", first.tag);
        for asked in [asked.as_path(), Path::new(&pool)] {
            assert_eq!(sent.leads(asked).await.unwrap(), elsewhere(&pool));
        }
    }
    let [[_, old], [_, new]] = [&first, &second].map(|snapshot| farm.named(snapshot));
    let stored = Leads::Stored(format!("public/pool/{}/x86_64/{old}", first.tag));
    assert_eq!(served.leads(&Path::new(&plain).join(old)).await.unwrap(), stored);
    let kept = served.leads(&Path::new(&plain).join(new)).await.unwrap();
    assert!(matches!(kept, Leads::Package(_)), "{kept:?}");
    for none in ["repodata/none-primary.xml.gz", "Packages/h", "Packages/h/x", "none"] {
        for shelf in [&sent, &served] {
            assert_eq!(shelf.leads(&Path::new(&plain).join(none)).await.unwrap(), Leads::Here, "{none}");
        }
    }
}

#[tokio::test]
async fn what_the_disk_has_lost_is_where_it_was_put() {
    let mut farm = Farm::new();
    let lost = farm.publish(None, "1").await;
    let live = farm.publish(Some(&lost), "2").await;
    let [primary, package] = farm.named(&lost);
    farm.public.hold().await.unwrap().take_out(lost.id).await.unwrap();
    farm.public.sweep().await.unwrap();
    let (sent, served) = (farm.shelf(Some(BASE)), farm.shelf(None));
    let snapshot = format!("snap/{}/x86_64", lost.id);
    for (inner, is_at) in [
        (&primary, format!("{snapshot}/{primary}")),
        (&package, format!("pool/{}/x86_64/{package}", lost.tag)),
    ] {
        let asked = Path::new(&snapshot).join(inner);
        for (shelf, expected) in
            [(&sent, elsewhere(&is_at)), (&served, Leads::Stored(format!("public/{is_at}")))]
        {
            assert_eq!(shelf.leads(&asked).await.unwrap(), Leads::Lost(lost.id));
            assert_eq!(shelf.leads_in_lost(&asked, &lost.tag), expected);
        }
    }
    let none = [
        format!("snap/{}/x86_64/repodata/none", live.id),
        "snap/none/x86_64/repodata/repomd.xml".to_owned(),
        format!("snap/{}", lost.id),
        "keys/none".to_owned(),
    ];
    for none in none {
        assert_eq!(sent.leads(Path::new(&none)).await.unwrap(), Leads::Here, "{none}");
    }
}
