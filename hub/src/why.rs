//! Why something is not moving: gathers what [`farm::why`] decides by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use farm::arch::Arch;
use farm::builder::{Builder, Condition, nobody_builds};
use farm::dispatch::{Loads, Space};
use farm::job::Job;
use farm::ledger::{Held, PromotionFilter, Tx};
use farm::promotion::Promotion;
use farm::request::{Request, RequestKind};
use farm::why::{Facts, Lane, Why, of_build, of_promotion};

use crate::chains;
use crate::problem::Answer;
use crate::promotions::{standing, to_name};
use crate::state::Hub;

/// Promotions of a target among which that of a build is looked for.
const NEWEST: u32 = 200;

/// Why a build is not moving. `name` is what people call it.
///
/// # Errors
/// When the ledger fails.
pub async fn build(hub: &Hub, tx: &mut Tx, request: &Request, name: String) -> Answer<Why> {
    let jobs = tx.jobs_of(request.id).await?;
    let waits = chains::blockers_of(tx, request.id).await?;
    let promotion = promotion_of(tx, request).await?;
    let mut facts = Facts {
        now: hub.now(),
        request,
        name,
        jobs: &jobs,
        blockers: waits.blockers,
        behind: to_name(hub, waits.composing),
        lanes: BTreeMap::new(),
        silent: BTreeSet::new(),
        usual: BTreeMap::new(),
        promotion: None,
    };
    if let Some(promotion) = &promotion {
        let community = tx.community().await?;
        facts.promotion = Some(standing(hub, tx, &community, promotion).await?);
    }
    let survey = Survey::of(hub, tx).await?;
    facts.silent = survey.silent();
    for job in jobs.iter().filter(|job| job.outcome().is_none()) {
        facts.lanes.insert(job.arch, survey.lane(tx, job).await?);
    }
    let usual = jobs.iter().map(|job| (job.kind.label(), job.arch)).chain(builds_of(&jobs));
    for (label, arch) in usual.collect::<BTreeSet<_>>() {
        if let Some(time) = tx.expected(&request.package, &label, arch).await? {
            facts.usual.insert((label, arch), time);
        }
    }
    Ok(of_build(&facts))
}

/// Why a promotion is not moving.
///
/// # Errors
/// When the ledger fails.
pub async fn promotion(hub: &Hub, tx: &mut Tx, promotion: &Promotion) -> Answer<Why> {
    let community = tx.community().await?;
    Ok(of_promotion(&standing(hub, tx, &community, promotion).await?))
}

/// The builds that follow a job, wherever they will run: they count for when everything is done.
fn builds_of(jobs: &[Job]) -> impl Iterator<Item = (String, Arch)> {
    let label = farm::job::JobKind::Build.label();
    let any = !jobs.is_empty();
    Arch::ALL.into_iter().filter(move |_| any).map(move |arch| (label.clone(), arch))
}

/// The newest promotion of what a request made, or the one a test is for.
async fn promotion_of(tx: &mut Tx, request: &Request) -> Answer<Option<Promotion>> {
    if let RequestKind::Test { promotion, .. } = &request.kind {
        return Ok(tx.promotion(*promotion).await?.map(|kept| kept.value));
    }
    let Some(build) = tx.build_of(request.id).await? else { return Ok(None) };
    let target = Some(request.target.clone());
    let filter = PromotionFilter { target, limit: NEWEST, ..PromotionFilter::default() };
    Ok(tx.promotions(&filter).await?.into_iter().find(|promotion| promotion.builds.contains(&build.id)))
}

/// The builders and the load, read once for all jobs.
struct Survey<'a> {
    hub: &'a Hub,
    builders: Vec<Builder>,
    held: BTreeMap<String, Held>,
    loads: Loads,
}

impl Survey<'_> {
    async fn of<'a>(hub: &'a Hub, tx: &mut Tx) -> Answer<Survey<'a>> {
        Ok(Survey {
            hub,
            builders: tx.builders().await?,
            held: tx.holdings().await?,
            loads: tx.loads(hub.now(), hub.config.patience.usage_half_life(), 0).await?,
        })
    }

    fn silent_after(&self) -> Duration {
        Duration::from_millis(self.hub.config.silent_ms)
    }

    fn held(&self, builder: &Builder) -> Held {
        self.held.get(&builder.name).copied().unwrap_or_default()
    }

    fn condition(&self, builder: &Builder) -> Condition {
        builder.condition(self.held(builder).jobs, self.hub.now(), self.silent_after())
    }

    fn silent(&self) -> BTreeSet<String> {
        let gone = |builder: &&Builder| self.condition(builder) == Condition::Silent;
        self.builders.iter().filter(gone).map(|builder| builder.name.clone()).collect()
    }

    async fn lane(&self, tx: &mut Tx, job: &Job) -> Answer<Lane> {
        let able = self
            .builders
            .iter()
            .filter(|builder| builder.runs(job.arch).is_some() && job.labels.is_subset(&builder.labels));
        let (memory_mb, disk_mb) = (job.recipe.limits.memory_mb, job.recipe.limits.disk_mb);
        let (mut slots, mut free, mut cramped) = (0, 0, 0);
        for builder in able {
            let whole = Space::said(builder.memory_mb, builder.disk_mb);
            let Condition::Free { slots: now } = self.condition(builder) else { continue };
            if !whole.covers(memory_mb, disk_mb) {
                continue;
            }
            slots += builder.slots;
            let held = self.held(builder);
            if whole.less(held.memory_mb, held.disk_mb).covers(memory_mb, disk_mb) {
                free += now;
            } else {
                cramped += now;
            }
        }
        let key = (job.sig.clone(), job.arch);
        let running = self.loads.held.get(&key).copied().unwrap_or(0);
        let ahead = tx.ahead_of(job).await?;
        let at_work = tx.at_work_on(job.arch).await?;
        // Those at work are half done, on average.
        let busy = tx.usual_on(job.arch).await?.map(|usual| usual * ahead + usual * at_work / 2);
        let now = self.hub.now();
        Ok(Lane {
            nobody: nobody_builds(
                job.arch,
                &job.labels,
                &job.recipe.limits,
                &self.builders,
                now,
                self.silent_after(),
            ),
            slots,
            free,
            cramped,
            cap: self.loads.share(&job.sig).cap.map(|cap| (running, cap)),
            ahead,
            busy,
        })
    }
}
