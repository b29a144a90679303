//! `grange repos`

use std::fmt::Write as _;

use farm::api::TagView;
use farm::sig::Stage;

use crate::client::Client;
use crate::failure::Failure;
use crate::render::{Cell, Table};
use crate::screen::{Look, Screen, Tone};

/// What `grange repos` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange repos
  grange repos storage9s-gluster-11-release")]
pub struct Args {
    /// Say how to use the repo of this tag
    pub tag: Option<String>,
}

/// Shows where dnf finds the repos.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = match &args.tag {
        Some(tag) => client.get(&["tags", tag], &[]).await?,
        None => client.get(&["tags"], &[]).await?,
    };
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let look = screen.look();
    let text = match args.tag {
        Some(_) => how_to_use(&body.read()?, &look),
        None => listing(&body.items::<TagView>()?.items, &look),
    };
    Ok(screen.print(&text)?)
}

fn listing(items: &[TagView], look: &Look) -> String {
    let mut table = Table::new(&["TAG", "STAGE", "BASEURL"]);
    for item in items {
        table.row([
            Cell::new(Tone::Strong, item.tag.as_str()),
            item.stage.as_str().into(),
            item.baseurl.as_str().into(),
        ]);
    }
    if table.is_empty() { "no repos\n".to_owned() } else { table.render(look) }
}

fn how_to_use(item: &TagView, look: &Look) -> String {
    let TagView { tag, baseurl, repo_file, .. } = item;
    let mut text = format!("{}\n  baseurl    {baseurl}\n", look.paint(Tone::Strong, tag));
    if item.stage == Stage::Candidate {
        text.push_str("\nOnly builds and tests use it: nothing in it has been tested yet.\n");
        return text;
    }
    let _ = writeln!(text, "  .repo file {repo_file}");
    let _ = writeln!(text, "\nTo install from it:\n  curl -fLo /etc/yum.repos.d/{tag}.repo '{repo_file}'");
    let _ = writeln!(text, "or, with dnf-plugins-core:\n  dnf config-manager --add-repo '{repo_file}'");
    text
}

#[cfg(test)]
mod tests {
    use farm::stamp::Stamp;

    use super::*;

    #[test]
    fn a_repo_says_how_dnf_gets_it() {
        let tag: TagView = serde_json::from_str(
            r#"{"tag": "storage9s-gluster-11-release", "sig": "storage", "stage": "release", "snapshot": null,
                "revision": 3, "builds": [], "baseurl": "http://h/SIGs/9-stream/storage/$basearch/gluster-11/",
                "repo_file": "http://h/repos/storage9s-gluster-11-release.repo"}"#,
        )
        .unwrap();
        let look = Look::plain(Stamp::ZERO);
        let text = how_to_use(&tag, &look);
        assert!(
            text.contains("dnf config-manager --add-repo 'http://h/repos/storage9s-gluster-11-release.repo'")
        );
        assert!(!text.contains("tested yet"));
        assert_eq!(
            listing(&[tag], &look),
            "TAG                           STAGE    BASEURL\n\
             storage9s-gluster-11-release  release  http://h/SIGs/9-stream/storage/$basearch/gluster-11/\n"
        );
    }
}
