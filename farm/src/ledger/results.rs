//! Test results, bound to the content they were shown on; and the gate's question, gathered in one transaction.

use super::{LedgerError, Result, Tx, execute, fetch, from_doc, to_doc};
use crate::digest::Digest;
use crate::gate::{Decision, Question, TestResult, decide, environment};
use crate::promotion::Promotion;
use crate::sig::Role;

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
    pub async fn ask_gate(&mut self, promotion: &Promotion) -> Result<Decision> {
        self.lock("sigs").await?;
        self.gate_says(promotion).await
    }

    /// What the gate would say about a promotion's snapshot, from the facts as they are in this transaction.
    ///
    /// # Errors
    /// When the database fails, or the promotion has no snapshot.
    pub async fn gate_says(&mut self, promotion: &Promotion) -> Result<Decision> {
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
        let Some(layers) = self.layer_sources(community.layers_below(project)).await? else {
            return Ok(Decision::Later);
        };
        let environments = project
            .arches
            .iter()
            .map(|arch| (*arch, environment(&project.image_for(*arch), &layers)))
            .collect();
        let live = self.repo(&project.tag(promotion.to)).await?.current;
        let results = self.results(&snapshot.content).await?;
        let approver = promotion.approver.as_deref();
        let approver_may = match (approver, community.sig(&project.sig)) {
            (Some(person), Some(sig)) => {
                sig.has_role(person, Role::ReleaseManager) && self.is_person(person).await?
            }
            (None, _) | (_, None) => false,
        };
        Ok(decide(&Question {
            project,
            stage: promotion.to,
            snapshot: &snapshot,
            live,
            results: &results,
            suites: &promotion.suites,
            environments: &environments,
            approver,
            approver_may,
        }))
    }
}
