//! What people ask of the gate, over HTTP: promotions, stacks, words for them, waivers, withdrawals, and the way back.

use farm::api::{MadePromotion, PromotionView, PublicationView, StatusView, Waived, Withdrawn};
use farm::build::Build;
use farm::digest::Digest;
use farm::gate::{CLOSURE, Decision, TestResult, TestVerdict, Waiver, requirements};
use farm::ids::PromotionId;
use farm::nvr::{Nevra, Nvr};
use farm::promotion::{Approval, Course, Promotion, PromotionEvent, PromotionState};
use farm::sig::Stage;
use farm::snapshot::{Rpm, RpmKind, Snapshot};
use farm::why::{Why, WhyCode};
use serde_json::{Value, json};

use crate::bench::{ADA, ADMIN, BOB, Bench, TEMPLATE, problem};

const TARGET: &str = "demo9s-hello-1-el9s";
const CANDIDATE: &str = "demo9s-hello-1-candidate";
const TESTING: &str = "demo9s-hello-1-testing";
const RELEASE: &str = "demo9s-hello-1-release";
/// A maintainer, and a second release manager.
const MIA: &str = "token-of-mia";
const REX: &str = "token-of-rex";

/// A hub whose SIG has two release managers, ada and rex, a maintainer, and a stack of `hello` and `world`.
async fn bench(more: &str) -> Bench {
    let bench = Bench::open().await;
    let members = "[[member]]\nname = \"mia\"\nroles = [\"maintainer\"]\n[[member]]\nname = \"rex\"\nroles = [\"release-manager\"]\n";
    let template = TEMPLATE
        .replace("[[project]]", &format!("{members}[[project]]"))
        .replace("[\"hello\"]", "[\"hello\", \"world\", \"other\"]");
    let template = format!(
        "{template}{more}\n[[project.stack]]\nname = \"both\"\npackages = [\"hello\", \"world\"]\n[[project.stack]]\nname = \"all\"\n"
    );
    let sig = farm::sig::template::parse("demo.toml", &template).unwrap_or_else(|faults| panic!("{faults}"));
    let mut tx = bench.hub.db.write().await.unwrap();
    for (name, token) in [("mia", MIA), ("rex", REX)] {
        tx.put_person(name, &Digest::of(token.as_bytes()), false, bench.hub.now()).await.unwrap();
    }
    tx.apply_sig(&sig, &template, "root", bench.hub.now()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    bench
}

impl Bench {
    /// An imported build of one RPM, in the candidate tag.
    async fn built(&self, package: &str, version: &str) -> Build {
        let nevra = Nevra {
            name: package.to_owned(),
            epoch: 0,
            version: version.to_owned(),
            release: "1".to_owned(),
            arch: "x86_64".to_owned(),
        };
        let file = nevra.file_name();
        let digest = Digest::of(file.as_bytes());
        let rpm = Rpm {
            body: digest.clone(),
            digest,
            nevra,
            file,
            kind: RpmKind::Binary,
            size: 7,
            built_on: Some(farm::arch::Arch::X86_64),
        };
        let build = Build {
            id: self.hub.mint(),
            nvr: Nvr { name: package.to_owned(), version: version.to_owned(), release: "1".to_owned() },
            sig: "demo".to_owned(),
            target: TARGET.to_owned(),
            request: self.hub.mint(),
            imported: self.hub.now(),
            rpms: vec![rpm],
            roots: Default::default(),
        };
        let mut tx = self.hub.db.write().await.unwrap();
        assert!(tx.insert_build(&build).await.unwrap());
        tx.tag_build(CANDIDATE, &build, self.hub.now()).await.unwrap();
        tx.commit().await.unwrap();
        build
    }

    /// Publishes builds on top of what is live, as the keeper does once everything required has passed.
    async fn publish(&self, stage: Stage, builds: &[&Build]) -> Snapshot {
        let mut tx = self.hub.db.write().await.unwrap();
        let tag = format!("demo9s-hello-1-{stage}");
        let live = tx.live(&tag).await.unwrap();
        let set: Vec<_> = builds.iter().map(|build| build.member()).collect();
        let now = self.hub.now();
        let shown = Snapshot::compose(self.hub.mint(), &tag, live.as_deref(), &set, &[], now);
        let promotion = Promotion {
            id: self.hub.mint(),
            sig: "demo".to_owned(),
            target: TARGET.to_owned(),
            to: stage,
            builds: builds.iter().map(|build| build.id).collect(),
            nvrs: builds.iter().map(|build| build.nvr.to_string()).collect(),
            remove: Vec::new(),
            stack: None,
            brings: None,
            course: Course::Forward,
            confirmed: false,
            by: "gate".to_owned(),
            approvals: ["ada", "rex"].map(|by| Approval { by: by.to_owned(), at: now }).into(),
            suites: Default::default(),
            base: live.map(|live| live.id),
            created: now,
            state: PromotionState::Ready { snapshot: shown.id },
        };
        let promotion = self.shown(promotion, &shown, TestVerdict::Passed).await_in(&mut tx, self).await;
        tx.insert_promotion(&promotion).await.unwrap();
        self.land(tx, promotion.id).await;
        shown
    }

    fn shown<'a>(&self, promotion: Promotion, snapshot: &'a Snapshot, verdict: TestVerdict) -> Showing<'a> {
        Showing { promotion, snapshot, verdict }
    }

    /// Takes a promotion whose gate says yes to its end.
    async fn land(&self, mut tx: farm::ledger::Tx, id: PromotionId) {
        let now = self.hub.now();
        let kept = tx.promotion(id).await.unwrap().unwrap();
        let Decision::Approved(yes) = tx.ask_gate(&kept, now).await.unwrap() else {
            panic!("{:?}", tx.ask_gate(&kept, now).await)
        };
        let approved = PromotionEvent::Approved { snapshot: yes.snapshot(), by: yes.by() };
        for event in [approved, PromotionEvent::PointerMoved, PromotionEvent::Visible] {
            let kept = tx.promotion(id).await.unwrap().unwrap();
            if event == PromotionEvent::PointerMoved {
                tx.publish(&yes, id, now).await.unwrap();
            }
            tx.step_promotion(&kept, event, now).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Composes what a promotion that was opened stands for, as the keeper does, with this outcome of `installs`.
    async fn composed(&self, id: PromotionId, verdict: TestVerdict) -> Snapshot {
        let mut tx = self.hub.db.write().await.unwrap();
        let kept = tx.promotion(id).await.unwrap().unwrap();
        let tag = format!("demo9s-hello-1-{}", kept.to);
        let live = tx.live(&tag).await.unwrap();
        let now = self.hub.now();
        let shown = match &kept.course {
            Course::Forward => {
                let mut set = Vec::new();
                for build in &kept.builds {
                    set.push(tx.build(*build).await.unwrap().unwrap().member());
                }
                Snapshot::compose(self.hub.mint(), &tag, live.as_deref(), &set, &kept.remove, now)
            }
            Course::Back { to, .. } => {
                let members = tx.snapshot(*to).await.unwrap().unwrap().members.clone();
                Snapshot::holding(self.hub.mint(), &tag, live.as_deref().map(Snapshot::as_base), members, now)
            }
        };
        let told = self.shown(kept.value.clone(), &shown, verdict).await_in(&mut tx, self).await;
        let (snapshot, base, suites) = (shown.id, shown.base, told.suites);
        let event = PromotionEvent::Composed { snapshot, base, request: None, suites };
        tx.step_promotion(&kept, event, now).await.unwrap();
        tx.commit().await.unwrap();
        shown
    }

    async fn asked(&self, token: &str, path: &str, body: &Value) -> reqwest::Response {
        self.post(&format!("/api/v1/{path}"), token).json(body).send().await.unwrap()
    }

    /// Asks for a promotion; gives its id.
    async fn opened(&self, token: &str, body: &Value) -> PromotionId {
        let answer = self.asked(token, "promotions", body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 202, "{text}");
        serde_json::from_str::<MadePromotion>(&text).unwrap().id
    }

    /// What is said against a call.
    async fn against(&self, token: &str, path: &str, body: &Value, status: u16, code: &str) -> String {
        let said = problem(self.asked(token, path, body).await, status, code).await;
        format!("{} / {}", said["detail"].as_str().unwrap(), said["fix"].as_str().unwrap_or_default())
    }

    async fn promotion(&self, id: PromotionId) -> PromotionView {
        let answer = self.get(&format!("/api/v1/promotions/{id}")).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

/// Results that are to be in the ledger.
struct Showing<'a> {
    promotion: Promotion,
    snapshot: &'a Snapshot,
    verdict: TestVerdict,
}

impl Showing<'_> {
    /// Puts the snapshot and the results of everything required there; gives the promotion with the versions of its suites.
    async fn await_in(self, tx: &mut farm::ledger::Tx, bench: &Bench) -> Promotion {
        let Showing { mut promotion, snapshot, verdict } = self;
        let community = tx.community().await.unwrap();
        let project = community.target(TARGET).unwrap();
        let (layered, environments) =
            tx.places(&community, project, promotion.to).await.unwrap().expect("nothing below is composed");
        tx.insert_snapshot(snapshot).await.unwrap();
        let live = tx.live(&snapshot.tag).await.unwrap().map(|live| live.content.clone());
        for one in requirements(project, &layered) {
            let version = Digest::of(one.suite.as_bytes());
            promotion.suites.insert(one.key(), version.clone());
            let result = TestResult {
                job: bench.hub.mint(),
                content: snapshot.content.clone(),
                environment: environments[&(one.on.clone(), one.arch)].clone(),
                against: live.clone().filter(|_| one.suite == CLOSURE),
                verdict: if one.suite == "installs" { verdict.clone() } else { TestVerdict::Passed },
                suite: one.suite,
                arch: one.arch,
                on: one.on,
                version,
                at: bench.hub.now(),
            };
            tx.insert_result(&result).await.unwrap();
        }
        promotion
    }
}

fn failed() -> TestVerdict {
    TestVerdict::Failed { reason: "nothing provides libx".to_owned() }
}

fn to_release(nvrs: &[&str]) -> Value {
    json!({ "nvrs": nvrs, "to": "release" })
}

#[tokio::test]
async fn what_cannot_be_promoted_is_said_before_anything_is_composed() {
    let bench = bench("").await;
    let hello = bench.built("hello", "1").await;
    let (invalid, conflict) = ((422, "invalid"), (409, "conflict"));
    let cases = [
        (json!({ "nvrs": [], "to": "release" }), invalid, "no build is named"),
        (json!({ "nvrs": ["hello-1-1"], "to": "candidate" }), invalid, "enter candidate by being built"),
        (json!({ "nvrs": ["hello-1-1", "hello-1-1"], "to": "testing" }), invalid, "named twice"),
        (json!({ "nvrs": [], "stack": "both", "to": "release" }), invalid, "--target"),
        (json!({ "stack": "gone", "target": TARGET, "to": "release" }), invalid, "these: all, both"),
        (
            json!({ "nvrs": ["hello-1-1"], "target": "demo9s-x-1-el9s", "to": "testing" }),
            invalid,
            "was built for",
        ),
        (
            json!({ "nvrs": ["hello-1-1"], "remove": ["hello"], "to": "testing" }),
            invalid,
            "to be promoted and to be removed",
        ),
        (json!({ "remove": ["world"], "target": TARGET, "to": "release" }), conflict, "world is not in"),
        (json!({ "nvrs": ["hello-1-1"], "to": "release" }), conflict, "never came to demo9s-hello-1-testing"),
        (
            json!({ "stack": "both", "target": TARGET, "to": "release" }),
            conflict,
            "demo9s-hello-1-testing is empty",
        ),
        (json!({ "nvrs": vec!["x-1-1"; 2_001], "to": "release" }), invalid, "at most 2000"),
    ];
    for (body, (status, code), words) in cases {
        let said = bench.against(ADA, "promotions", &body, status, code).await;
        assert!(said.contains(words), "{body}: {said}");
    }
    let target = json!({ "stack": "both", "target": "nothing", "to": "release" });
    problem(bench.asked(ADA, "promotions", &target).await, 404, "not-found").await;
    let nobody = bench.asked(BOB, "promotions", &json!({ "nvrs": ["hello-1-1"], "to": "testing" })).await;
    problem(nobody, 403, "forbidden").await;

    bench.publish(Stage::Testing, &[&hello]).await;
    bench.publish(Stage::Release, &[&hello]).await;
    let said = bench.against(ADA, "promotions", &to_release(&["hello-1-1"]), 409, "conflict").await;
    assert!(said.starts_with("hello-1-1 is in demo9s-hello-1-release already: there is nothing"), "{said}");
    let stack = json!({ "stack": "all", "target": TARGET, "to": "release" });
    let said = bench.against(ADA, "promotions", &stack, 409, "conflict").await;
    assert!(
        said.starts_with(
            "nothing of stack all has changed: demo9s-hello-1-release shows the same 1 of its builds as"
        ),
        "{said}"
    );
    assert!(bench.hub.db.read().await.unwrap().unsettled_promotions().await.unwrap().is_empty());

    // Nobody who has the newer one gets the older one by itself: that may be meant, and is said.
    let newer = bench.built("hello", "2").await;
    bench.publish(Stage::Testing, &[&newer]).await;
    let body = json!({ "nvrs": ["hello-1-1"], "to": "testing" });
    let older: MadePromotion = bench.asked(ADA, "promotions", &body).await.json().await.unwrap();
    assert!(older.warnings[0].contains("hello-1-1 is older than hello-2-1"), "{:?}", older.warnings);
    bench.stop().await;
}

#[tokio::test]
async fn a_stack_is_whatever_of_it_has_changed() {
    let bench = bench("").await;
    let (hello, world, other) =
        (bench.built("hello", "1").await, bench.built("world", "1").await, bench.built("other", "1").await);
    bench.publish(Stage::Testing, &[&hello, &world]).await;
    bench.publish(Stage::Release, &[&hello]).await;
    let newer = bench.built("hello", "2").await;
    bench.publish(Stage::Testing, &[&newer, &other]).await;

    // To production: what testing has otherwise, of its packages alone.
    let body = json!({ "stack": "both", "target": TARGET, "to": "release" });
    let answer = bench.asked(MIA, "promotions", &body).await;
    let made: MadePromotion = answer.json().await.unwrap();
    assert!(made.warnings[0].contains("hello-2-1, world-1-1"), "{:?}", made.warnings);
    let view = bench.promotion(made.id).await;
    assert_eq!(view.promotion.nvrs, ["hello-2-1", "world-1-1"]);
    assert_eq!((view.promotion.stack.as_deref(), view.promotion.approvals.len()), (Some("both"), 0));
    assert_eq!(view.sentence.split(':').next().unwrap(), "stack both (hello-2-1, world-1-1) to release");
    // The same once more is known, by whatever name.
    let same =
        bench.against(ADA, "promotions", &to_release(&["world-1-1", "hello-2-1"]), 409, "conflict").await;
    assert!(same.contains(&made.id.to_string()), "{same}");
    // A removal makes it another one, and it queues behind nobody that waits for a person.
    let with_removal = json!({ "nvrs": ["hello-2-1", "world-1-1"], "remove": ["other"], "to": "release" });
    let said = bench.against(ADA, "promotions", &with_removal, 409, "conflict").await;
    assert!(said.starts_with("other is not in demo9s-hello-1-release"), "{said}");

    // To testing: what candidate has otherwise.
    let newest = bench.built("world", "2").await;
    let body = json!({ "stack": "all", "target": TARGET, "to": "testing" });
    let id = bench.opened(MIA, &body).await;
    assert_eq!(bench.promotion(id).await.promotion.builds, [newest.id]);
    bench.stop().await;
}

#[tokio::test]
async fn what_empties_a_repo_is_confirmed() {
    let bench = bench("").await;
    let hello = bench.built("hello", "1").await;
    bench.publish(Stage::Testing, &[&hello]).await;
    bench.publish(Stage::Release, &[&hello]).await;
    let mut body = json!({ "remove": ["hello", "hello"], "target": TARGET, "to": "release" });
    let said = bench.against(ADA, "promotions", &body, 409, "conflict").await;
    assert!(said.contains("would have 0 packages instead of 1") && said.contains("--confirm"), "{said}");
    body["confirm"] = json!(true);
    let id = bench.opened(ADA, &body).await;
    let view = bench.promotion(id).await;
    assert_eq!((view.promotion.remove, view.promotion.confirmed), (vec!["hello".to_owned()], true));
    assert!(view.sentence.starts_with("removing hello to release"), "{}", view.sentence);
    let said = bench.against(ADA, "promotions", &body, 409, "conflict").await;
    assert!(said.contains(&id.to_string()), "{said}");
    bench.stop().await;
}

#[tokio::test]
async fn a_project_that_asks_for_two_words_gets_them_of_two_people() {
    let bench = bench("[project.promotion]\napprovers = 2\n").await;
    let hello = bench.built("hello", "1").await;
    bench.publish(Stage::Testing, &[&hello]).await;
    let id = bench.opened(ADA, &to_release(&["hello-1-1"])).await;
    let shown = bench.composed(id, TestVerdict::Passed).await;
    let mut tx = bench.hub.db.write().await.unwrap();
    let kept = tx.promotion(id).await.unwrap().unwrap();
    assert_eq!(tx.ask_gate(&kept, bench.hub.now()).await.unwrap(), Decision::NeedsApproval, "one is not two");
    tx.step_promotion(&kept, PromotionEvent::NeedsApproval, bench.hub.now()).await.unwrap();
    tx.commit().await.unwrap();
    let view = bench.promotion(id).await;
    assert_eq!((view.promotion.approvals.len(), view.approvals_needed), (1, 2));
    assert!(
        view.sentence.ends_with("another release manager of demo must approve (1 of 2 approvals, by ada)"),
        "{}",
        view.sentence
    );
    let status: Value = bench.get("/api/v1/status").send().await.unwrap().json().await.unwrap();
    assert_eq!(status["unapproved"][0]["id"], id.to_string());
    let why: Value = bench.get(&format!("/api/v1/why/{id}")).send().await.unwrap().json().await.unwrap();
    assert_eq!(why["code"], "waiting-for-approval", "{why}");

    let approve = format!("promotions/{id}/approve");
    let said = bench.against(ADA, &approve, &json!({}), 409, "conflict").await;
    assert_eq!(said, format!("ada has approved promotion {id} already / one more release manager must"));
    for nobody in [MIA, BOB, ADMIN] {
        problem(bench.asked(nobody, &approve, &json!({})).await, 403, "forbidden").await;
    }
    assert_eq!(bench.asked(REX, &approve, &json!({})).await.status(), 204);
    let status: Value = bench.get("/api/v1/status").send().await.unwrap().json().await.unwrap();
    assert_eq!(status["unapproved"], json!([]));
    bench.land(bench.hub.db.write().await.unwrap(), id).await;
    let history: Vec<PublicationView> =
        bench.get(&format!("/api/v1/repos/{RELEASE}/history")).send().await.unwrap().json().await.unwrap();
    assert_eq!((history[0].by.as_str(), history[0].snapshot, history[0].packages), ("ada, rex", shown.id, 1));

    let newer = bench.built("hello", "2").await;
    let to_testing = bench.opened(ADA, &json!({ "nvrs": [newer.nvr.to_string()], "to": "testing" })).await;
    let said =
        bench.against(REX, &format!("promotions/{to_testing}/approve"), &json!({}), 409, "conflict").await;
    assert!(said.contains("needs nobody's word"), "{said}");
    bench.stop().await;
}

fn waiver(more: Value) -> Value {
    let mut body = json!({ "suite": "installs", "reason": "the mirror of libx is away", "days": 3 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_release_manager_waives_a_result_for_a_time_and_for_everybody_to_read() {
    let bench = bench("").await;
    bench.built("hello", "1").await;
    let id = bench.opened(MIA, &json!({ "nvrs": ["hello-1-1"], "to": "testing" })).await;
    let path = format!("promotions/{id}/waivers");
    let said = bench.against(ADA, &path, &waiver(json!({})), 409, "conflict").await;
    assert!(said.contains("has no content yet") && said.contains("--nvr"), "{said}");
    let shown = bench.composed(id, failed()).await;
    for nobody in [MIA, BOB, ADMIN] {
        problem(bench.asked(nobody, &path, &waiver(json!({}))).await, 403, "forbidden").await;
    }
    for (body, words) in [
        (waiver(json!({ "suite": "runs" })), "suite installs on x86_64"),
        (waiver(json!({ "arch": "s390x" })), "does not require suite installs on s390x"),
        (waiver(json!({ "on": "cloud9s-x-1-el9s" })), "does not require suite installs of cloud9s-x-1-el9s"),
        (waiver(json!({ "reason": "because" })), "is no reason"),
        (waiver(json!({ "reason": "x".repeat(1_001) })), "at most 1000"),
        (waiver(json!({ "days": 0 })), "1 to 90 days"),
        (waiver(json!({ "days": 91 })), "1 to 90 days"),
        (waiver(json!({ "nvr": "world-1-1" })), "is no build of promotion"),
        (waiver(json!({ "until": 0 })), "unknown field"),
    ] {
        let said = bench.against(ADA, &path, &body, 422, "invalid").await;
        assert!(said.contains(words), "{body}: {said}");
    }
    let says = async |now| {
        let mut tx = bench.hub.db.write().await.unwrap();
        let kept = tx.promotion(id).await.unwrap().unwrap();
        tx.ask_gate(&kept, now).await.unwrap()
    };
    assert!(matches!(says(bench.hub.now()).await, Decision::Refused(_)));

    let answer = bench.asked(REX, &path, &waiver(json!({}))).await;
    assert_eq!(answer.status(), 201);
    let given: Waived = answer.json().await.unwrap();
    assert!(given.then.contains(&format!("grange why {id}")), "{}", given.then);
    let again: Waived = bench.asked(REX, &path, &waiver(json!({}))).await.json().await.unwrap();
    assert_eq!(again.waiver, given.waiver, "a call that is repeated gives one waiver");
    let shorter: Waived = bench.asked(REX, &path, &waiver(json!({ "days": 1 }))).await.json().await.unwrap();
    assert_eq!(shorter.waiver, given.waiver, "it holds already");
    assert!(
        matches!(says(bench.hub.now()).await, Decision::Approved(yes) if yes.waivers() == [given.waiver.id])
    );
    assert!(matches!(says(given.waiver.until).await, Decision::Refused(_)), "it has expired");
    assert_eq!(bench.promotion(id).await.waivers, std::slice::from_ref(&given.waiver));
    let page = bench.get(&format!("/promotions/{id}")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("What was waived") && page.contains("the mirror of libx is away"), "{page}");

    // Taken back, it counts no more and is still there.
    let revoke = format!("waivers/{}/revoke", given.waiver.id);
    problem(bench.asked(MIA, &revoke, &json!({})).await, 403, "forbidden").await;
    let revoked: Waiver = bench.asked(ADA, &revoke, &json!({})).await.json().await.unwrap();
    assert_eq!(revoked.revoked.as_ref().map(|(by, _)| by.as_str()), Some("ada"));
    problem(bench.asked(ADA, &revoke, &json!({})).await, 409, "conflict").await;
    assert!(matches!(says(bench.hub.now()).await, Decision::Refused(_)));
    let all = bench.get(&format!("/api/v1/targets/{TARGET}/waivers")).send().await.unwrap();
    assert_eq!(all.json::<Vec<Waiver>>().await.unwrap(), [revoked]);
    let short: Waived = bench.asked(REX, &path, &waiver(json!({ "days": 1 }))).await.json().await.unwrap();
    let long: Waived = bench.asked(REX, &path, &waiver(json!({ "days": 2 }))).await.json().await.unwrap();
    assert!(short.waiver.until < long.waiver.until, "who asks for longer gets longer");
    for given in [short, long] {
        let revoke = format!("waivers/{}/revoke", given.waiver.id);
        assert_eq!(bench.asked(ADA, &revoke, &json!({})).await.status(), 200);
    }
    let none = bench.get("/api/v1/targets/nothing/waivers").send().await.unwrap();
    problem(none, 404, "not-found").await;

    // One that was refused is asked for again, and then lands.
    let mut tx = bench.hub.db.write().await.unwrap();
    let kept = tx.promotion(id).await.unwrap().unwrap();
    let Decision::Refused(why) = tx.ask_gate(&kept, bench.hub.now()).await.unwrap() else {
        panic!("it is waived")
    };
    tx.step_promotion(&kept, PromotionEvent::Reject { why }, bench.hub.now()).await.unwrap();
    tx.commit().await.unwrap();
    let given: Waived =
        bench.asked(ADA, &path, &waiver(json!({ "nvr": "hello-1-1" }))).await.json().await.unwrap();
    assert!(given.then.contains("grange promote --to testing hello-1-1"), "{}", given.then);
    assert!(given.then.contains("that has hello-1-1, whatever else changes there"), "{}", given.then);
    let second = bench.opened(MIA, &json!({ "nvrs": ["hello-1-1"], "to": "testing" })).await;
    assert_eq!(bench.composed(second, failed()).await.content, shown.content);
    bench.land(bench.hub.db.write().await.unwrap(), second).await;
    let said = bench
        .against(ADA, &format!("promotions/{second}/waivers"), &waiver(json!({})), 409, "conflict")
        .await;
    assert!(said.contains("is published: there is nothing to waive"), "{said}");
    let shown = bench.promotion(second).await.waivers;
    assert!(shown.contains(&given.waiver), "shown for ever where it was needed: {shown:?}");
    assert!(shown.iter().any(|waiver| waiver.revoked.is_some()), "and what was taken back too: {shown:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_public_repo_goes_back_and_never_forward_by_going_back_twice() {
    let bench = bench("[project.promotion]\napprovers = 2\n").await;
    let (one, two) = (bench.built("hello", "1").await, bench.built("hello", "2").await);
    let back = |more: Value| {
        let mut body = json!({ "tag": RELEASE, "reason": "hello 2 does not start" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let said = bench.against(ADA, "rollbacks", &back(json!({})), 409, "conflict").await;
    assert!(said.contains("shows nothing yet"), "{said}");
    for stage in [Stage::Testing, Stage::Release] {
        bench.publish(stage, &[&one]).await;
    }
    let said = bench.against(ADA, "rollbacks", &back(json!({})), 409, "conflict").await;
    assert!(said.contains("showed nothing else before"), "{said}");
    bench.publish(Stage::Release, &[&two]).await;
    for nobody in [MIA, BOB, ADMIN] {
        problem(bench.asked(nobody, "rollbacks", &back(json!({}))).await, 403, "forbidden").await;
    }
    for (body, status, words) in [
        (back(json!({ "reason": "oops" })), 422, "is no reason for a rollback"),
        (back(json!({ "tag": CANDIDATE })), 422, "is no public repo"),
        (back(json!({ "revision": 7 })), 409, "never showed a revision 7"),
        (back(json!({ "revision": 2 })), 409, "shows the content of revision 2 now"),
    ] {
        let code = if status == 422 { "invalid" } else { "conflict" };
        let said = bench.against(ADA, "rollbacks", &body, status, code).await;
        assert!(said.contains(words), "{body}: {said}");
    }
    problem(bench.asked(ADA, "rollbacks", &back(json!({ "tag": "nothing" }))).await, 404, "not-found").await;

    let answer = bench.asked(REX, "rollbacks", &back(json!({}))).await;
    assert_eq!(answer.status(), 202);
    let id = answer.json::<MadePromotion>().await.unwrap().id;
    let view = bench.promotion(id).await;
    let Course::Back { reason, .. } = &view.promotion.course else { panic!("{:?}", view.promotion.course) };
    assert_eq!(reason, "hello 2 does not start");
    assert_eq!((view.promotion.nvrs.as_slice(), view.approvals_needed), (&["hello-1-1".to_owned()][..], 1));
    assert_eq!(view.required, [], "no test is run again");
    let said = bench.against(ADA, "rollbacks", &back(json!({})), 409, "conflict").await;
    assert!(said.contains("is going back already"), "{said}");
    let shown = bench.composed(id, TestVerdict::Passed).await;
    bench.land(bench.hub.db.write().await.unwrap(), id).await;

    let history = async || {
        let answer = bench.get(&format!("/api/v1/repos/{RELEASE}/history?limit=2")).send().await.unwrap();
        answer.json::<Vec<PublicationView>>().await.unwrap()
    };
    let seen = history().await;
    assert_eq!(seen.iter().map(|one| one.revision).collect::<Vec<_>>(), [3, 2], "the revision grows");
    assert_eq!((seen[0].snapshot, seen[0].by.as_str()), (shown.id, "rex"));
    assert_eq!(seen[0].reason.as_deref(), Some("hello 2 does not start"));
    assert_eq!(seen[1].reason, None);

    // Doubled, or asked for in a hurry once more: what was left is not brought back.
    let said = bench.against(ADA, "rollbacks", &back(json!({})), 409, "conflict").await;
    assert!(said.contains("showed nothing else before"), "{said}");
    // By its number it is, unless it was withdrawn.
    let withdrawal = json!({ "nvr": "hello-2-1", "reason": "it does not start" });
    assert_eq!(bench.asked(MIA, "withdrawals", &withdrawal).await.status(), 200);
    let said = bench.against(ADA, "rollbacks", &back(json!({ "revision": 2 })), 409, "conflict").await;
    assert!(said.contains("has what was withdrawn since: hello-2-1"), "{said}");
    problem(bench.get("/api/v1/repos/nothing/history").send().await.unwrap(), 404, "not-found").await;
    problem(bench.get(&format!("/api/v1/repos/{CANDIDATE}/history")).send().await.unwrap(), 422, "invalid")
        .await;
    bench.stop().await;
}

#[tokio::test]
async fn going_back_to_much_less_is_confirmed() {
    let bench = bench("").await;
    let (hello, world) = (bench.built("hello", "1").await, bench.built("world", "1").await);
    bench.publish(Stage::Testing, &[&hello]).await;
    bench.publish(Stage::Testing, &[&world]).await;
    let mut body = json!({ "tag": TESTING, "reason": "world is not ready" });
    let said = bench.against(ADA, "rollbacks", &body, 409, "conflict").await;
    assert!(said.contains("would have 1 packages instead of 2") && said.contains("--confirm"), "{said}");
    body["confirm"] = json!(true);
    let id = bench.asked(ADA, "rollbacks", &body).await.json::<MadePromotion>().await.unwrap().id;
    assert_eq!(bench.promotion(id).await.promotion.remove, ["world"]);
    bench.composed(id, TestVerdict::Passed).await;
    bench.land(bench.hub.db.write().await.unwrap(), id).await;
    bench.stop().await;
}

/// What `grange promote` and `grange rollback` make of words that were typed: the call, and what is sent with it.
fn typed(words: &str) -> (&'static str, Value) {
    let mut quoted = words.split('"');
    let mut words: Vec<&str> = quoted.next().unwrap().split_whitespace().collect();
    words.extend(quoted.next());
    words.extend(quoted.next().unwrap_or_default().split_whitespace());
    let confirm = words.contains(&"--confirm");
    let value = |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1]);
    let known = ["--confirm", "--target", "--to", "--remove", "--reason"];
    assert!(words.iter().all(|word| !word.starts_with('-') || known.contains(word)), "{words:?}");
    match words[..2] {
        ["grange", "rollback"] => {
            let reason = value("--reason").expect("`grange rollback` asks for --reason");
            ("rollbacks", json!({ "tag": words[2], "reason": reason, "confirm": confirm }))
        }
        ["grange", "promote"] => {
            let to = value("--to").unwrap_or("release");
            let (target, remove) = (value("--target").unwrap(), [value("--remove").unwrap()]);
            ("promotions", json!({ "target": target, "to": to, "remove": remove, "confirm": confirm }))
        }
        _ => panic!("{words:?}"),
    }
}

/// For each repo that shows it, and as it is typed.
#[tokio::test]
async fn what_a_withdrawal_offers_works_as_it_is_typed() {
    let bench = bench("").await;
    let (first, second) = (bench.built("hello", "1").await, bench.built("hello", "2").await);
    let world = bench.built("world", "1").await;
    bench.publish(Stage::Testing, &[&first, &world]).await;
    bench.publish(Stage::Testing, &[&second]).await;
    bench.publish(Stage::Release, &[&second, &world]).await;
    let body = json!({ "nvr": "hello-2-1", "reason": "it eats the data of its users" });
    let done: Withdrawn = bench.asked(MIA, "withdrawals", &body).await.json().await.unwrap();
    assert_eq!(done.live_in, [TESTING, RELEASE]);
    let of = |tag: &str| -> Vec<&str> {
        let said =
            done.warnings.iter().find(|said| said.starts_with(&format!("users of {tag} still see it: ")));
        said.unwrap_or_else(|| panic!("{:?}", done.warnings)).split('`').skip(1).step_by(2).collect()
    };
    // Production showed nothing before: there is no way back, and the offer has none.
    for (tag, verbs) in [(TESTING, &["rollback", "promote"][..]), (RELEASE, &["promote"])] {
        let offers = of(tag);
        assert_eq!(offers.iter().map(|words| words.split(' ').nth(1).unwrap()).collect::<Vec<_>>(), verbs);
        for words in offers {
            let (path, body) = typed(words);
            let answer = bench.asked(ADA, path, &body).await;
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status, 202, "{words}: {text}");
            let id = serde_json::from_str::<MadePromotion>(&text).unwrap().id;
            let promotion = bench.promotion(id).await.promotion;
            assert_eq!(format!("demo9s-hello-1-{}", promotion.to), tag, "{words}");
            let taken_back = bench.asked(ADA, &format!("promotions/{id}/withdraw"), &json!({})).await;
            assert!(taken_back.status().is_success(), "{words}");
        }
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_withdrawn_build_says_where_it_is_and_goes_nowhere_any_more() {
    let bench = bench("").await;
    let (hello, world) = (bench.built("hello", "1").await, bench.built("world", "1").await);
    bench.publish(Stage::Testing, &[&hello, &world]).await;
    let body = json!({ "nvr": "hello-1-1", "reason": "it eats the data of its users" });
    problem(bench.asked(BOB, "withdrawals", &body).await, 403, "forbidden").await;
    let said =
        bench.against(ADA, "withdrawals", &json!({ "nvr": "hello-1-1", "reason": "" }), 422, "invalid").await;
    assert!(said.contains("is no reason for a withdrawal"), "{said}");
    let unknown = json!({ "nvr": "hello-9-1", "reason": "it eats the data of its users" });
    problem(bench.asked(ADA, "withdrawals", &unknown).await, 404, "not-found").await;

    let under_way = bench.opened(ADA, &to_release(&["hello-1-1", "world-1-1"])).await;
    bench.composed(under_way, TestVerdict::Passed).await;
    let done: Withdrawn = bench.asked(MIA, "withdrawals", &body).await.json().await.unwrap();
    assert_eq!((done.nvr.as_str(), done.live_in.as_slice()), ("hello-1-1", &[TESTING.to_owned()][..]));
    assert!(
        done.warnings.iter().any(|said| said.contains("has no build of hello now")),
        "{:?}",
        done.warnings
    );
    let still_seen = format!("users of {TESTING} still see it: ");
    assert!(done.warnings.iter().any(|said| said.starts_with(&still_seen)), "{:?}", done.warnings);
    let again: Withdrawn = bench.asked(ADA, "withdrawals", &body).await.json().await.unwrap();
    assert!(again.warnings[0].contains("withdrawn by mia before: it eats the data"), "{:?}", again.warnings);

    // What is under way is stopped, and nothing new is begun.
    let mut tx = bench.hub.db.write().await.unwrap();
    let kept = tx.promotion(under_way).await.unwrap().unwrap();
    let decision = tx.ask_gate(&kept, bench.hub.now()).await.unwrap();
    assert!(
        matches!(&decision, Decision::Refused(why) if why[0].contains("hello-1-1 was withdrawn")),
        "{decision:?}"
    );
    drop(tx);
    let said = bench.against(ADA, "promotions", &to_release(&["hello-1-1"]), 409, "conflict").await;
    assert!(said.contains("hello-1-1 was withdrawn by mia: it eats the data of its users"), "{said}");
    let tagged: Vec<String> = bench
        .hub
        .db
        .read()
        .await
        .unwrap()
        .tagged(CANDIDATE)
        .await
        .unwrap()
        .into_iter()
        .map(|b| b.nvr.to_string())
        .collect();
    assert_eq!(tagged, ["world-1-1"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_promotion_that_waits_for_a_repo_below_says_which_and_what_is_wrong_with_it() {
    let bench = bench("").await;
    // Its RPM is in no store, so that the candidate repo cannot be composed.
    bench.built("hello", "1").await;
    let template = ABOVE.replace("BELOW", CANDIDATE);
    let sig = farm::sig::template::parse("above.toml", &template).unwrap_or_else(|faults| panic!("{faults}"));
    let composing = Promotion {
        id: bench.hub.mint(),
        sig: "above".to_owned(),
        target: "above9s-moon-1-el9s".to_owned(),
        to: Stage::Testing,
        builds: Vec::new(),
        nvrs: vec!["moon-1-1".to_owned()],
        remove: Vec::new(),
        stack: None,
        brings: None,
        course: Course::Forward,
        confirmed: false,
        by: "ada".to_owned(),
        approvals: Vec::new(),
        suites: Default::default(),
        base: None,
        created: bench.hub.now(),
        state: PromotionState::Composing,
    };
    let mut tx = bench.hub.db.write().await.unwrap();
    tx.apply_sig(&sig, &template, "root", bench.hub.now()).await.unwrap().unwrap();
    tx.insert_promotion(&composing).await.unwrap();
    tx.commit().await.unwrap();

    let address = format!("/api/v1/why/{}", composing.id);
    let why: Why = bench.get(&address).send().await.unwrap().json().await.unwrap();
    assert_eq!((why.code, why.root), (WhyCode::WaitingForRepo, Some(format!("tag {CANDIDATE}"))));
    let status =
        async || bench.get("/api/v1/status").send().await.unwrap().json::<StatusView>().await.unwrap();
    assert!(status().await.stuck.is_empty(), "it only waits");
    let view = bench.promotion(composing.id).await;
    assert!(view.sentence.contains(CANDIDATE), "{}", view.sentence);
    hub::keeper::settle(&bench.hub).await.unwrap();
    let why: Why = bench.get(&address).send().await.unwrap().json().await.unwrap();
    assert_eq!((why.code, why.root), (WhyCode::BackingOff, Some(format!("tag {CANDIDATE}"))));
    assert!(why.sentence.contains("cannot go on: the hub failed"), "{}", why.sentence);
    let stuck = status().await.stuck;
    let [stuck] = &stuck[..] else { panic!("{stuck:?}") };
    assert_eq!((stuck.promotion, stuck.what.as_str()), (composing.id, "moon-1-1 to testing"));
    assert!(stuck.why.contains(CANDIDATE) && stuck.why.contains("the hub failed"), "{}", stuck.why);
    let numbers = hub::metrics::standing(&bench.hub).await.unwrap();
    assert!(numbers.contains("\ngrange_promotions_stuck 1\n"), "{numbers}");
    bench.stop().await;
}

const ABOVE: &str = r#"
name = "above"
[[member]]
name = "ada"
roles = ["maintainer"]
[[project]]
name = "moon"
release = "1"
dist = "9s"
arches = ["x86_64"]
packages = ["moon"]
inherit = ["BELOW"]
[project.tests]
required = ["installs"]
"#;
