//! Who waits for whom: a pure function of what is open.

use std::collections::{BTreeMap, BTreeSet};

use super::{Blocker, Member, Need, Standing, is_found_by_building};
use crate::ids::{ChainId, RequestId};

/// The order of everything that is open, decided from all of it at once, so that no two requests wait for each other.
///
/// A request waits for another that was asked for before its own source RPM was read, or is in the same chain, and that
/// enters a tag it installs from, and provides what it requires. Where requests need each other in a circle, the one
/// asked for first gives way: it is built with what the repos have. Requests asked for later are never waited for, so
/// that everything is built in the end, whatever else is asked for meanwhile.
#[derive(Debug, Clone)]
pub struct Order {
    /// In the order they were asked for.
    members: Vec<Member>,
    /// Whom each one waits for.
    waits: Vec<Vec<Wait>>,
    /// Whom each one would have waited for, had it not been in a circle.
    given_up: Vec<Vec<Wait>>,
    /// How many wait behind each one.
    heights: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wait {
    on: usize,
    need: Need,
}

impl Order {
    /// The order of these.
    #[must_use]
    pub fn of(mut members: Vec<Member>) -> Order {
        members.sort_by_key(|member| member.request);
        let known = Known::of(&members);
        let waits = (0..members.len()).map(|me| known.waits_of(me)).collect();
        let given_up = vec![Vec::new(); members.len()];
        let heights = vec![0; members.len()];
        let mut order = Order { members, waits, given_up, heights };
        order.break_circles();
        order.follow_the_list();
        for waiting in order.sorted().into_iter().rev() {
            let height = order.heights[waiting] + 1;
            for wait in &order.waits[waiting] {
                order.heights[wait.on] = order.heights[wait.on].max(height);
            }
        }
        order
    }

    /// Which requests must be imported before this one's builds may be planned. Nothing for a request it does not know.
    #[must_use]
    pub fn blockers(&self, request: RequestId) -> Vec<Blocker> {
        self.place(request).map(|me| self.told(&self.waits[me])).unwrap_or_default()
    }

    /// Whom it would have to wait for, had these not to wait for it: it is built first, without them.
    #[must_use]
    pub fn given_up(&self, request: RequestId) -> Vec<Blocker> {
        self.place(request).map(|me| self.told(&self.given_up[me])).unwrap_or_default()
    }

    /// How many builds wait behind this one, one behind the other.
    #[must_use]
    pub fn height(&self, request: RequestId) -> u32 {
        self.place(request).map_or(0, |me| self.heights[me])
    }

    /// Every request, each behind those it waits for.
    #[must_use]
    pub fn listed(&self) -> Vec<RequestId> {
        self.sorted().into_iter().map(|place| self.members[place].request).collect()
    }

    /// What is known of a request.
    #[must_use]
    pub fn member(&self, request: RequestId) -> Option<&Member> {
        self.place(request).map(|me| &self.members[me])
    }

    fn place(&self, request: RequestId) -> Option<usize> {
        self.members.binary_search_by_key(&request, |member| member.request).ok()
    }

    fn told(&self, waits: &[Wait]) -> Vec<Blocker> {
        let blocker = |wait: &Wait| {
            let other = &self.members[wait.on];
            let ended = match &other.standing {
                Standing::Ended(how) => Some(how.clone()),
                Standing::Open | Standing::Planned => None,
            };
            Blocker { request: other.request, package: other.package.clone(), need: wait.need.clone(), ended }
        };
        waits.iter().map(blocker).collect()
    }

    /// All places, each behind those it waits for; of several that could be next the oldest is. Those in a circle, or
    /// waiting for one, are missing.
    fn sorted(&self) -> Vec<usize> {
        let mut left: Vec<usize> = self.waits.iter().map(Vec::len).collect();
        let mut waiters = vec![Vec::new(); self.members.len()];
        for (me, waits) in self.waits.iter().enumerate() {
            for wait in waits {
                waiters[wait.on].push(me);
            }
        }
        let mut next: BTreeSet<usize> = (0..self.members.len()).filter(|me| left[*me] == 0).collect();
        let mut sorted = Vec::with_capacity(self.members.len());
        while let Some(me) = next.pop_first() {
            sorted.push(me);
            for waiter in &waiters[me] {
                left[*waiter] -= 1;
                if left[*waiter] == 0 {
                    next.insert(*waiter);
                }
            }
        }
        sorted
    }

    /// Everyone this one waits for, over however many others; itself too when it is in a circle.
    fn reached_from(&self, me: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut todo = vec![me];
        while let Some(place) = todo.pop() {
            todo.extend(self.waits[place].iter().map(|wait| wait.on).filter(|on| reached.insert(*on)));
        }
        reached
    }

    /// As long as there is a circle, the oldest in one stops waiting for those of it that wait for itself. What a person's
    /// levels say is not given up: levels alone make no circle.
    fn break_circles(&mut self) {
        let sorted: BTreeSet<usize> = self.sorted().into_iter().collect();
        for me in (0..self.members.len()).filter(|me| !sorted.contains(me)) {
            let waits = std::mem::take(&mut self.waits[me]);
            let (circular, kept) = waits.into_iter().partition(|wait| {
                wait.need != Need::Level && (wait.on == me || self.reached_from(wait.on).contains(&me))
            });
            self.waits[me] = kept;
            self.given_up[me] = circular;
        }
    }

    /// Names that nobody is known to provide may come from any member of the chain that was listed before.
    fn follow_the_list(&mut self) {
        for me in 0..self.members.len() {
            let Member { link: Some(link), unknown, standing: Standing::Open, .. } = &self.members[me] else {
                continue;
            };
            let (link, names) = (*link, unknown.clone());
            if names.is_empty() {
                continue;
            }
            for other in 0..me {
                let before = &self.members[other];
                let listed =
                    before.link.is_some_and(|theirs| theirs.id == link.id && theirs.level <= link.level);
                let ended = matches!(before.standing, Standing::Ended(_));
                let waits_already = self.waits[me].iter().any(|wait| wait.on == other);
                if listed && !ended && !waits_already && !self.reached_from(other).contains(&me) {
                    self.waits[me].push(Wait { on: other, need: Need::Unknown { names: names.clone() } });
                }
            }
        }
    }
}

/// What is looked up about others.
struct Known<'a> {
    members: &'a [Member],
    /// Who provides a name, or will.
    providers: BTreeMap<&'a str, Vec<usize>>,
    /// Those whose source RPM is being made.
    unread: Vec<usize>,
    /// Those that ended before it was.
    never_read: Vec<usize>,
    chains: BTreeMap<ChainId, Vec<usize>>,
}

impl<'a> Known<'a> {
    fn of(members: &'a [Member]) -> Self {
        let (providers, chains) = (BTreeMap::new(), BTreeMap::new());
        let mut known = Known { members, providers, unread: Vec::new(), never_read: Vec::new(), chains };
        for (place, member) in members.iter().enumerate() {
            if let Some(link) = member.link {
                known.chains.entry(link.id).or_default().push(place);
            }
            match (&member.source, &member.standing) {
                (None, Standing::Open) => known.unread.push(place),
                (None, Standing::Ended(_)) => known.never_read.push(place),
                (None, Standing::Planned) | (Some(_), _) => {}
            }
            for name in names_provided(member) {
                known.providers.entry(name).or_default().push(place);
            }
        }
        known
    }

    /// Whom a request waits for by what is known, circles included.
    fn waits_of(&self, me: usize) -> Vec<Wait> {
        let mine = &self.members[me];
        let (Standing::Open, Some(source)) = (&mine.standing, &mine.source) else { return Vec::new() };
        let mut needs: BTreeMap<usize, Need> = BTreeMap::new();
        for place in mine.link.iter().flat_map(|link| &self.chains[&link.id]) {
            let other = &self.members[*place];
            if level(mine) > level(other) {
                needs.insert(*place, Need::Level);
            } else if other.source.is_none() && other.standing == Standing::Open && *place != me {
                needs.insert(*place, Need::Unread);
            }
        }
        let is_fresh = !mine.fresh().is_empty();
        for place in &self.unread {
            let other = &self.members[*place];
            // A package that was built before will most likely provide what it did; one that was not may provide anything.
            if (is_fresh || other.before.is_none()) && is_relevant(mine, other) {
                needs.entry(*place).or_insert(Need::Unread);
            }
        }
        for name in &source.requires {
            let providers = self.providers.get(name.as_str()).into_iter().flatten();
            let namesakes =
                self.never_read.iter().filter(|place| is_namesake(name, &self.members[**place].package));
            for place in providers.chain(namesakes) {
                if !is_relevant(mine, &self.members[*place]) {
                    continue;
                }
                match needs.entry(*place).or_insert_with(|| Need::Names { names: BTreeSet::new() }) {
                    Need::Names { names } => {
                        names.insert(name.clone());
                    }
                    // Levels are a person's word; and what the source RPM says will be known soon.
                    Need::Level | Need::Unread | Need::Unknown { .. } => {}
                }
            }
        }
        needs.into_iter().map(|(on, need)| Wait { on, need }).collect()
    }
}

/// The names a request's packages will provide, as far as one can know.
fn names_provided(member: &Member) -> BTreeSet<&str> {
    let before = member.before.iter().flat_map(|before| &before.provides).map(String::as_str);
    match &member.source {
        // What its spec does not say must be taken from what its package provided before.
        Some(source) => before
            .filter(|name| is_found_by_building(name))
            .chain(source.provides.iter().map(String::as_str))
            .collect(),
        None => before.chain([member.package.as_str()]).collect(),
    }
}

/// Is this what a package of that name, of which nothing else is known, would provide?
fn is_namesake(name: &str, package: &str) -> bool {
    name.strip_prefix(package).is_some_and(|rest| rest.starts_with('-'))
        || name.strip_prefix("pkgconfig(").and_then(|rest| rest.strip_suffix(')')) == Some(package)
}

fn level(member: &Member) -> Option<u32> {
    member.link.and_then(|link| link.level)
}

/// Does it count for this one? Its build must enter what this one installs from. In a chain everyone counts whom its levels
/// do not put behind; of others only those that were asked for early enough. A package is built with an earlier build
/// of itself, or without.
fn is_relevant(mine: &Member, other: &Member) -> bool {
    if mine.package == other.package || !mine.sees.contains(&other.tag) {
        return false;
    }
    let is_chained = mine.link.is_some_and(|link| other.link.is_some_and(|theirs| theirs.id == link.id));
    if is_chained {
        return level(other) <= level(mine);
    }
    let is_open = !matches!(other.standing, Standing::Ended(_));
    is_open && mine.source.as_ref().is_some_and(|source| other.created <= source.read)
}
