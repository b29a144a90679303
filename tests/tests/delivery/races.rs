//! What else happens in the middle of a move: another key, another hub, an architecture that takes its time.

use farm::arch::Arch;
use farm::openpgp::{PublicKey, read_signed};
use farm::promotion::PromotionState;
use farm::signing::Purpose;
use farm::stamp::Stamp;
use serde_json::json;
use signer::keys::Keys;
use tests::processes::yard::Order;
use tests::processes::{Account, Ground, ProcessFarm, Setup};
use tests::{SIGNER_BITS, audit};

use crate::standalone::{Standalone, TESTING};

/// A key follows another at the worst moments: when packages are signed with the first one, when the metadata is, and when all
/// of it has been looked at. At each of them nothing can go on while the farm is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_follows_another_in_the_middle_of_a_move() {
    let farm = Standalone::new().await;
    farm.publish("quick-plum", "1").await;
    let keys = Keys::open(&farm.data.join("keys"), None).unwrap();
    let moments = [
        format!("{TESTING}: staged"),
        "signed metadata has come".to_owned(),
        format!("{TESTING}: looked at"),
    ];
    for (number, step) in moments.iter().enumerate() {
        let (version, before) = ((number + 2).to_string(), farm.shown(TESTING).await);
        farm.order(Order::Hold, step);
        farm.push("quick-plum", &version);
        farm.is_held(step).await;
        let own = keys.list().unwrap();
        let first =
            own.iter().filter(|key| key.purpose == Purpose::Packages).max_by_key(|key| key.since).unwrap();
        let now = Stamp::from_millis(first.since.millis() + 1);
        let second = keys.new_packages("demo", "The next one", SIGNER_BITS, now, now).unwrap();
        keys.set_times(&first.fingerprint, first.since, Some(now)).unwrap();
        assert_eq!(farm.shown(TESTING).await, before, "held at `{step}`");
        farm.is_whole(&format!("another key at `{step}`")).await;
        farm.yard.countermand();
        farm.settles().await;
        let when = format!("after another key at `{step}`");
        assert!(farm.shown(TESTING).await.contains(&format!("quick-plum-{version}-1")), "{when}");
        farm.is_whole(&when).await;
        farm.has_come_to_its_end(&when).await;
        // What was told of before the pointer moved counts; the next one is signed by the new key in any case.
        farm.publish("quick-apple", &version).await;
        let known = PublicKey::from_armored(&second.public).unwrap();
        for rpm in farm.listed(TESTING) {
            assert_eq!(
                read_signed(&rpm, std::slice::from_ref(&known)).unwrap().by,
                second.fingerprint,
                "{when}"
            );
        }
        farm.is_whole(&when).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_before_the_last_architecture_is_tested() {
    let farm = Standalone::on(None, "[\"x86_64\", \"s390x\"]").await;
    farm.publish("quick-plum", "1").await;
    let before = farm.shown(TESTING).await;
    farm.yard.late(Arch::S390x);
    farm.push("quick-plum", "2");
    let id = farm.until("the tests are asked for", async || farm.moving().await).await;
    farm.until("x86_64 is tested, and s390x is not", async || {
        let mut tx = farm.db.read().await.unwrap();
        let promotion = tx.promotion(id).await.unwrap()?.value;
        let PromotionState::InTesting { request: Some(request), .. } = promotion.state else { return None };
        let jobs = tx.jobs_of(request).await.unwrap();
        let is_done = |arch| jobs.iter().any(|job| job.arch == arch && job.outcome().is_some());
        (is_done(Arch::X86_64) && !is_done(Arch::S390x)).then_some(())
    })
    .await;
    assert_eq!(farm.shown(TESTING).await, before);
    farm.is_whole("while an architecture is late").await;
    farm.yard.go();
    farm.settles().await;
    assert_eq!(farm.shown(TESTING).await, ["quick-plum-2-1"]);
    for folder in ["x86_64", "s390x", "debug-x86_64", "debug-s390x", "source"] {
        let repomd = farm.data.join("public/live").join(TESTING).join(folder).join("repodata/repomd.xml");
        assert!(repomd.is_file(), "{folder} came with the others");
    }
    farm.is_whole("when all architectures are there").await;
    farm.has_come_to_its_end("when all architectures are there").await;
}

const PROCESS_RELEASE: &str = "demo9s-hello-2-release";
/// What is moved at once, again and again.
const ROUNDS: [[&str; 2]; 2] = [["apple", "pear"], ["quick-plum", "large-melon"]];

/// Two hubs of one ledger are asked for two moves of one repo at the same moment, again and again: each is published, on top of
/// the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_move_one_repo_at_once() {
    let Some(ground) = Ground::shared() else { return };
    let mut farm = ProcessFarm::new(ground, Setup::default()).await;
    farm.start().await;
    farm.land.yard.go();
    for (packages, revision) in ROUNDS.into_iter().zip([2, 4]) {
        let nvrs = packages.map(|name| format!("{name}-1-1"));
        for name in packages {
            farm.push(name, "1").await;
        }
        farm.until("both are in testing", async |farm| {
            let live = farm.db.read().await.ok()?.live("demo9s-hello-2-testing").await.ok()??;
            nvrs.iter().all(|nvr| live.members.iter().any(|member| member.nvr == *nvr)).then_some(())
        })
        .await;
        let http = reqwest::Client::new();
        let ask = |hub: usize| {
            let url = format!("http://{}/api/v1/promotions", farm.hub_addresses[hub]);
            let body = json!({"nvrs": [nvrs[hub]], "to": "release"});
            let call = http.post(url).bearer_auth("rex-token").json(&body).send();
            async move {
                let answer = call.await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
            }
        };
        tokio::join!(ask(0), ask(1));
        farm.until("both are published", async |farm| {
            let wrong = audit(&farm.db, &farm.land.data).await;
            assert!(wrong.is_empty(), "{wrong:#?}");
            let mut tx = farm.db.read().await.ok()?;
            let live = tx.live(PROCESS_RELEASE).await.ok()??;
            let all = nvrs.iter().all(|nvr| live.members.iter().any(|member| member.nvr == *nvr));
            (all && tx.unsettled_promotions().await.ok()?.is_empty()).then_some(())
        })
        .await;
        let repo = farm.db.read().await.unwrap().repo(PROCESS_RELEASE).await.unwrap();
        assert_eq!(repo.revision, revision, "each of them moved the pointer once");
    }
    farm.ends_well("two hubs move one repo at once", Account::default()).await;
}
