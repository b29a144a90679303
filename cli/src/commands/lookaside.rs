//! `grange lookaside`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use farm::digest::hex;
use sha2::{Digest as _, Sha512};

use crate::client::{Client, file_name};
use crate::failure::Failure;
use crate::screen::{Screen, Tone};

/// How much of a file is read at once.
const CHUNK: usize = 64 * 1024;

/// What can be done with the lookaside store.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Upload source files of a package, and print the lines for its `sources` file
    Upload(Upload),
}

/// What `grange lookaside upload` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange lookaside upload hello hello-2.10.tar.gz
  grange lookaside upload hello hello-2.10.tar.gz hello-data.tar.xz --sources sources")]
pub struct Upload {
    /// The package
    pub package: String,
    /// The source files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write the lines into this `sources` file; a line of the same file name is replaced
    #[arg(long, value_name = "PATH")]
    pub sources: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// When a file cannot be read, or the hub refuses.
pub async fn run(command: Command, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Command::Upload(Upload { package, files, sources }) = command;
    // What cannot be written down in the end is not uploaded in the first place.
    if let Some(path) = &sources {
        check_sources(path)?;
    }
    for file in &files {
        let name = file_name(file)?;
        let hash = sha512(file).await?;
        let sent = upload(&package, file, &name, &hash, client).await?;
        let line = format!("SHA512 ({name}) = {hash}");
        if screen.json {
            let said = serde_json::json!({ "file": name, "sha512": hash, "uploaded": sent, "line": line });
            screen.line(&said.to_string())?;
        } else {
            if !sent {
                let look = screen.look();
                eprintln!("{}", look.paint(Tone::Plain, &format!("{name} is there already")));
            }
            screen.line(&line)?;
        }
        if let Some(path) = &sources {
            let text = read_sources(path)?;
            std::fs::write(path, with_line(&text, &name, &line))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Uploads it unless it is there. Gives whether it was sent.
async fn upload(
    package: &str,
    file: &Path,
    name: &str,
    hash: &str,
    client: &Client,
) -> Result<bool, Failure> {
    let mut fields =
        vec![("name", package.to_owned()), ("sha512sum", hash.to_owned()), ("filename", name.to_owned())];
    let answer = client.post_to_lookaside(&fields, None).await?;
    match answer.text().trim() {
        "Available" => return Ok(false),
        "Missing" => {}
        other => {
            return Err(Failure::Failed(format!(
                "the hub answered `{other}` where it should say what it has"
            )));
        }
    }
    fields.truncate(2);
    client.post_to_lookaside(&fields, Some(("file", file))).await?;
    Ok(true)
}

async fn sha512(file: &Path) -> Result<String, Failure> {
    let path = file.to_owned();
    let hashed = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut input = std::fs::File::open(path)?;
        let mut hasher = Sha512::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = input.read(&mut chunk)?;
            if read == 0 {
                return Ok(hex(&hasher.finalize()));
            }
            hasher.update(&chunk[..read]);
        }
    });
    hashed.await.context("cannot hash the file")?.map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), "name a file that can be read")
    })
}

fn read_sources(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => {
            Err(Failure::usage(format!("cannot read {}: {error}", path.display()), "name a sources file"))
        }
    }
}

/// Mixed types in one file are refused by those who read it.
fn check_sources(path: &Path) -> Result<(), Failure> {
    let text = read_sources(path)?;
    let foreign = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("SHA512 ("));
    match foreign {
        None => Ok(()),
        Some(line) => Err(Failure::usage(
            format!("{} has a line that is no SHA512 line: {line}", path.display()),
            "one file cannot mix types: upload those files too and remove the old lines",
        )),
    }
}

/// The text with this line, in place of an earlier one for the same file.
fn with_line(text: &str, name: &str, line: &str) -> String {
    let own = format!("SHA512 ({name}) =");
    let mut replaced = false;
    let mut lines: Vec<&str> = Vec::new();
    for old in text.lines() {
        if !old.starts_with(&own) {
            lines.push(old);
        } else if !replaced {
            replaced = true;
            lines.push(line);
        }
    }
    if !replaced {
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sources_file_has_one_line_for_each_file() {
        let one = with_line("", "a.tar.gz", "SHA512 (a.tar.gz) = 1");
        assert_eq!(one, "SHA512 (a.tar.gz) = 1\n");
        let two = with_line(&one, "b.tar.gz", "SHA512 (b.tar.gz) = 2");
        assert_eq!(two, "SHA512 (a.tar.gz) = 1\nSHA512 (b.tar.gz) = 2\n");
        let newer = with_line(&two, "a.tar.gz", "SHA512 (a.tar.gz) = 3");
        assert_eq!(newer, "SHA512 (a.tar.gz) = 3\nSHA512 (b.tar.gz) = 2\n");
    }

    #[test]
    fn types_are_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources");
        assert!(check_sources(&path).is_ok());
        std::fs::write(&path, "SHA512 (a) = 1\n\n").unwrap();
        assert!(check_sources(&path).is_ok());
        std::fs::write(&path, "d41d8cd98f00b204e9800998ecf8427e  old.tar.gz\n").unwrap();
        assert!(matches!(check_sources(&path), Err(Failure::Usage { .. })));
    }
}
