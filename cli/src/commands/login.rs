//! `grange login`

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use farm::api::StatusView;
use serde::Serialize;

use crate::client::Client;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::settings::{DEFAULT_URL, Environment, Flags, Settings, file_path, parse_url, read_token};

/// What `grange login` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The token is asked for, or read from standard input, or from --token-file. It is tried before it is kept.

Examples:
  grange login https://grange.example.org
  grange login https://grange.example.org --token-file ~/token
  grange login http://127.0.0.1:8080 --token-file var/grange/admin-token")]
pub struct Args {
    /// The hub's address; by default --url, GRANGE_URL, or a hub on this machine
    #[arg(value_name = "URL")]
    pub hub: Option<String>,
}

#[derive(Serialize)]
struct File<'a> {
    url: &'a str,
    token: &'a str,
}

/// Keeps address and token.
///
/// # Errors
/// When the hub does not know the token, or the file cannot be written.
pub async fn run(
    args: Args,
    flags: &Flags,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let named = args.hub.as_deref().or(flags.url.as_deref()).or(environment.get("GRANGE_URL"));
    let url = parse_url(named.unwrap_or(DEFAULT_URL))?;
    let token = match &flags.token_file {
        Some(path) => read_token(path)?,
        None => ask_for_token(&url)?,
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(
            "this is no token: it is one word of visible characters",
            "copy it once more from who gave it to you",
        ));
    }
    let client = Client::new(Settings { url: url.clone(), token: Some(token.clone()) })?;
    let body = client.get(&["status"], &[]).await?;
    let Some(you) = body.read::<StatusView>()?.you else {
        return Err(Failure::Failed(format!("{url} does not know this token; nothing was kept")));
    };
    let path = file_path(environment)?;
    let file = File { url: url.as_str().trim_end_matches('/'), token: &token };
    keep(&path, &file).with_context(|| format!("cannot write {}", path.display()))?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    Ok(screen.line(&format!("you are {you} at {url}; kept in {}", path.display()))?)
}

fn ask_for_token(url: &url::Url) -> Result<String, Failure> {
    let read = if std::io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        terminal
            .write_str(&format!("Your token for {url} (it is not shown): "))
            .and_then(|()| terminal.read_secure_line())
    } else {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    };
    let text = read.map_err(|error| {
        Failure::usage(format!("cannot read a token: {error}"), "give it on standard input, or --token-file")
    })?;
    Ok(text.trim().to_owned())
}

/// Writes the file readable by its owner alone, and whole or not at all.
fn keep(path: &Path, file: &File<'_>) -> anyhow::Result<()> {
    let text = toml::to_string(file)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = path.with_extension("part");
    let _ = std::fs::remove_file(&part);
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&part, path)?;
    Ok(())
}
