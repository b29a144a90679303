//! What applying a template would change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Sig, Stage};

/// One difference between what is and what the template wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Change {
    /// What it is about: `tag storage9s-gluster-11-candidate`.
    pub what: String,
    /// What is now; `None` when it does not exist yet.
    pub from: Option<String>,
    /// What will be; `None` when it goes away.
    pub to: Option<String>,
}

/// Every difference, in the order of names. Nothing when the template is already applied.
#[must_use]
pub fn plan(now: Option<&Sig>, wanted: &Sig) -> Vec<Change> {
    let before = now.map(facts).unwrap_or_default();
    let after = facts(wanted);
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Change {
            what: name.clone(),
            from: before.get(name).cloned(),
            to: after.get(name).cloned(),
        })
        .collect()
}

/// Everything a SIG is, as lines a person can compare. Whatever is in [`Sig`] shows up here, or two different SIGs
/// would seem equal; the test below holds that.
fn facts(sig: &Sig) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut put = |what: String, value: String| {
        facts.insert(what, value);
    };
    put(format!("sig {}", sig.name), sig.title.clone());
    for (person, roles) in &sig.members {
        put(format!("member {person}"), join(roles));
    }
    for project in &sig.projects {
        for stage in Stage::ALL {
            put(format!("tag {}", project.tag(stage)), format!("{stage} of {}", project.folder()));
        }
        let layers = std::iter::once(project.tag(Stage::Candidate))
            .chain(project.inherit.iter().cloned())
            .chain(project.external.iter().map(|repo| format!("external {}", repo.name)));
        put(
            format!("tag {}", project.build_tag()),
            format!("inherits {}; macros {:?}", join(layers), project.all_macros()),
        );
        put(
            format!("target {}", project.target()),
            format!(
                "builds on {} for {}, results go to {}, limits {}",
                project.image,
                join(&project.arches),
                project.tag(Stage::Candidate),
                serde_json::to_string(&project.limits).unwrap_or_default(),
            ),
        );
        for repo in &project.external {
            put(format!("external-repo {} of {}", repo.name, project.target()), repo.baseurl.clone());
        }
        for branch in &project.branches {
            put(format!("branch {branch}"), format!("is built for {}", project.target()));
        }
        for package in &project.packages {
            put(format!("package {package} in {}", project.stem()), "may be built".to_owned());
        }
        put(
            format!("gate of {}", project.stem()),
            format!(
                "requires {}{}",
                if project.required.is_empty() {
                    "nothing, so that nothing can be promoted".into()
                } else {
                    project.required.join(", ")
                },
                project
                    .suites
                    .as_ref()
                    .map_or_else(String::new, |s| format!(", suites from {}#{}", s.repo, s.branch)),
            ),
        );
        put(
            format!("retention of {}", project.stem()),
            format!("scratch builds {} days", project.scratch_days),
        );
    }
    facts
}

fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
