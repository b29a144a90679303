//! `grange watch`

use std::collections::BTreeSet;
use std::time::Duration;

use farm::api::RequestView;
use farm::ids::RequestId;
use farm::promotion::PromotionState;
use tokio::time::Instant;

use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{Deadline, News, Patient, Progress, Spinner, gist, progress, testing};
use crate::logs::{Tail, jobs_of};
use crate::screen::Screen;

/// Seconds between two looks.
const EVERY: f64 = 1.0;
/// How long a finished build may take to open its promotion to testing.
const PROMOTION_PATIENCE: Duration = Duration::from_secs(60);

/// What `grange watch` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One line is printed for each change; the exit code is 0 when all went well and 1 when it did not.

Examples:
  grange watch 01JZ8M3Q5T7V9X1B3D5F7H9K1M
  grange watch hello-2.10-1.el9s --tests
  grange watch 01JZ8M3Q5T7V9X1B3D5F7H9K1M --logs --timeout 3600")]
pub struct Args {
    /// The build's id or name
    #[arg(value_name = "ID|NVR")]
    pub id: String,
    /// Print its logs as they are written
    #[arg(long)]
    pub logs: bool,
    /// Also wait until its tests have decided whether it enters the testing repo
    #[arg(long)]
    pub tests: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = EVERY, hide = true)]
    pub every: f64,
}

/// Follows it.
///
/// # Errors
/// When the hub refuses, the build fails, or its tests do.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { id, logs, tests, timeout, every } = args;
    let every = Duration::from_secs_f64(every.clamp(0.01, 60.0));
    let deadline = Deadline::after(timeout);
    Watch { id, tests, tail: logs.then(Tail::default), every, deadline }.run(client, screen).await
}

/// Follows a build that was just asked for.
pub(super) async fn follow(
    id: &str,
    logs: bool,
    tests: bool,
    client: &Client,
    screen: &mut Screen,
) -> Result<(), Failure> {
    run(Args { id: id.to_owned(), logs, tests, timeout: None, every: EVERY }, client, screen).await
}

struct Watch {
    id: String,
    tests: bool,
    tail: Option<Tail>,
    every: Duration,
    deadline: Deadline,
}

impl Watch {
    async fn run(mut self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let mut patient = Patient::new(client);
        let mut spinner = Spinner::new(screen);
        let mut news = News::default();
        let mut test_requests: BTreeSet<RequestId> = BTreeSet::new();
        let mut complete_since = None;
        loop {
            let answer = patient.get(&["builds", &self.id], &mut spinner, screen).await;
            let body = nearby::or_hint(answer, &self.id, client, screen.look().now).await?;
            let mut views: Vec<RequestView> = vec![body.read()?];
            if self.tests {
                test_requests.extend(test_request(&views[0]));
                for request in &test_requests {
                    let body = patient.get(&["builds", &request.to_string()], &mut spinner, screen).await?;
                    views.push(body.read()?);
                }
            }
            let read = match &mut self.tail {
                Some(tail) if !screen.json => tail.step(&jobs_of(&views), client, &spinner, screen).await?,
                Some(_) | None => false,
            };
            let look = screen.look();
            if !screen.json {
                // The build goes last when its tests are under way: its promotion's news follow from theirs.
                for line in views.iter().skip(1).chain(views.first()).flat_map(|view| news.of(view, &look)) {
                    spinner.above(screen, &line)?;
                }
            }
            spinner.says(&gist(&views[0], &look));
            let now = progress(&views[0], self.tests);
            match &now {
                Progress::Going => complete_since = None,
                Progress::NoPromotionYet => {
                    let since = *complete_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > PROMOTION_PATIENCE {
                        return Err(Failure::Failed(format!(
                            "the build is complete, but no promotion to testing was opened within {} s",
                            PROMOTION_PATIENCE.as_secs()
                        )));
                    }
                }
                // What was written last is still read.
                Progress::Done | Progress::Failed(_) if read => {}
                Progress::Done | Progress::Failed(_) => {
                    spinner.end();
                    if screen.json {
                        screen.line(body.text())?;
                    }
                    return match now {
                        Progress::Failed(what) => Err(Failure::Failed(what)),
                        Progress::Going | Progress::NoPromotionYet | Progress::Done => Ok(()),
                    };
                }
            }
            self.deadline.check(&self.id)?;
            tokio::time::sleep(self.every).await;
        }
    }
}

/// The request that runs the tests of the build's way to testing, while it does.
fn test_request(view: &RequestView) -> Option<RequestId> {
    match &testing(view)?.state {
        PromotionState::InTesting { request, .. } => *request,
        PromotionState::Composing
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. }
        | PromotionState::Publishing { .. }
        | PromotionState::Published { .. }
        | PromotionState::Rejected { .. }
        | PromotionState::Withdrawn { .. } => None,
    }
}
