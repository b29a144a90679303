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
    let cap = sig.share.cap.map_or_else(|| "no cap".to_owned(), |cap| format!("at most {cap} jobs at once"));
    put(format!("share of {}", sig.name), format!("weight {}, {cap} on each architecture", sig.share.weight));
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
                "builds on {} for {}, results go to {}, {}, limits {}",
                project.image,
                join(&project.arches),
                project.tag(Stage::Candidate),
                if project.labels.is_empty() {
                    "on any builder".to_owned()
                } else {
                    format!("on builders labelled {}", join(&project.labels))
                },
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
                "requires {}{}{}, {} to approve",
                if project.required.is_empty() {
                    "nothing, so that nothing can be promoted".into()
                } else {
                    project.required.join(", ")
                },
                project
                    .suites
                    .as_ref()
                    .map_or_else(String::new, |s| format!(", suites from {}#{}", s.repo, s.branch)),
                if project.nightly { ", run every night" } else { "" },
                project.approvers,
            ),
        );
        for (name, stack) in &project.stacks {
            let packages =
                if stack.packages.is_empty() { "all packages".to_owned() } else { join(&stack.packages) };
            put(format!("stack {name} of {}", project.stem()), packages);
        }
        put(
            format!("metadata of {}", project.stem()),
            format!("compressed with {}", if project.zstd { "zstd" } else { "gzip" }),
        );
        put(
            format!("files beside the packages of {}", project.stem()),
            project
                .metadata
                .as_ref()
                .map_or_else(|| "none".to_owned(), |from| format!("from {}#{}", from.repo, from.branch)),
        );
        put(
            format!("ccache of {}", project.target()),
            match project.ccache_mb {
                0 => "none".to_owned(),
                size => format!("{size} MiB for each architecture on each builder, without scratch builds"),
            },
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::sig::template::parse;

    /// Something in every field, and the same project for two distributions, whose facts must not be taken for each other's.
    const FULL: &str = "
name = 'demo'
title = 'Demonstration'
share = { weight = 2, cap = 8 }
[[member]]
name = 'ada'
roles = ['maintainer', 'release-manager']
[[member]]
name = 'rex'
roles = ['release-manager']
[[project]]
name = 'hello'
release = '2'
dist = '9s'
arches = ['x86_64', 'aarch64']
packages = ['hello', 'greeter']
labels = ['ssd', 'big']
ccache-mb = 512
image = 'image:$arch'
macros = { vendor = 'Demo', dist = '.demo' }
branches = ['c9s-sig-demo-next']
inherit = ['a9s-b-1-release', 'c9s-d-1-testing']
external-repo = [{ name = 'base', baseurl = 'https://a' }, { name = 'crb', baseurl = 'https://b' }]
tests = { required = ['installs', 'runs'], suites = { repo = 'tests/demo', branch = 'main' }, nightly = true }
metadata = { repo = 'metadata/demo', branch = 'main' }
promotion = { approvers = 2 }
stack = [{ name = 'all' }, { name = 'greetings', packages = ['greeter', 'hello'] }]
repo = { zstd = true }
[[project]]
name = 'hello'
release = '2'
dist = '10s'
arches = ['x86_64', 'aarch64']
packages = ['hello', 'greeter']
";

    /// Every value that differs from this one in one place.
    fn mutants(value: &Value) -> Vec<Value> {
        match value {
            Value::Null => vec![serde_json::json!({ "repo": "tests/other", "branch": "main" })],
            Value::Bool(truth) => vec![Value::from(!truth)],
            Value::Number(number) => vec![Value::from(number.as_u64().unwrap() + 1)],
            Value::String(text) => vec![Value::from(format!("{text}x"))],
            Value::Array(items) => {
                let mut all = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let mut without = items.clone();
                    without.remove(index);
                    all.push(Value::from(without));
                    let mut rotated = items.clone();
                    rotated.rotate_left(index);
                    all.push(Value::from(rotated));
                    for mutant in mutants(item) {
                        let mut changed = items.clone();
                        changed[index] = mutant;
                        all.push(Value::from(changed));
                    }
                }
                all
            }
            Value::Object(fields) => {
                let mut all = Vec::new();
                for (key, item) in fields {
                    let mut without = fields.clone();
                    without.remove(key);
                    all.push(Value::from(without.clone()));
                    without.insert(format!("{key}x"), item.clone());
                    all.push(Value::from(without));
                    for mutant in mutants(item).into_iter().chain([Value::Null]) {
                        let mut changed = fields.clone();
                        changed.insert(key.clone(), mutant);
                        all.push(Value::from(changed));
                    }
                }
                all
            }
        }
    }

    /// A mutant that is no SIG, or the same one, says nothing; every other must show. A field added later is covered too.
    #[test]
    fn whatever_differs_shows() {
        let sig = parse("full.toml", FULL).unwrap();
        assert_eq!(plan(Some(&sig), &sig), []);
        let mut counted = 0;
        for mutant in mutants(&serde_json::to_value(&sig).unwrap()) {
            let Ok(mut other) = serde_json::from_value::<Sig>(mutant) else { continue };
            // Projects have no order of their own.
            other.projects.sort_by_key(crate::sig::Project::stem);
            // A project knows its SIG's name; one that knows another cannot come from a template.
            if other == sig || other.projects.iter().any(|project| project.sig != other.name) {
                continue;
            }
            counted += 1;
            assert_ne!(plan(Some(&sig), &other), [], "{other:?}");
            assert_ne!(plan(Some(&other), &sig), [], "{other:?}");
        }
        assert!(counted > 80, "only {counted} mutants were SIGs");
    }

    #[test]
    fn a_change_says_what_was_and_what_will_be() {
        let sig = parse("full.toml", FULL).unwrap();
        let mut other = sig.clone();
        other.projects[0].packages.remove("greeter");
        other.projects[0].scratch_days = 14;
        let stem = other.projects[0].stem();
        assert_eq!(
            plan(Some(&sig), &other),
            [
                Change {
                    what: format!("package greeter in {stem}"),
                    from: Some("may be built".into()),
                    to: None
                },
                Change {
                    what: format!("retention of {stem}"),
                    from: Some("scratch builds 7 days".into()),
                    to: Some("scratch builds 14 days".into()),
                },
            ]
        );
        assert!(plan(None, &sig).iter().all(|change| change.from.is_none() && change.to.is_some()));
    }
}
