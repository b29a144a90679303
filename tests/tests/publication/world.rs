//! A farm without builders, schedulers or a network: the keepers, the ledger, the disk, the hubs' ports and the signer are real,
//! what builders and people would do is done by dice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use cli::verify::{Keys, Options, Place};
use farm::digest::Digest;
use farm::ids::{Minter, PromotionId};
use farm::ledger::{Db, PromotionFilter};
use farm::promotion::PromotionState;
use farm::sig::{Community, Stage, template};
use farm::signing::{Endorsement, Purpose};
use farm::stamp::Stamp;
use hub::keeper;
use hub::signing::accept;
use tests::audit_tree;

use crate::builders::{Forge, Taste};
use crate::client::Client;
use crate::dice::Dice;
use crate::hubs::{AtTheDesk, Served};
use crate::judge::Judge;
use crate::keys::{self, Turned};
use crate::policy::{Policy, break_beside, move_surroundings};

const FRUIT: [&str; 3] = ["apple", "pear", "plum"];
pub(crate) const TARGET: &str = "demo9s-fruit-1-el9s";
pub(crate) const TESTING: &str = "demo9s-fruit-1-testing";
pub(crate) const RELEASE: &str = "demo9s-fruit-1-release";
/// How long the signer and the keeper may take with what needs no tests: far longer than they do.
const DEADLINE: Duration = Duration::from_secs(120);
/// Rounds of tests in which everything must be over: a queue in which each is refused takes one for each.
const ROUNDS: u32 = 60;
/// Of sixty steps so many happen while no keeper is at work.
const ALONE: u64 = 48;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Tally(pub(crate) BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn count_if(&mut self, happened: bool, what: &'static str) {
        if happened {
            self.count(what);
        }
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    pub(crate) taste: Taste,
    pub(crate) forge: Forge,
    pub(crate) packages: Vec<String>,
    pub(crate) version: u64,
    pub(crate) minter: Minter,
    /// The hub that people talk to and whose keeper works; it dies now and then.
    pub(crate) first: Served,
    /// Another one of the same folder, at whose address clients fetch. Its keeper works at times, beside the first one's.
    pub(crate) second: Served,
    desk: Option<AtTheDesk>,
    client: Option<Client>,
    policy: Policy,
    /// Every policy that was in force since the judge looked last.
    in_force: Vec<Community>,
    judge: Judge,
    phases: BTreeMap<PromotionId, &'static str>,
    /// What signers have answered: any of it may come again at any time.
    answers: Vec<Endorsement>,
    /// What the public tree looked like when it was audited last.
    audited: BTreeSet<String>,
    surroundings: u64,
    pub(crate) data: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with(seed, &FRUIT.map(str::to_owned)).await
    }

    /// A world whose SIG has these packages.
    pub(crate) async fn with(seed: u64, packages: &[String]) -> Self {
        let _another_story_did = rustls::crypto::ring::default_provider().install_default();
        let place = tempfile::tempdir().unwrap();
        let data = place.path();
        keys::lay_out(&data.join("keys"));
        move_surroundings(data, 0);
        let db = Db::open(&format!("sqlite:{}", data.join("ledger.sqlite").display())).await.unwrap();
        let mut tx = db.write().await.unwrap();
        for name in ["rex", "rita"] {
            tx.put_person(name, &Digest::of(name.as_bytes()), false, Stamp::ZERO).await.unwrap();
        }
        tx.commit().await.unwrap();
        let second = Served::begin(&db, data, None).await;
        let first = Served::begin(&db, data, Some(&second.url)).await;
        let mut world = Self {
            client: None,
            first,
            second,
            desk: None,
            dice: Dice(seed),
            tally: Tally::default(),
            taste: Taste::Dice,
            forge: Some,
            packages: packages.to_vec(),
            version: 0,
            minter: Minter::new(seed),
            policy: Policy::default(),
            in_force: Vec::new(),
            judge: Judge::default(),
            phases: BTreeMap::new(),
            answers: Vec::new(),
            audited: BTreeSet::new(),
            surroundings: 0,
            db,
            data: place,
        };
        world.apply(Policy::default()).await;
        let public = world.data.path().join("public");
        world.client = Some(Client::begin(&world.second.url, &world.db, public));
        world
    }

    /// Two versions of everything are built, tested and released: from here on there is something to lose, and a way back.
    pub(crate) async fn begins_well(&mut self) {
        self.taste = Taste::Spoilt("no package");
        for _ in 0..2 {
            for package in self.packages.clone() {
                self.build_of(&package).await;
            }
            for _ in 0..3 {
                self.settle().await;
                self.work(false).await;
            }
            self.settle().await;
            self.release_all().await;
            for _ in 0..2 {
                self.settle().await;
                self.work(false).await;
            }
            self.settle().await;
        }
        self.taste = Taste::Dice;
    }

    /// While nobody signs, the keeper goes as far as it can, and then somebody says something that counts.
    async fn change_a_mind(&mut self) {
        self.desk = None;
        let _died_or_not = keeper::settle(&self.first.hub).await;
        match self.dice.roll(3) {
            0 => self.withdraw_approved().await,
            1 => self.revoke().await,
            _ => {
                let policy = self.policy.another(&mut self.dice);
                self.apply(policy).await;
            }
        }
        let _died_or_not = keeper::settle(&self.first.hub).await;
    }

    /// Something happens. Gives what, for whoever looks for a fault.
    pub(crate) async fn step(&mut self) -> String {
        let number = self.dice.roll(60);
        if number < ALONE {
            return self.simple_step(number).await.to_owned();
        }
        // The keeper is at work, of two hubs at times, and something else happens meanwhile; then it dies, wherever it is.
        let moment = Duration::from_micros(1 << (8 + self.dice.roll(14)));
        let hubs = match self.dice.roll(2) {
            0 => vec![self.first.hub.clone()],
            _ => vec![self.first.hub.clone(), self.second.hub.clone()],
        };
        let two = hubs.len() == 2;
        self.tally.count_if(two, "had two keepers at once");
        let mut keepers = tokio::task::JoinSet::new();
        for hub in hubs {
            keepers.spawn(async move { _ = tokio::time::timeout(moment, keeper::settle(&hub)).await });
        }
        let other = self.dice.roll(60);
        tokio::time::sleep(moment.mul_f64(f64::from(u32::try_from(self.dice.roll(100)).unwrap()) / 100.0))
            .await;
        let other = if other < ALONE { self.simple_step(other).await } else { "nothing" };
        while keepers.join_next().await.is_some() {}
        format!("{} for {moment:?}, and {other} meanwhile", if two { "two keepers" } else { "the keeper" })
    }

    async fn simple_step(&mut self, number: u64) -> &'static str {
        match number {
            0..=3 => {
                self.build().await;
                "a build"
            }
            4..=12 => {
                self.work(true).await;
                "builders' work"
            }
            13..=18 => {
                self.promote().await;
                "a promotion"
            }
            19 => {
                self.withdraw().await;
                "a withdrawal"
            }
            20 => {
                self.withdraw_build().await;
                "the withdrawal of a build"
            }
            21 | 22 => {
                self.another_hub().await;
                self.tally.count("lost a hub");
                "the death of a hub"
            }
            23 | 24 => {
                self.desk = None;
                self.tally.count("lost a signer");
                "the death of a signer"
            }
            25 | 26 => {
                self.sign();
                "the coming of a signer"
            }
            27..=29 => {
                self.settle().await;
                "rest"
            }
            30 | 31 | 45 | 46 => {
                self.waive().await;
                "a waiver"
            }
            32 => {
                self.waive_for_a_moment().await;
                "a fleeting waiver"
            }
            33 => {
                self.revoke().await;
                "a waiver's end"
            }
            34 | 35 => {
                self.roll_back().await;
                "a way back"
            }
            36 | 37 => {
                let policy = self.policy.another(&mut self.dice);
                self.apply(policy).await;
                "a change of policy"
            }
            38 => {
                self.turn_keys();
                "a turn of keys"
            }
            39 => {
                if self.dice.roll(3) == 0 {
                    break_beside(self.data.path(), self.surroundings);
                    let _died_or_not = keeper::settle(&self.first.hub).await;
                    self.tally.count("broke a list of groups");
                }
                self.move_below();
                "a change below"
            }
            40 | 41 => {
                self.answer_again().await;
                "an answer that comes again"
            }
            42 | 43 => {
                self.approve().await;
                "an approval"
            }
            _ => {
                self.change_a_mind().await;
                "a change of mind"
            }
        }
    }

    /// What tests depend on changes, and what was broken beside the packages is whole again.
    pub(crate) fn move_below(&mut self) {
        self.surroundings += 1;
        move_surroundings(self.data.path(), self.surroundings);
    }

    /// Applies another template.
    pub(crate) async fn apply(&mut self, policy: Policy) {
        let text = policy.template(&self.packages, self.data.path());
        let sig = template::parse("sim.toml", &text).unwrap();
        let mut tx = self.db.write().await.unwrap();
        tx.apply_sig(&sig, &text, "root", self.first.hub.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        self.in_force.push(self.first.hub.community().await.unwrap());
        self.tally.count_if(policy != self.policy, "changed the policy");
        self.policy = policy;
    }

    fn turn_keys(&mut self) {
        let purpose = if self.dice.roll(3) == 0 { Purpose::Decisions } else { Purpose::Packages };
        let turned = keys::turn(&self.data.path().join("keys"), purpose, self.first.hub.now());
        self.tally.count_if(turned == Turned::Followed, "had a key follow another");
        self.tally.count_if(turned == Turned::Retired, "retired a key");
    }

    /// The first hub dies, and with it the address a signer may speak to; another one takes its place.
    pub(crate) async fn another_hub(&mut self) {
        if self.desk.as_ref().is_some_and(|desk| desk.url == self.first.url) {
            self.desk = None;
        }
        self.first = Served::begin(&self.db, self.data.path(), Some(&self.second.url)).await;
    }

    /// A signer is there, if there was none: one that speaks to either hub.
    fn sign(&mut self) {
        if self.desk.is_none() {
            let served = if self.dice.roll(2) == 0 { &self.first } else { &self.second };
            self.desk = Some(AtTheDesk::begin(&self.db, served, self.data.path()));
        }
    }

    /// Something that a signer has answered comes once more: at once, or long after.
    async fn answer_again(&mut self) {
        let filter = PromotionFilter { limit: 20, ..Default::default() };
        let mut tx = self.db.read().await.unwrap();
        for promotion in tx.promotions(&filter).await.unwrap() {
            let Some(snapshot) = promotion.snapshot() else { continue };
            if let Some(answer) = tx.endorsement(snapshot).await.unwrap()
                && !self.answers.contains(&answer)
            {
                self.answers.push(answer);
            }
        }
        drop(tx);
        if let Some(answer) = self.dice.pick(&self.answers) {
            let _accepted_or_not = accept::endorsement(&self.first.hub, answer).await;
            self.tally.count("had an answer twice");
        }
    }

    /// Everything moves that moves without tests: also what the signer has to do meanwhile.
    pub(crate) async fn settle(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            self.sign();
            keeper::settle(&self.first.hub).await.unwrap();
            let mut is_signing = false;
            let mut tx = self.db.read().await.unwrap();
            for promotion in tx.unsettled_promotions().await.unwrap() {
                is_signing |= matches!(
                    promotion.state,
                    PromotionState::Approved { .. } | PromotionState::Publishing { .. }
                );
            }
            drop(tx);
            if !is_signing {
                return;
            }
            self.ring();
            tokio::time::sleep(LOOK).await;
        }
        panic!("what needs no tests does not come to its end");
    }

    /// What one hub did is told to the other at once: here nobody waits for the next look.
    fn ring(&self) {
        self.first.hub.signers.ring();
        self.second.hub.signers.ring();
    }

    /// Everything that is not as it must be now: in what users can see, by the ledger and by an auditor that knows nothing of it;
    /// in what was published since; and in what a client has met.
    pub(crate) async fn check(&mut self) -> Vec<String> {
        let mut found = audit_tree(&self.db, self.data.path()).await;
        let state = self.surroundings;
        let judged = self.judge.look(&self.db, self.data.path(), &self.in_force, state, &mut self.tally);
        found.extend(judged.await);
        self.in_force.drain(..self.in_force.len() - 1);
        found.extend(self.audit_as_a_stranger().await);
        found.extend(self.client.iter().flat_map(|client| client.seen.complaints()));
        let phases = self.phases().await;
        let before = std::mem::replace(&mut self.phases, phases);
        for (id, phase) in &self.phases {
            let was_approved = before.get(id) == Some(&"approved");
            let is_back = ["composing", "ready", "rejected"].contains(phase);
            self.tally.count_if(was_approved && is_back, "took an approval back");
        }
        found
    }

    /// Lets the independent auditor look at the public tree, by way of HTTP and with the public keys, and remember what it has
    /// seen. It reads everything, so it is spared what it would find unchanged.
    async fn audit_as_a_stranger(&mut self) -> Vec<String> {
        let public = self.data.path().join("public");
        let mut now = BTreeSet::new();
        list(&public, &mut now);
        if now == self.audited || !public.join("keys/decisions.pub").exists() {
            return Vec::new();
        }
        self.audited = now;
        let place = Place::open(&format!("{}/repos/", self.second.url)).unwrap();
        let memory = Some(self.data.path().join("auditors-memory.json"));
        let options = Options { deep: true, tag: None, memory };
        let keys = Keys::read(&public.join("keys")).unwrap();
        let report = cli::verify::audit(&place, &keys, &options).await.unwrap();
        self.tally.count("was audited by a stranger");
        report.all_violations().map(|wrong| format!("{}: {}", wrong.file, wrong.reason)).collect()
    }

    /// Everything that is under way comes to its end, if it can: everybody agrees to everything.
    pub(crate) async fn goes_on(&mut self) {
        for _ in 0..ROUNDS {
            self.approve_all().await;
            self.settle().await;
            self.work(false).await;
            let mut tx = self.db.read().await.unwrap();
            let open =
                tx.open_requests().await.unwrap().len() + tx.unsettled_promotions().await.unwrap().len();
            drop(tx);
            if open == 0 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Once nothing fails any more, everything settles, and every repo shows what its pointer says. Gives how many promotions
    /// to production were published, and how many were refused.
    pub(crate) async fn comes_to_rest(&mut self, seed: u64) -> (u64, u64) {
        // One that has met with trouble would wait before it tries again.
        self.another_hub().await;
        self.goes_on().await;
        keeper::settle(&self.first.hub).await.unwrap();
        let mut tx = self.db.read().await.unwrap();
        assert!(tx.open_requests().await.unwrap().is_empty(), "seed {seed}: a request is open");
        let open = tx.unsettled_promotions().await.unwrap();
        assert!(open.is_empty(), "seed {seed}: {:?}, {:?}", self.phases().await, tx.signers().await);
        for repo in tx.repos().await.unwrap() {
            let hub = &self.first.hub;
            let tree = if repo.tag.ends_with("-candidate") { &hub.candidates } else { &hub.public };
            assert_eq!(tree.live(&repo.tag), repo.current, "seed {seed}: {}", repo.tag);
        }
        let all = PromotionFilter { limit: 10_000, ..Default::default() };
        let promotions = tx.promotions(&all).await.unwrap();
        drop(tx);
        let to_release = promotions.iter().filter(|promotion| promotion.to == Stage::Release);
        let published = to_release.filter(|p| matches!(p.state, PromotionState::Published { .. })).count();
        let refused =
            promotions.iter().filter(|p| matches!(p.state, PromotionState::Rejected { .. })).count();
        let found = self.check().await;
        assert!(found.is_empty(), "seed {seed}, at rest: {found:#?}");
        (published as u64, refused as u64)
    }

    /// Tells what has happened, to the client too.
    pub(crate) fn ends(self) -> Tally {
        let mut tally = self.tally;
        if let Some(client) = &self.client {
            for (what, count) in client.seen.counts() {
                *tally.0.entry(what).or_default() += count;
            }
        }
        tally
    }
}

/// What is below a folder: names, what links lead to, sizes and times of files.
fn list(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let leads_to = std::fs::read_link(entry.path()).unwrap_or_default();
        let (size, at) = if meta.is_dir() { (0, None) } else { (meta.len(), meta.modified().ok()) };
        found.insert(format!("{} {} {size} {at:?}", entry.path().display(), leads_to.display()));
        if meta.is_dir() {
            list(&entry.path(), found);
        }
    }
}
