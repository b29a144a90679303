//! One call to `git http-backend`: a CGI program that gets the body on its standard input and answers with headers and
//! a body on its standard output, both streamed.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::sync::{OnceCell, Semaphore, mpsc};

use super::POLICY;
use super::repo::{RepoPath, command};
use crate::state::Hub;

/// Calls served at once; more wait.
const AT_ONCE: usize = 32;
/// No call takes longer than this.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Bytes passed on at a time.
const CHUNK: usize = 64 * 1024;
/// Pieces that may wait for a slow client.
const AHEAD: usize = 8;
/// Bytes of headers the program may answer with.
const LONGEST_HEAD: u64 = 64 * 1024;
/// Bytes kept of what it complains of.
const LONGEST_COMPLAINT: u64 = 16 * 1024;

static SLOTS: Semaphore = Semaphore::const_new(AT_ONCE);

/// One call of a git client.
#[derive(Debug)]
pub struct Call {
    /// The repo, which exists.
    pub repo: RepoPath,
    /// What is asked of it: `info/refs`, `git-upload-pack`, `git-receive-pack`.
    pub service: &'static str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// What stands behind the `?`.
    pub query: String,
    /// The body's type.
    pub content_type: Option<String>,
    /// The body's encoding: `gzip`.
    pub content_encoding: Option<String>,
    /// The client's `Git-Protocol`.
    pub protocol: Option<String>,
    /// Who pushes; `None` when nobody may with this call.
    pub pusher: Option<String>,
}

/// What git answers.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body, piece by piece.
    pub body: mpsc::Receiver<io::Result<Vec<u8>>>,
}

/// Serves a call. `body` fails when it is larger than it may be or its sender falls silent.
///
/// # Errors
/// When git cannot be run or answers with nonsense.
pub async fn serve(
    hub: &Hub,
    call: Call,
    body: impl AsyncRead + Unpin + Send + 'static,
) -> anyhow::Result<Reply> {
    let slot = SLOTS.acquire().await?;
    let mut child = prepared(program().await?, hub, &call).spawn().context("cannot run git http-backend")?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        bail!("git http-backend has no pipes");
    };
    let feed = tokio::spawn(async move {
        let mut body = body;
        // What is closed early is closed: git says itself what it misses.
        tokio::io::copy(&mut body, &mut stdin).await
    });
    let complaints = tokio::spawn(async move {
        let mut text = Vec::new();
        let mut stderr = stderr;
        let _ = (&mut stderr).take(LONGEST_COMPLAINT).read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&text).trim().to_owned()
    });

    let mut stdout = BufReader::with_capacity(CHUNK, stdout);
    let head = tokio::time::timeout(PATIENCE, head_of(&mut stdout)).await.context("git takes too long")?;
    let (status, headers) = match head {
        Ok(head) => head,
        Err(error) => {
            feed.abort();
            let said = complaints.await.unwrap_or_default();
            return Err(error.context(format!("git http-backend for {} said: {said}", call.repo)));
        }
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let is_push = call.pusher.is_some() && call.method == "POST";
    tokio::spawn(async move {
        let ended = tokio::time::timeout(PATIENCE, pass_on(&mut child, stdout, sender, is_push)).await;
        if ended.is_err() {
            let _gone_already = child.start_kill();
        }
        feed.abort();
        let said = complaints.await.unwrap_or_default();
        if !said.is_empty() {
            tracing::info!(repo = %call.repo, said, "git http-backend complained");
        }
        drop(slot);
    });
    Ok(Reply { status, headers, body: receiver })
}

/// Where `git-http-backend` is. It is run itself and not through `git`, so that stopping it stops it and no go-between.
async fn program() -> anyhow::Result<&'static PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    let find = || async {
        let mut git = command("git");
        let output = git.arg("--exec-path").stdin(Stdio::null()).output().await.context("cannot run git")?;
        let folder = String::from_utf8(output.stdout).context("git's own folder")?;
        anyhow::Ok(PathBuf::from(folder.trim()).join("git-http-backend"))
    };
    PROGRAM.get_or_try_init(find).await
}

/// The program with its environment: what CGI and the hooks need, and nothing of the hub's own. It is not told the size
/// of the body: it would read for ever when the client goes away before that; so it reads until the end.
fn prepared(program: &PathBuf, hub: &Hub, call: &Call) -> tokio::process::Command {
    let mut command = command(program);
    let git = hub.config.data.join("git");
    command
        .env("GIT_PROJECT_ROOT", &git)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{}.git/{}", call.repo, call.service))
        .env("REQUEST_METHOD", call.method)
        .env("QUERY_STRING", &call.query)
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .envs(call.content_type.as_ref().map(|value| ("CONTENT_TYPE", value)))
        .envs(call.content_encoding.as_ref().map(|value| ("HTTP_CONTENT_ENCODING", value)))
        .envs(call.protocol.as_ref().map(|value| ("GIT_PROTOCOL", value)));
    let mut settings = vec![
        // The repos belong to whoever runs the hub; the folder may have been made by another account.
        ("safe.directory", "*".to_owned()),
        // Only the smart protocol: no file of a repo is handed out as it lies there.
        ("http.getanyfile", "false".to_owned()),
        ("http.receivepack", call.pusher.is_some().to_string()),
        ("receive.maxInputSize", (hub.config.upload_mb.saturating_mul(1024 * 1024)).to_string()),
    ];
    if let Some(person) = &call.pusher {
        settings.push(("receive.advertisePushOptions", "false".to_owned()));
        // The update hook refuses both, and says why and what to do, which git would not if a repo told it to refuse.
        settings.push(("receive.denyDeletes", "false".to_owned()));
        settings.push(("receive.denyNonFastForwards", "false".to_owned()));
        command
            .env("REMOTE_USER", person)
            .env("GRANGE_HUB", &hub.config.public_url)
            .env("GRANGE_PERSON", person)
            .env("GRANGE_HOOK_TOKEN", &hub.hook_token)
            .env("GRANGE_POLICY", git.join(POLICY))
            .env("GRANGE_REPO", call.repo.to_string())
            .env("GRANGE_SPOOL", hub.config.data.join("spool"))
            .env("GRANGE_TIMEOUT_MS", hub.config.hook_ms.to_string());
    }
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (place, (key, value)) in settings.into_iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{place}"), key).env(format!("GIT_CONFIG_VALUE_{place}"), value);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Reads the CGI headers: `Status: 404 Not Found`, others, an empty line.
async fn head_of(stdout: &mut BufReader<ChildStdout>) -> anyhow::Result<(u16, Vec<(String, String)>)> {
    let (mut status, mut headers) = (200, Vec::new());
    let mut limited = stdout.take(LONGEST_HEAD);
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line).await? == 0 {
            bail!("git http-backend ended within its headers");
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').context("git http-backend gave no header")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            status = code.parse().context("git http-backend gave no status")?;
        } else {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// Passes the answer on. When the client has gone, reading for it ends; but a push that git is at work on goes on to its
/// end, so that the hub hears of what came in.
async fn pass_on(
    child: &mut Child,
    mut stdout: BufReader<ChildStdout>,
    client: mpsc::Sender<io::Result<Vec<u8>>>,
    is_push: bool,
) {
    let mut is_there = true;
    loop {
        let mut piece = vec![0; CHUNK];
        let read = tokio::select! {
            read = stdout.read(&mut piece) => read,
            () = client.closed(), if is_there => {
                is_there = false;
                if is_push {
                    continue;
                }
                let _gone_already = child.start_kill();
                break;
            }
        };
        match read {
            Ok(0) => break,
            Ok(count) => {
                piece.truncate(count);
                if is_there {
                    let _seen_at_the_next_turn = client.send(Ok(piece)).await;
                }
            }
            Err(error) => {
                let _gone_anyway = client.send(Err(error)).await;
                break;
            }
        }
    }
    let _status = child.wait().await;
}
