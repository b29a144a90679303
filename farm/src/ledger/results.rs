//! Test results, bound to the content they were shown on; and the gate's question, gathered in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::{LedgerError, Result, Tx, execute, fetch, from_doc, to_doc};
use crate::arch::Arch;
use crate::digest::Digest;
use crate::gate::{Decision, Layered, Question, ReleaseManagers, TestResult, decide, environment};
use crate::promotion::Promotion;
use crate::queue;
use crate::recipe::RepoSource;
use crate::sig::{Community, Layer, Project, Role, Stage};
use crate::stamp::Stamp;

impl Tx {
    /// Keeps a result. A job gives one result; repeating it changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_result(&mut self, result: &TestResult) -> Result<()> {
        let sql = "INSERT INTO result (job, content, doc) VALUES ($1, $2, $3) ON CONFLICT (job) DO NOTHING";
        execute!(
            self,
            sql,
            result.job.to_string(),
            result.content.as_str(),
            to_doc("result", &result.job, result)?
        )?;
        Ok(())
    }

    /// Every result for a content.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn results(&mut self, content: &Digest) -> Result<Vec<TestResult>> {
        let sql = "SELECT doc FROM result WHERE content = $1 ORDER BY job";
        let rows = fetch!(fetch_all, self, (String,), sql, content.as_str())?;
        rows.into_iter().map(|(doc,)| from_doc("result", &doc)).collect()
    }

    /// Asks the gate about a promotion's snapshot, to act on the answer in this transaction: holds the lock on the templates,
    /// so that no policy changes between the answer and what is done about it.
    ///
    /// # Errors
    /// When the database fails, or the promotion has no snapshot.
    pub async fn ask_gate(&mut self, promotion: &Promotion, now: Stamp) -> Result<Decision> {
        self.lock("sigs").await?;
        self.lock(&format!("gate:{}", promotion.target)).await?;
        self.gate_says(promotion, now).await
    }

    /// What the gate would say about a promotion's snapshot, from the facts as they are in this transaction.
    ///
    /// # Errors
    /// When the database fails, or the promotion has no snapshot.
    pub async fn gate_says(&mut self, promotion: &Promotion, now: Stamp) -> Result<Decision> {
        let community = self.community().await?;
        let Some(project) = community.target(&promotion.target) else {
            return Ok(Decision::Refused(vec![format!("target {} is no more", promotion.target)]));
        };
        let Some(id) = promotion.snapshot() else {
            return Err(LedgerError::Refused(format!("promotion {} has no snapshot yet", promotion.id)));
        };
        let Some(snapshot) = self.snapshot(id).await? else {
            return Ok(Decision::Refused(vec![format!("snapshot {id} is not in the ledger")]));
        };
        let tag = project.tag(promotion.to);
        let Some((layered, environments)) = self.places(&community, project, promotion.to).await? else {
            return Ok(Decision::Later);
        };
        let live = self.live(&tag).await?;
        let results = self.results(&snapshot.content).await?;
        let before = match &live {
            Some(live) => self.results(&live.content).await?,
            None => Vec::new(),
        };
        let unsettled = self.unsettled_of(&promotion.target).await?;
        Ok(decide(&Question {
            project,
            promotion,
            snapshot: &snapshot,
            live: live.as_deref(),
            ahead: queue::ahead(promotion, &unsettled, project).and_then(Promotion::snapshot),
            layered: &layered,
            results: &results,
            before: &before,
            environments: &environments,
            waivers: &self.waivers(&promotion.target).await?,
            release_managers: &self.release_managers(&community, project, &layered).await?,
            withdrawn: &self.withdrawn_of(&snapshot).await?,
            was_published: self.was_published(&tag, &snapshot.content).await?,
            now,
        }))
    }

    /// Where the tests of a stage of a project run: the projects layered on it which show something there, and what each
    /// test runs in besides the snapshot under test. `None` while a layer is being composed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn places(
        &mut self,
        community: &Community,
        project: &Project,
        stage: Stage,
    ) -> Result<Option<(Vec<Layered>, BTreeMap<(Option<String>, Arch), Digest>)>> {
        let mut environments = BTreeMap::new();
        let Some(sources) = self.layer_sources(community.layers_below(project)).await? else {
            return Ok(None);
        };
        for arch in &project.arches {
            environments.insert((None, *arch), environment(&project.image_for(*arch), &sources));
        }
        let mut layered = Vec::new();
        for above in community.layered_on(&project.tag(stage)) {
            let Some(sources) = self.sources_over(community, above, stage, &project.tag(stage)).await? else {
                return Ok(None);
            };
            let Some(sources) = sources else { continue };
            let arches: Vec<Arch> =
                above.arches.iter().copied().filter(|arch| project.arches.contains(arch)).collect();
            for arch in &arches {
                let place = (Some(above.target()), *arch);
                environments.insert(place, environment(&above.image_for(*arch), &sources));
            }
            layered.push(Layered { target: above.target(), required: above.required.clone(), arches });
        }
        Ok(Some((layered, environments)))
    }

    /// The repos that the suites of a layered project see besides the snapshot under test, which stands in for `under`: what is
    /// live of the project in the same stage first, then its other layers. The outer `None` says that a layer is being composed,
    /// the inner one that the project shows nothing in this stage, so that nothing of it can break.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sources_over(
        &mut self,
        community: &Community,
        above: &Project,
        stage: Stage,
        under: &str,
    ) -> Result<Option<Option<Vec<RepoSource>>>> {
        let own = above.tag(stage);
        if self.repo(&own).await?.current.is_none() {
            return Ok(Some(None));
        }
        let layers = std::iter::once(Layer::Tag { tag: own })
            .chain(community.layers_below(above))
            .filter(|layer| !matches!(layer, Layer::Tag { tag } if tag == under))
            .collect();
        Ok(self.layer_sources(layers).await?.map(Some))
    }

    /// Who may approve and waive at this moment: release managers that are still people of the farm.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_managers(
        &mut self,
        community: &Community,
        project: &Project,
        layered: &[Layered],
    ) -> Result<ReleaseManagers> {
        let mut managers =
            ReleaseManagers { own: self.managers_of(community, &project.sig).await?, ..Default::default() };
        for layer in layered {
            if let Some(above) = community.target(&layer.target) {
                let theirs = self.managers_of(community, &above.sig).await?;
                managers.layered.insert(layer.target.clone(), theirs);
            }
        }
        Ok(managers)
    }

    async fn managers_of(&mut self, community: &Community, sig: &str) -> Result<BTreeSet<String>> {
        let mut managers = BTreeSet::new();
        let Some(sig) = community.sig(sig) else { return Ok(managers) };
        for person in sig.members.keys().filter(|person| sig.has_role(person, Role::ReleaseManager)) {
            if self.is_person(person).await? {
                managers.insert(person.clone());
            }
        }
        Ok(managers)
    }
}
