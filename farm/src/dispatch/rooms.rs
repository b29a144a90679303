//! Which builder a job may go to, and which of those it goes to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Match, Room, Rules, Space};
use crate::arch::Arch;
use crate::builder::Running;
use crate::stamp::Stamp;

/// What a job asks of a builder: jobs that ask the same are answered the same.
type Needs<'a> = (Arch, &'a BTreeSet<String>, u64, u64);

fn needs(job: &Candidate) -> Needs<'_> {
    (job.arch, &job.labels, job.memory_mb, job.disk_mb)
}

/// Who could ever do a job with these needs, were it the only one.
#[derive(Debug, Clone, Copy)]
struct Prospects {
    /// Somebody on his own processor.
    natively: bool,
    /// Somebody at all, but for each the job takes more than a slot's part.
    only_crowding: bool,
}

struct Place<'a> {
    room: &'a Room,
    free: u32,
    left: Space,
    /// Nothing more goes here in this round: a wide job waits for it.
    kept: bool,
}

/// All rooms, as they fill up in one round.
pub(super) struct Hall<'a> {
    places: Vec<Place<'a>>,
    rules: &'a Rules,
    now: Stamp,
    prospects: BTreeMap<Needs<'a>, Prospects>,
    /// Needs that nobody can meet any more in this round; rooms only get fuller. With whether the job may be emulated.
    hopeless: BTreeSet<(Needs<'a>, bool)>,
}

impl<'a> Hall<'a> {
    pub(super) fn new(rooms: &'a [Room], rules: &'a Rules, now: Stamp) -> Self {
        let places =
            rooms.iter().map(|room| Place { room, free: room.free, left: room.left, kept: false }).collect();
        Self { places, rules, now, prospects: BTreeMap::new(), hopeless: BTreeSet::new() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.places.iter().any(Place::is_open)
    }

    /// Does the job need so much that small ones could keep it out for ever?
    pub(super) fn is_wide(&mut self, job: &'a Candidate) -> bool {
        self.prospects(job).only_crowding
    }

    /// The best place for the job now, if there is one.
    pub(super) fn find(&mut self, job: &'a Candidate) -> Option<usize> {
        let emulate = self.may_be_emulated(job);
        let key = (needs(job), emulate);
        if self.hopeless.contains(&key) {
            return None;
        }
        let avoids = self.keeps_away(job, emulate);
        let found = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.is_open() && place.left.holds(job))
            .filter_map(|(index, place)| Some((index, place, could(job, place.room, emulate)?)))
            .filter(|(_, place, _)| !avoids || !job.avoid.contains(&place.room.builder))
            .min_by_key(|(_, place, running)| {
                // What is rare is left for those who need it: builders of several architectures, and labels.
                let spare = place.room.labels.len() - job.labels.len();
                let arches = place.room.native.len() + place.room.emulated.len();
                let failed = job.avoid.contains(&place.room.builder);
                (failed, *running == Running::Emulated, arches, spare, Reverse(place.free))
            })
            .map(|(index, _, _)| index);
        if found.is_none() && !avoids {
            self.hopeless.insert(key);
        }
        found
    }

    /// Gives the job this place.
    pub(super) fn take(&mut self, index: usize, job: &Candidate) -> Match {
        let place = &mut self.places[index];
        place.free -= 1;
        place.left = place.left.less(job.memory_mb, job.disk_mb);
        Match { job: job.job, builder: place.room.builder.clone() }
    }

    /// Keeps the builder where least is missing.
    pub(super) fn keep_for(&mut self, job: &'a Candidate) {
        let emulate = self.may_be_emulated(job);
        let avoids = self.keeps_away(job, emulate);
        let best = self
            .places
            .iter_mut()
            .filter(|place| place.room.whole.holds(job) && could(job, place.room, emulate).is_some())
            .filter(|place| !avoids || !job.avoid.contains(&place.room.builder))
            .max_by_key(|place| (place.left, Reverse(&place.room.builder)));
        if let Some(place) = best {
            place.kept = true;
        }
    }

    fn may_be_emulated(&mut self, job: &'a Candidate) -> bool {
        job.has_waited(self.now, self.rules.emulate_after_ms) || !self.prospects(job).natively
    }

    /// Is the job still kept from builders that failed it? Only while somebody else is here who could do it.
    fn keeps_away(&self, job: &Candidate, emulate: bool) -> bool {
        !job.avoid.is_empty()
            && !job.has_waited(self.now, self.rules.elsewhere_after_ms)
            && self.places.iter().any(|place| {
                !job.avoid.contains(&place.room.builder)
                    && place.room.whole.holds(job)
                    && could(job, place.room, emulate).is_some()
            })
    }

    fn prospects(&mut self, job: &'a Candidate) -> Prospects {
        if let Some(known) = self.prospects.get(&needs(job)) {
            return *known;
        }
        let able = || {
            self.places
                .iter()
                .map(|place| place.room)
                .filter(|room| room.whole.holds(job))
                .filter_map(|room| Some((room, could(job, room, true)?)))
        };
        let natively = able().any(|(_, running)| running == Running::Native);
        let mut chosen = able()
            .filter(|(_, running)| !natively || *running == Running::Native)
            .map(|(room, _)| room)
            .peekable();
        let only_crowding =
            chosen.peek().is_some() && chosen.all(|room| room.whole.is_crowded_by(job, room.slots));
        let prospects = Prospects { natively, only_crowding };
        self.prospects.insert(needs(job), prospects);
        prospects
    }
}

impl Place<'_> {
    fn is_open(&self) -> bool {
        self.free > 0 && !self.kept
    }
}

/// How the builder would run the job, if it may. How full it is does not matter here.
fn could(job: &Candidate, room: &Room, emulate: bool) -> Option<Running> {
    if !job.labels.is_subset(&room.labels) {
        None
    } else if room.native.contains(&job.arch) {
        Some(Running::Native)
    } else if emulate && room.emulated.contains(&job.arch) {
        Some(Running::Emulated)
    } else {
        None
    }
}
