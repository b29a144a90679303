//! Signing, from build to install: a whole farm with its signer, real dnf and rpm, keys that follow one another, and a hub that
//! takes nobody's word.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use farm::decision::{Statement, statement};
use farm::digest::Digest;
use farm::dsse::{DecisionPublic, Envelope, IN_TOTO};
use farm::openpgp::{PublicKey, SecretKey, read_signed, sign_detached, sign_package, verify_detached};
use farm::promotion::{Promotion, PromotionState};
use farm::signing::{Endorsement, Purpose, SignedMetadata, SigningKey};
use farm::stamp::Stamp;
use signer::facts::{Facts, KnownMembers};
use signer::keys::Keys;
use tests::{Behaviour, Farm, Package};

/// As many bits as a test needs.
const BITS: u32 = 2048;

fn hello(version: &str) -> Package {
    Package::new("hello", version, Behaviour::Builds)
}

/// Builds a version of hello and waits until everybody can test it.
async fn publish(farm: &Farm, version: &str) -> Promotion {
    farm.closed(farm.build(&hello(version))).await;
    let promotion = farm.tested(&format!("hello-{version}-1")).await;
    assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
    promotion
}

/// Builds a version of hello and waits until the gate has let it through and it cannot go on.
async fn held_up(farm: &Farm, version: &str, expected: &str) -> Promotion {
    farm.closed(farm.build(&hello(version))).await;
    farm.until("the signer says why it does not sign", || async {
        let mut tx = farm.db.read().await.unwrap();
        let heard = tx.signers().await.unwrap();
        let (id, _) =
            heard.iter().flat_map(|heard| &heard.word.troubles).find(|(_, said)| said.contains(expected))?;
        let promotion = tx.promotion(*id).await.unwrap()?.value;
        let is_approved = matches!(promotion.state, PromotionState::Approved { .. });
        (is_approved && promotion.nvrs == [format!("hello-{version}-1")]).then_some(promotion)
    })
    .await
}

/// What is live of the testing repo.
fn live(farm: &Farm) -> PathBuf {
    farm.data.join("public/live/demo9s-hello-2-testing")
}

fn key_folder(farm: &Farm) -> PathBuf {
    farm.data.parent().unwrap().join("keys")
}

fn keys(farm: &Farm) -> Keys {
    Keys::open(&key_folder(farm), None).unwrap()
}

fn key_file(farm: &Farm) -> PathBuf {
    farm.data.join("public/keys/RPM-GPG-KEY-demo")
}

/// The keys of a file that are armoured one behind the other.
fn published(path: &Path) -> Vec<PublicKey> {
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let text = std::fs::read_to_string(path).unwrap();
    text.split_inclusive(END)
        .filter(|block| block.contains(END))
        .map(|block| PublicKey::from_armored(block).unwrap())
        .collect()
}

fn rpms_in(folder: &Path) -> Vec<PathBuf> {
    let output = Command::new("find").arg("-L").arg(folder).args(["-name", "*.rpm"]).output().unwrap();
    let mut found: Vec<PathBuf> =
        String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect();
    found.sort();
    found
}

/// Installs hello into a fresh root with a dnf that checks everything.
fn install(repo: &Path, key: &Path) -> Output {
    let place = tempfile::tempdir().unwrap();
    let conf = place.path().join("dnf.conf");
    let text = format!(
        "[main]\ngpgcheck=1\nrepo_gpgcheck=1\nreposdir=/nonexistent\ncachedir={0}/cache\nlogdir={0}\nplugins=0\n\
         skip_if_unavailable=0\n[demo]\nname=demo\nbaseurl=file://{1}\ngpgkey=file://{2}\n",
        place.path().display(),
        repo.canonicalize().unwrap().display(),
        key.display()
    );
    std::fs::write(&conf, text).unwrap();
    let root = place.path().join("root");
    let mut output = Command::new("dnf")
        .arg("-c")
        .arg(&conf)
        .arg(format!("--installroot={}", root.display()))
        .args(["-y", "--releasever=9", "install", "hello"])
        .output()
        .unwrap();
    if output.status.success() && !root.join("usr/share/hello").exists() {
        output.stderr.extend_from_slice(b"it was not installed");
        output.status = Command::new("false").status().unwrap();
    }
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("SKIPPED: {program} is not installed");
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dnf_installs_what_is_published_and_checks_every_signature() {
    let farm = Farm::new().await;
    let promotion = publish(&farm, "2.10").await;
    let repo = live(&farm).join("x86_64");
    let known = published(&key_file(&farm));
    assert_eq!(known.len(), 1);

    let repomd = std::fs::read(repo.join("repodata/repomd.xml")).unwrap();
    let signature = std::fs::read_to_string(repo.join("repodata/repomd.xml.asc")).unwrap();
    verify_detached(&signature, &repomd, &known).unwrap();
    let rpms = rpms_in(&live(&farm));
    assert!(rpms.len() >= 2, "{rpms:?}");
    for rpm in &rpms {
        assert_eq!(read_signed(rpm, &known).unwrap().by, known[0].fingerprint(), "{}", rpm.display());
    }

    // The decision names exactly what is there.
    let decision = std::fs::read_to_string(live(&farm).join("decision.dsse.json")).unwrap();
    let public = std::fs::read_to_string(farm.data.join("public/keys/decisions.pub")).unwrap();
    let public = DecisionPublic::from_pem(&public).unwrap();
    let (payload, _) = Envelope::from_json(&decision).unwrap().open(IN_TOTO, &[public]).unwrap();
    let statement: Statement = serde_json::from_slice(&payload).unwrap();
    assert_eq!(statement.predicate.promotion, promotion.id);
    assert_eq!(statement.metadata()["x86_64"], Digest::of(&repomd));
    for rpm in &rpms {
        let (name, digest) =
            (rpm.file_name().unwrap().to_str().unwrap(), Digest::of(&std::fs::read(rpm).unwrap()));
        let named =
            statement.subject.iter().any(|subject| subject.name == name && subject.digest.sha256 == digest);
        assert!(named, "{name} is not in the decision");
    }
    let results = &statement.predicate.results;
    assert!(results.iter().any(|result| result.suite == "runs"), "{results:?}");

    if has("dnf") {
        let installed = install(&repo, &key_file(&farm));
        assert!(installed.status.success(), "{}", said(&installed));
        let stranger =
            SecretKey::generate("A stranger", BITS, Stamp::from_millis(1_750_000_000_000)).unwrap();
        let other = farm.data.join("other-key");
        std::fs::write(&other, stranger.public().to_armored().unwrap()).unwrap();
        let refused = install(&repo, &other);
        assert!(!refused.status.success(), "{}", said(&refused));
    }
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_follows_another_without_a_gap() {
    let farm = Farm::new().await;
    publish(&farm, "2.10").await;
    let first = published(&key_file(&farm))[0].fingerprint();

    // Announced: published beside the first, and not signing yet.
    let hour = Duration::from_secs(3600);
    let soon = Stamp::from_millis(first_of(&farm, &first).since.millis()) + hour;
    let now = first_of(&farm, &first).since;
    let second = keys(&farm).new_packages("demo", "The second", BITS, soon, now).unwrap().fingerprint;
    publish(&farm, "2.11").await;
    let names =
        |farm: &Farm| published(&key_file(farm)).iter().map(PublicKey::fingerprint).collect::<Vec<_>>();
    assert_eq!(names(&farm), [first.clone(), second.clone()]);
    assert_eq!(signers(&farm), std::slice::from_ref(&first));

    // It signs now: packages, and the metadata together with the first.
    keys(&farm).set_times(&second, now, None).unwrap();
    keys(&farm).set_times(&first, Stamp::from_millis(now.millis() - 1), Some(soon)).unwrap();
    publish(&farm, "2.12").await;
    assert_eq!(signers(&farm), std::slice::from_ref(&second));
    let repo = live(&farm).join("x86_64/repodata");
    let repomd = std::fs::read(repo.join("repomd.xml")).unwrap();
    let signature = std::fs::read_to_string(repo.join("repomd.xml.asc")).unwrap();
    let by = verify_detached(&signature, &repomd, &published(&key_file(&farm))).unwrap();
    assert_eq!(by, [second.clone(), first.clone()]);
    if has("dnf") {
        let installed = install(&live(&farm).join("x86_64"), &key_file(&farm));
        assert!(installed.status.success(), "{}", said(&installed));
    }

    // The first one is retired while something waits for the signer: what is staged with it is staged anew.
    keys(&farm).set_times(&first, Stamp::from_millis(now.millis() - 1), Some(now)).unwrap();
    publish(&farm, "2.13").await;
    assert_eq!(signers(&farm), std::slice::from_ref(&second));
    farm.until("the retired key is not published any more", || async {
        (names(&farm) == [second.clone()]).then_some(())
    })
    .await;
    farm.ends_well().await;
}

fn first_of(farm: &Farm, fingerprint: &str) -> SigningKey {
    keys(farm).list().unwrap().into_iter().find(|key| key.fingerprint == fingerprint).unwrap()
}

/// The keys that signed the packages that are live.
fn signers(farm: &Farm) -> Vec<String> {
    let known = published(&key_file(farm));
    let mut by: Vec<String> =
        rpms_of_live(farm).iter().map(|rpm| read_signed(rpm, &known).unwrap().by).collect();
    by.sort();
    by.dedup();
    by
}

/// The packages that the live metadata lists: folders keep those of former snapshots.
fn rpms_of_live(farm: &Farm) -> Vec<PathBuf> {
    let statement: Envelope =
        Envelope::from_json(&std::fs::read_to_string(live(farm).join("decision.dsse.json")).unwrap())
            .unwrap();
    let public = std::fs::read_to_string(farm.data.join("public/keys/decisions.pub")).unwrap();
    let (payload, _) = statement.open(IN_TOTO, &[DecisionPublic::from_pem(&public).unwrap()]).unwrap();
    let statement: Statement = serde_json::from_slice(&payload).unwrap();
    let digests: Vec<&Digest> = statement.subject.iter().map(|subject| &subject.digest.sha256).collect();
    let is_listed = |path: &PathBuf| digests.contains(&&Digest::of(&std::fs::read(path).unwrap()));
    rpms_in(&live(farm)).into_iter().filter(is_listed).collect()
}

/// A call of a signer, with a token.
async fn put(farm: &Farm, token: &str, path: &str, body: Vec<u8>) -> (u16, String) {
    let url = format!("{}/api/v1/signing/{path}", farm.url);
    let answer = reqwest::Client::new()
        .put(url)
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_takes_nothing_that_is_wrongly_signed() {
    let farm = Farm::new().await;
    publish(&farm, "2.10").await;
    let own = keys(&farm).list().unwrap();
    let key = own.iter().find(|key| key.purpose == Purpose::Packages).unwrap().clone();
    let secret = keys(&farm).packages(&key).unwrap();
    let token = std::fs::read_to_string(farm.data.join("signer-token")).unwrap();
    let hidden = key_folder(&farm).join("packages/demo").join(format!("{}.secret", key.fingerprint));
    let aside = hidden.with_extension("aside");
    std::fs::rename(&hidden, &aside).unwrap();
    let promotion = held_up(&farm, "2.11", "is not in").await;
    let snapshot =
        farm.db.read().await.unwrap().snapshot(promotion.snapshot().unwrap()).await.unwrap().unwrap();
    let new = snapshot.rpms().find(|rpm| rpm.file.contains("2.11")).unwrap().clone();

    let folder = tempfile::tempdir().unwrap();
    let plain = farm.data.join("artifacts").join(&new.digest.as_str()[..2]).join(new.digest.as_str());
    let stranger = SecretKey::generate("A stranger", BITS, Stamp::from_millis(1_750_000_000_000)).unwrap();
    let signed = |by: &SecretKey, name: &str| {
        let to = folder.path().join(name);
        sign_package(&plain, &to, by, Stamp::from_millis(1_750_000_000_000)).unwrap();
        std::fs::read(to).unwrap()
    };
    let (by_stranger, by_us) = (signed(&stranger, "stranger"), signed(&secret, "us"));
    let path = |body: &Digest, fingerprint: &str, bytes: &[u8]| {
        let (id, digest) = (promotion.id, Digest::of(bytes));
        format!(
            "packages/{}?promotion={id}&fingerprint={fingerprint}&digest={}",
            body.as_str(),
            digest.as_str()
        )
    };
    let ours = key.fingerprint.as_str();
    let other_body = snapshot.rpms().find(|rpm| rpm.body != new.body).unwrap().body.clone();
    let unsigned = std::fs::read(&plain).unwrap();
    for (token, path, bytes, expected) in [
        ("wrong", path(&new.body, ours, &by_us), &by_us, 401),
        (&*token, path(&new.body, &stranger.fingerprint(), &by_stranger), &by_stranger, 409),
        (&*token, path(&new.body, ours, &by_stranger), &by_stranger, 422),
        (&*token, path(&new.body, ours, &unsigned), &unsigned, 422),
        (&*token, path(&other_body, ours, &by_us), &by_us, 422),
        (&*token, path(&Digest::of(b"nothing"), ours, &by_us), &by_us, 409),
        (&*token, path(&new.body, ours, &unsigned), &by_us, 422),
    ] {
        let (status, text) = put(&farm, token.trim(), &path, bytes.clone()).await;
        assert_eq!(status, expected, "{path}: {text}");
    }
    let keys_of = |keys: &[SigningKey]| serde_json::to_vec(keys).unwrap();
    let renamed = SigningKey { public: stranger.public().to_armored().unwrap(), ..key.clone() };
    assert_eq!(put(&farm, token.trim(), "keys", keys_of(&[renamed])).await.0, 422);
    let taken = SigningKey { sig: "other".into(), purpose: Purpose::Packages, ..key.clone() };
    let before = farm.db.read().await.unwrap().signing_keys().await.unwrap();
    put(&farm, token.trim(), "keys", keys_of(&[taken])).await;
    assert_eq!(farm.db.read().await.unwrap().signing_keys().await.unwrap(), before);

    std::fs::rename(&aside, &hidden).unwrap();
    assert!(matches!(farm.tested("hello-2.11-1").await.state, PromotionState::Published { .. }));
    farm.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endorsement_of_another_snapshot_is_worth_nothing() {
    let farm = Farm::new().await;
    let before = publish(&farm, "2.10").await;
    let own = keys(&farm).list().unwrap();
    let of = |purpose| own.iter().find(|key| key.purpose == purpose).unwrap().clone();
    let (packages, decisions) = (of(Purpose::Packages), of(Purpose::Decisions));
    let decides = keys(&farm).decisions(&decisions).unwrap();
    let hidden = key_folder(&farm).join("decisions").join(format!("{}.secret", decisions.fingerprint));
    let secret = std::fs::read(&hidden).unwrap();
    std::fs::remove_file(&hidden).unwrap();
    let promotion = held_up(&farm, "2.11", "of decisions is not in").await;
    let id = promotion.snapshot().unwrap();
    let staged = farm.data.join(format!("staging/{id}.public"));
    assert!(staged.is_dir(), "everything is signed but the decision");

    let old = farm.db.read().await.unwrap().endorsement(before.snapshot().unwrap()).await.unwrap().unwrap();
    let replayed = Endorsement { snapshot: id, promotion: promotion.id, ..old.clone() };
    let bytes = |folder: &str| std::fs::read(staged.join(folder).join("repodata/repomd.xml")).unwrap();
    let with = |sign: &dyn Fn(&str, &SignedMetadata) -> String| -> BTreeMap<String, SignedMetadata> {
        let of = |(folder, metadata): (&String, &SignedMetadata)| {
            let signature = sign(folder, metadata);
            (folder.clone(), SignedMetadata { repomd: Digest::of(&bytes(folder)), signature })
        };
        old.folders.iter().map(of).collect()
    };
    let key = keys(&farm).packages(&packages).unwrap();
    let stale = Endorsement { folders: with(&|_, metadata| metadata.signature.clone()), ..replayed.clone() };
    let resigned = Endorsement {
        folders: with(&|folder, _| sign_detached(&[&key], &bytes(folder), Stamp::ZERO).unwrap()),
        ..replayed.clone()
    };
    let token = std::fs::read_to_string(farm.data.join("signer-token")).unwrap();
    // By the right keys and about the right files, but wrong about itself.
    let honest = honest_decision(&farm, &promotion, &resigned).await;
    let decided = |edit: &dyn Fn(&mut Statement, &mut Vec<String>)| {
        let (mut said, mut by) = (honest.clone(), vec![key.fingerprint(), decides.id()]);
        edit(&mut said, &mut by);
        let decision = decides.sign(IN_TOTO, &serde_json::to_vec(&said).unwrap()).to_json().unwrap();
        Endorsement { decision, keys: by, provenance: BTreeMap::new(), ..resigned.clone() }
    };
    let stranger = "ab".repeat(20);
    for (endorsement, expected) in [
        (replayed, "other metadata"),
        (stale, "the signature is not accepted"),
        (resigned.clone(), "it is about snapshot"),
        (Endorsement { decision: "{}".into(), ..resigned.clone() }, "no signed statement"),
        (decided(&|said, _| said.predicate.revision += 1), "the decision is for revision 3"),
        (decided(&|_, by| by.push(stranger.clone())), "it names other keys than those that have signed"),
        (decided(&|_, by| drop(by.pop())), "it names other keys than those that have signed"),
        (
            decided(&|said, _| said.predicate.keys.push(stranger.clone())),
            "the decision names keys that have not signed the metadata",
        ),
    ] {
        let body = serde_json::to_vec(&endorsement).unwrap();
        let (status, text) = put(&farm, token.trim(), &format!("endorsements/{id}"), body).await;
        assert_eq!(status, 422, "{text}");
        assert!(text.contains(expected), "{text} instead of {expected}");
    }
    // What is published is published: nobody endorses it anew.
    let body = serde_json::to_vec(&old).unwrap();
    let (status, text) = put(&farm, token.trim(), &format!("endorsements/{}", old.snapshot), body).await;
    assert_eq!(status, 409, "{text}");

    std::fs::write(&hidden, secret).unwrap();
    assert!(matches!(farm.tested("hello-2.11-1").await.state, PromotionState::Published { .. }));
    farm.ends_well().await;
}

/// What a signer would say of a promotion and of the metadata that was signed for it.
async fn honest_decision(farm: &Farm, promotion: &Promotion, signed: &Endorsement) -> Statement {
    let (id, now) = (promotion.snapshot().unwrap(), promotion.created);
    let known = &mut KnownMembers::default();
    let facts = Facts::read(&farm.db, promotion.id, id, &[], known, now).await.unwrap();
    let metadata: BTreeMap<String, Digest> =
        signed.folders.iter().map(|(folder, signed)| (folder.clone(), signed.repomd.clone())).collect();
    let key = keys(farm).list().unwrap().into_iter().find(|key| key.purpose == Purpose::Packages).unwrap();
    let bodies: Vec<Digest> = facts.snapshot.rpms().map(|rpm| rpm.body.clone()).collect();
    let files = farm.db.read().await.unwrap().signed_by(&key.fingerprint, &bodies).await.unwrap();
    statement(&facts.grounds(), &metadata, &files, &[key.fingerprint], now).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bytes_under_a_tested_name_are_never_signed() {
    let farm = Farm::new().await;
    publish(&farm, "2.10").await;
    let first = keys(&farm).list().unwrap().into_iter().find(|key| key.purpose == Purpose::Packages).unwrap();
    let hidden = key_folder(&farm).join("packages/demo").join(format!("{}.secret", first.fingerprint));
    let aside = hidden.with_extension("aside");
    std::fs::rename(&hidden, &aside).unwrap();
    let promotion = held_up(&farm, "2.11", "is not in").await;
    let snapshot =
        farm.db.read().await.unwrap().snapshot(promotion.snapshot().unwrap()).await.unwrap().unwrap();
    let (old, new) = (
        farm.db.read().await.unwrap().snapshot(promotion.base.unwrap()).await.unwrap().unwrap(),
        snapshot.rpms().find(|rpm| rpm.file.contains("2.11")).unwrap().clone(),
    );
    // Somebody with the hub's disk puts another package in place of the one that was tested.
    let place =
        |digest: &Digest| farm.data.join("artifacts").join(&digest.as_str()[..2]).join(digest.as_str());
    let (target, other) = (place(&new.digest), place(&old.rpms().next().unwrap().digest));
    let good = std::fs::read(&target).unwrap();
    std::fs::remove_file(&target).unwrap();
    std::fs::copy(&other, &target).unwrap();
    std::fs::rename(&aside, &hidden).unwrap();
    let said = farm
        .until("the signer refuses", || async {
            let heard = farm.db.read().await.unwrap().signers().await.unwrap();
            let said = heard.iter().find_map(|heard| heard.word.troubles.get(&promotion.id).cloned())?;
            said.contains("somebody has changed the file").then_some(said)
        })
        .await;
    assert!(said.contains(&new.file), "{said}");
    assert_eq!(farm.repo("testing").await, ["hello-2.10-1"]);

    std::fs::remove_file(&target).unwrap();
    std::fs::write(&target, good).unwrap();
    assert!(matches!(farm.tested("hello-2.11-1").await.state, PromotionState::Published { .. }));
    farm.ends_well().await;
}
