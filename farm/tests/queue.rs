//! The merge queue of a repo: whatever happens in whatever order, what is published is what publishing one after the other would
//! give; nobody waits for one that waits for a person; and nobody waits for ever.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sample;

use std::collections::BTreeMap;

use farm::ids::{PromotionId, SnapshotId};
use farm::promotion::{Course, Promotion, PromotionEvent as Event, PromotionState as State};
use farm::queue::{ahead, goes_first, place};
use farm::sig::{Project, Stage};
use farm::snapshot::{Member, Snapshot};
use farm::stamp::Stamp;
use proptest::prelude::*;
use sample::{at, id, member, project};

const STAGES: [Stage; 2] = [Stage::Testing, Stage::Release];
/// The version of a build whose tests fail, in whatever combination.
const BAD: &str = "666";
const MANAGERS: [&str; 3] = ["rex", "rita", "rob"];

/// One repo of each stage, and a keeper that does what the queue says.
struct World {
    project: Project,
    clock: i64,
    promotions: Vec<Promotion>,
    sets: BTreeMap<PromotionId, Vec<Member>>,
    snapshots: BTreeMap<SnapshotId, Snapshot>,
    live: BTreeMap<Stage, SnapshotId>,
    landed: BTreeMap<Stage, Vec<PromotionId>>,
}

impl World {
    fn new(approvers: u32) -> World {
        World {
            project: Project { approvers, ..project() },
            clock: 1_000,
            promotions: Vec::new(),
            sets: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            live: BTreeMap::new(),
            landed: BTreeMap::new(),
        }
    }

    fn now(&mut self) -> Stamp {
        self.clock += 1;
        at(self.clock)
    }

    fn open(&mut self, to: Stage, set: Vec<Member>, course: Course) -> PromotionId {
        let now = self.now();
        let one = Promotion {
            id: id(u64::try_from(self.clock).unwrap()),
            sig: self.project.sig.clone(),
            target: self.project.target(),
            to,
            builds: set.iter().map(|member| member.build).collect(),
            nvrs: set.iter().map(|member| member.nvr.clone()).collect(),
            remove: Vec::new(),
            stack: None,
            brings: None,
            course,
            confirmed: false,
            by: "ada".into(),
            approvals: Vec::new(),
            suites: BTreeMap::new(),
            base: None,
            created: now,
            state: State::Composing,
        };
        self.sets.insert(one.id, set);
        self.promotions.push(one.clone());
        one.id
    }

    fn unsettled(&self) -> Vec<Promotion> {
        self.promotions.iter().filter(|promotion| !promotion.is_settled()).cloned().collect()
    }

    fn on(&mut self, index: usize, event: Event) {
        let now = self.now();
        self.promotions[index] = self.promotions[index].on(event, now).unwrap();
    }

    fn approve(&mut self, index: usize, by: &str) {
        if !matches!(self.promotions[index].state, State::Publishing { .. })
            && !self.promotions[index].is_settled()
        {
            self.on(index, Event::Approve { by: by.into() });
        }
    }

    /// What a keeper does with one promotion when it looks at it. Says whether anything moved.
    fn step(&mut self, index: usize) -> bool {
        let promotion = self.promotions[index].clone();
        let unsettled = self.unsettled();
        let live = self.live.get(&promotion.to).copied();
        let base = match ahead(&promotion, &unsettled, &self.project) {
            Some(ahead) => ahead.snapshot().map(Some),
            None => Some(live),
        };
        // One that was composed on what is live, while somebody else has its place before it, is adrift as well: it would overtake
        // that one, and with it whoever is composed on top of it, again and again.
        let is_adrift = base != Some(promotion.base);
        let is_first = promotion.base == live && !is_adrift;
        let event = match promotion.state {
            State::Composing => {
                let Some(base) = base else { return false };
                self.compose(&promotion, base)
            }
            State::InTesting { .. } | State::Ready { .. } | State::Approved { .. } if is_adrift => {
                Event::Outdated
            }
            State::InTesting { .. } | State::Ready { .. } | State::Approved { .. } if !is_first => {
                return false;
            }
            State::InTesting { snapshot, .. } | State::Ready { snapshot } => {
                let is_bad = self.snapshots[&snapshot].members.iter().any(|member| member.nvr.contains(BAD));
                let needed = match promotion.to {
                    Stage::Release => usize::try_from(self.project.approvers).unwrap(),
                    Stage::Candidate | Stage::Testing => 0,
                };
                match (is_bad, promotion.approvals.len() >= needed, &promotion.state) {
                    (true, ..) => Event::Reject { why: vec!["it is bad".into()] },
                    (false, true, _) => Event::Approved { snapshot, by: "gate".into() },
                    (false, false, State::Ready { .. }) => return false,
                    (false, false, _) => Event::NeedsApproval,
                }
            }
            State::Approved { snapshot, .. } => {
                self.land(&promotion, live, snapshot);
                Event::PointerMoved
            }
            State::Publishing { .. } => Event::Visible,
            State::Published { .. } | State::Rejected { .. } | State::Withdrawn { .. } => return false,
        };
        self.on(index, event);
        true
    }

    fn compose(&mut self, promotion: &Promotion, base: Option<SnapshotId>) -> Event {
        let now = self.now();
        let under = base.map(|base| self.snapshots[&base].clone());
        let fresh = id(u64::try_from(self.clock).unwrap());
        let tag = self.project.tag(promotion.to);
        let made = match &promotion.course {
            Course::Forward => {
                Snapshot::compose(fresh, &tag, under.as_ref(), &self.sets[&promotion.id], &[], now)
            }
            Course::Back { to, .. } => {
                let under = under.as_ref().map(Snapshot::as_base);
                Snapshot::holding(fresh, &tag, under, self.snapshots[to].members.clone(), now)
            }
        };
        let snapshot = made.id;
        self.snapshots.insert(snapshot, made);
        Event::Composed { snapshot, base, request: None, suites: BTreeMap::new() }
    }

    /// The pointer moves: only from what is live, and to what adding this one alone to it gives.
    fn land(&mut self, promotion: &Promotion, live: Option<SnapshotId>, snapshot: SnapshotId) {
        let next = &self.snapshots[&snapshot];
        assert_eq!(next.base, live, "what was live was lost");
        let before = live.map(|live| &self.snapshots[&live]);
        assert!(before.is_none_or(|before| before.revision() < next.revision()), "clients would not take it");
        let alone = match &promotion.course {
            Course::Forward => {
                Snapshot::compose(snapshot, &next.tag, before, &self.sets[&promotion.id], &[], next.created)
                    .content
            }
            Course::Back { to, .. } => self.snapshots[to].content.clone(),
        };
        assert_eq!(next.content, alone, "it is not what publishing it alone would give");
        self.live.insert(promotion.to, snapshot);
        self.landed.entry(promotion.to).or_default().push(promotion.id);
    }

    /// What must hold at every moment.
    fn check(&self) {
        let unsettled = self.unsettled();
        for promotion in &unsettled {
            let mut seen = vec![promotion.id];
            let mut one = promotion;
            while let Some(before) = ahead(one, &unsettled, &self.project) {
                assert_eq!(before.to, one.to, "another repo's queue");
                assert_eq!(before.course, Course::Forward, "a way back is waited for by nobody");
                assert!(place(before, &self.project).is_some(), "it waits for one that waits for a person");
                assert!(!seen.contains(&before.id), "they wait for each other: {seen:?}");
                seen.push(before.id);
                one = before;
            }
            if promotion.course != Course::Forward {
                assert_eq!(seen.len(), 1, "back means now");
            }
        }
    }

    /// Everybody says their word, and everything that can move does.
    fn settle(&mut self) {
        for index in 0..self.promotions.len() {
            for by in MANAGERS {
                self.approve(index, by);
            }
        }
        let enough = 100 * (self.promotions.len() + 1);
        for _ in 0..enough {
            let moved = (0..self.promotions.len()).filter(|index| self.step(*index)).count();
            self.check();
            if moved == 0 {
                assert!(self.unsettled().is_empty(), "these wait for ever: {:?}", self.unsettled());
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Forward ones landed in the order of their places, all the good ones and no others.
    fn is_serial(&self) {
        for stage in STAGES {
            let landed = self.landed.get(&stage).cloned().unwrap_or_default();
            let of = |id: &PromotionId| self.promotions.iter().find(|one| one.id == *id).unwrap();
            let forward: Vec<&Promotion> =
                landed.iter().map(of).filter(|one| one.course == Course::Forward).collect();
            let places: Vec<_> = forward.iter().map(|one| (place(one, &self.project), one.id)).collect();
            assert!(places.is_sorted(), "{stage}: {places:?}");
            for one in self.promotions.iter().filter(|one| one.to == stage && one.course == Course::Forward) {
                let is_bad = one.nvrs.iter().any(|nvr| nvr.contains(BAD));
                match &one.state {
                    State::Published { .. } => assert!(!is_bad && landed.contains(&one.id)),
                    State::Rejected { .. } => {
                        assert!(is_bad && !landed.contains(&one.id), "it fell with another")
                    }
                    State::Withdrawn { .. } => assert!(!landed.contains(&one.id)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Happening {
    Open { stage: usize, package: u8, version: u8, is_bad: bool },
    Back { stage: usize },
    Approve { which: usize, who: usize },
    Withdraw { which: usize },
    Step { which: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    let open = (0..2_usize, 0..4_u8, 0..9_u8, prop::bool::weighted(0.2))
        .prop_map(|(stage, package, version, is_bad)| Happening::Open { stage, package, version, is_bad });
    prop_oneof![
        3 => open,
        1 => (0..2_usize).prop_map(|stage| Happening::Back { stage }),
        3 => (any::<usize>(), 0..3_usize).prop_map(|(which, who)| Happening::Approve { which, who }),
        1 => any::<usize>().prop_map(|which| Happening::Withdraw { which }),
        12 => any::<usize>().prop_map(|which| Happening::Step { which }),
    ]
}

impl World {
    fn happens(&mut self, happening: &Happening) {
        let count = self.promotions.len();
        match *happening {
            Happening::Open { stage, package, version, is_bad } => {
                let version = if is_bad { BAD.to_owned() } else { version.to_string() };
                let set = vec![member(&format!("p{package}"), &version)];
                self.open(STAGES[stage], set, Course::Forward);
            }
            Happening::Back { stage } => {
                let former = self.landed.get(&STAGES[stage]).and_then(|landed| landed.first());
                let Some(State::Published { snapshot, .. }) =
                    former.map(|id| self.promotions.iter().find(|one| one.id == *id).unwrap().state.clone())
                else {
                    return;
                };
                let course = Course::Back { to: snapshot, reason: "it does not start".into() };
                self.open(STAGES[stage], Vec::new(), course);
            }
            Happening::Approve { which, who } if count > 0 => self.approve(which % count, MANAGERS[who]),
            Happening::Withdraw { which } if count > 0 => {
                let promotion = &self.promotions[which % count];
                if !promotion.is_settled() && !matches!(promotion.state, State::Publishing { .. }) {
                    self.on(which % count, Event::Withdraw { by: "ada".into() });
                }
            }
            Happening::Step { which } if count > 0 => drop(self.step(which % count)),
            Happening::Approve { .. } | Happening::Withdraw { .. } | Happening::Step { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_result_equals_the_serial_one(
        approvers in 1..3_u32,
        happenings in prop::collection::vec(happening(), 0..120),
    ) {
        let mut world = World::new(approvers);
        for happening in &happenings {
            world.happens(happening);
            world.check();
        }
        world.settle();
        world.is_serial();
    }
}

fn approved(world: &mut World, package: &str, version: &str) -> usize {
    world.open(Stage::Release, vec![member(package, version)], Course::Forward);
    let index = world.promotions.len() - 1;
    world.approve(index, "rex");
    index
}

/// Each is composed on the one before it at once, and one bad one costs those behind it one more composition.
#[test]
fn of_twenty_with_one_bad_one_nineteen_land_in_two_rounds_of_tests() {
    let mut world = World::new(1);
    for number in 0..20 {
        approved(&mut world, &format!("p{number}"), if number == 7 { BAD } else { "1" });
    }
    let tested = |world: &World| {
        world.promotions.iter().filter(|one| matches!(one.state, State::InTesting { .. })).count()
    };
    for index in 0..20 {
        assert!(world.step(index), "{index} is composed while those ahead are in test");
    }
    assert_eq!(tested(&world), 20);
    // One test time later: those before the bad one land, it leaves, and those behind are composed anew, all of them.
    for index in 0..8 {
        while world.step(index) {}
    }
    assert_eq!(world.landed[&Stage::Release].len(), 7);
    assert!(matches!(world.promotions[7].state, State::Rejected { .. }));
    for index in 8..20 {
        assert!(world.step(index) && matches!(world.promotions[index].state, State::Composing), "{index}");
        assert!(world.step(index), "{index}");
    }
    assert_eq!(tested(&world), 12);
    // And one more test time later they all land.
    for index in 8..20 {
        while world.step(index) {}
    }
    assert_eq!(world.landed[&Stage::Release].len(), 19);
    world.is_serial();
}

#[test]
fn one_that_waits_for_a_person_holds_up_nobody_and_takes_its_place_when_it_has_the_word() {
    let mut world = World::new(2);
    for package in ["a", "b"] {
        world.open(Stage::Release, vec![member(package, "1")], Course::Forward);
    }
    let testing = world.open(Stage::Testing, vec![member("c", "1")], Course::Forward);
    world.approve(0, "rex");
    assert_eq!(place(&world.promotions[0], &world.project), None, "one word of two");
    world.approve(1, "rex");
    world.approve(1, "rita");
    let unsettled = world.unsettled();
    let before = |index: usize| ahead(&unsettled[index], &unsettled, &world.project).map(|one| one.id);
    assert_eq!(before(1), None, "what waits for a person holds up nobody");
    assert_eq!(before(0), Some(unsettled[1].id), "it is tested on top of what will be there");
    assert_eq!(before(2), None, "another repo has another queue");
    assert_eq!(place(&unsettled[2], &world.project), Some(unsettled[2].created));
    assert_eq!(unsettled[2].id, testing);
    world.settle();
    let ids: Vec<PromotionId> = [1, 0].map(|index: usize| world.promotions[index].id).into();
    assert_eq!(world.landed[&Stage::Release], ids);
}

#[test]
fn back_means_now_and_those_under_way_start_over_on_top_of_it() {
    let mut world = World::new(1);
    let first = approved(&mut world, "a", "1");
    while world.step(first) {}
    let second = approved(&mut world, "a", "2");
    while world.step(second) {}
    let under_way = approved(&mut world, "b", "1");
    assert!(world.step(under_way));
    let State::Published { snapshot, .. } = world.promotions[first].state else { panic!("it has landed") };
    world.open(
        Stage::Release,
        Vec::new(),
        Course::Back { to: snapshot, reason: "a-2 does not start".into() },
    );
    world.approve(3, "rex");
    let first = [3, under_way].map(|index| goes_first(&world.promotions[index]));
    assert_eq!(first, [true, false], "it is not kept by what must be composed, either");
    while world.step(3) {}
    assert!(matches!(world.promotions[3].state, State::Published { .. }), "it waited for nobody");
    world.settle();
    let live = &world.snapshots[&world.live[&Stage::Release]];
    let nvrs: Vec<&str> = live.members.iter().map(|member| &*member.nvr).collect();
    assert_eq!(
        nvrs,
        ["a-1-1.el9s", "b-1-1.el9s"],
        "what was under way is not lost, and what was left stays left"
    );
}
