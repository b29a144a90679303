//! `grange log`

use std::time::Duration;

use farm::api::{JobView, RequestView};
use farm::ids::JobId;

use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::Spinner;
use crate::logs::{Tail, choose_job, choose_log, read, tamed};
use crate::render::{Cell, Table, job_state, size};
use crate::screen::{Look, Screen, Tone};

/// Between two looks at a log that is followed.
const EVERY: Duration = Duration::from_millis(700);

/// What `grange log` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without more words it is the log that matters: of the job that failed first, or of one that is at work, and of its logs
the one the job came to last.

Examples:
  grange log hello-2.10-1.el9s
  grange log 01JZ8M3Q5T7V9X1B3D5F7H9K1M build/aarch64
  grange log 01JZ8M3Q5T7V9X1B3D5F7H9K1M srpm root.log
  grange log 01JZ8M3Q5T7V9X1B3D5F7H9K1M --follow
  grange log 01JZ8M3Q5T7V9X1B3D5F7H9K1M --list")]
pub struct Args {
    /// The build's id or name, or a job's id
    #[arg(value_name = "ID|NVR")]
    pub id: String,
    /// The job: its id, its label (srpm, build, or a suite's name), its architecture, or label/architecture
    pub job: Option<String>,
    /// The log: build.log, root.log, test.log or state.log
    pub name: Option<String>,
    /// Go on printing while the job is at work
    #[arg(long, short)]
    pub follow: bool,
    /// List the logs there are
    #[arg(long, conflicts_with_all = ["follow", "name"])]
    pub list: bool,
}

/// Prints it.
///
/// # Errors
/// When the hub refuses, or there is no such log.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { id, mut job, mut name, follow, list } = args;
    // `grange log ID build.log` names a log of whichever job matters.
    if name.is_none() && job.as_ref().is_some_and(|word| word.ends_with(".log")) {
        name = job.take();
    }
    let answer = client.get(&["builds", &id], &[]).await;
    let body = match nearby::or_hint(answer, &id, client, screen.look().now).await {
        Ok(body) => body,
        Err(failure) => return of_job_alone(&id, name, follow, failure, client, screen).await,
    };
    let view: RequestView = body.read()?;
    if list {
        return Ok(screen.print(&listing(&view, &screen.look()))?);
    }
    let chosen = choose_job(&view.jobs, job.as_deref()).ok_or_else(|| no_job(&view, job.as_deref()))?;
    if follow && name.is_none() && chosen.outcome.is_none() {
        return follow_job(&id, chosen.id, client, screen).await;
    }
    let name = log_of(chosen, name.as_deref())?;
    let follow = follow && chosen.outcome.is_none();
    print_log(&chosen.id.to_string(), name, chosen.turn, follow, client, screen).await
}

fn no_job(view: &RequestView, word: Option<&str>) -> Failure {
    match word {
        Some(word) => {
            let jobs: Vec<String> =
                view.jobs.iter().map(|job| format!("{}/{}", job.label, job.arch)).collect();
            Failure::not_found(format!(
                "no job of this build is called {word}; there are: {}",
                jobs.join(", ")
            ))
        }
        None => Failure::not_found("this build has no jobs, and so no logs".to_owned()),
    }
}

/// Somebody may have given a job's id: tests are listed with theirs.
async fn of_job_alone(
    id: &str,
    name: Option<String>,
    follow: bool,
    failure: Failure,
    client: &Client,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let unknown = matches!(&failure, Failure::Refused(problem) if problem.status == 404);
    if !unknown || id.parse::<JobId>().is_err() {
        return Err(failure);
    }
    let job: JobView = match client.get(&["jobs", id], &[]).await {
        Err(Failure::Refused(problem)) if problem.status == 404 => return Err(failure),
        answer => answer?.read()?,
    };
    let name = log_of(&job, name.as_deref())?;
    print_log(id, name, job.turn, follow && job.outcome.is_none(), client, screen).await
}

/// The log that was named, or else the one that matters.
fn log_of<'a>(job: &'a JobView, name: Option<&'a str>) -> Result<&'a str, Failure> {
    name.or_else(|| choose_log(job)).ok_or_else(|| {
        Failure::not_found(format!(
            "{} on {} has written no log yet; it is {}",
            job.label, job.arch, job.phase
        ))
    })
}

async fn print_log(
    job: &str,
    name: &str,
    turn: u32,
    follow: bool,
    client: &Client,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let piece = read(client, job, name, turn, offset).await?;
        let empty = piece.bytes.is_empty();
        offset += piece.bytes.len() as u64;
        let bytes = tamed(piece.bytes, screen);
        screen.bytes(&bytes)?;
        let all_read = piece.size.map_or(empty || piece.complete, |size| offset >= size);
        if all_read && (piece.complete || !follow) {
            return Ok(());
        }
        if empty {
            if !follow {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Prints every log of a job as it is written, until the job is over.
async fn follow_job(id: &str, job: JobId, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let mut tail = Tail::of_job(job);
    let mut spinner = Spinner::new(screen);
    loop {
        let view: RequestView = client.get(&["builds", id], &[]).await?.read()?;
        let jobs: Vec<&JobView> = view.jobs.iter().collect();
        let printed = tail.step(&jobs, client, &spinner, screen).await?;
        let Some(now) = jobs.iter().find(|now| now.id == job) else { return Ok(()) };
        if !printed && now.outcome.is_some() {
            spinner.end();
            return Ok(());
        }
        spinner.says(&format!("{} on {}: {}", now.label, now.arch, now.phase));
        tokio::time::sleep(EVERY).await;
    }
}

fn listing(view: &RequestView, look: &Look) -> String {
    let mut table = Table::new(&["JOB", "ARCH", "STATE", "LOG", "SIZE", "ID"]);
    for job in &view.jobs {
        let (tone, state) = job_state(job);
        for log in &job.logs {
            table.row([
                job.label.as_str().into(),
                job.arch.as_str().into(),
                Cell::new(tone, state),
                Cell::new(Tone::Strong, log.name.as_str()),
                size(log.size).into(),
                job.id.to_string().into(),
            ]);
        }
    }
    if table.is_empty() { "no logs yet\n".to_owned() } else { table.render(look) }
}
