//! The provenance of a build: is it there, signed, and about exactly the files that are published?

use std::collections::BTreeSet;

use farm::dsse::DecisionPublic;
use serde::Deserialize;

use super::Violation;
use super::place::{Place, parts};
use super::statement::{Member, open};

/// What provenance is called.
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// The key of a subject's digest that is SHA-256 of an RPM's header and payload, which signing leaves unchanged.
const BODY: &str = "rpmBody";
/// Bytes that the provenance of one build may have.
const LARGEST: u64 = 32 * 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provenance {
    build_definition: Definition,
    run_details: Run,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    build_type: String,
    resolved_dependencies: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Run {
    builder: Builder,
}

#[derive(Debug, Deserialize)]
struct Builder {
    id: String,
}

/// Looks at the provenance of a build in `folder`.
pub(super) async fn look(folder: &Place, member: &Member, keys: &[DecisionPublic]) -> Vec<Violation> {
    let file = format!("provenance/{}.dsse.json", member.nvr);
    let wrong = |why: String| vec![Violation::new(folder.shown(&file), why)];
    if let Err(why) = parts(&file) {
        return wrong(why);
    }
    let bytes = match folder.read(&file, LARGEST).await {
        Ok(bytes) => bytes,
        Err(fault) => return wrong(fault.to_string()),
    };
    let statement = match open::<Provenance>(&bytes, keys, PREDICATE) {
        Ok(statement) => statement,
        Err(why) => return wrong(why),
    };
    let Provenance { build_definition, run_details } = &statement.predicate;
    let mut violations = Vec::new();
    if build_definition.build_type.is_empty() || run_details.builder.id.is_empty() {
        violations.extend(wrong("it does not say how or by whom it was built".to_owned()));
    }
    if build_definition.resolved_dependencies.is_empty() {
        violations.extend(wrong("it does not say what it was built from".to_owned()));
    }
    let named: BTreeSet<(&str, &str)> = statement
        .subject
        .iter()
        .filter_map(|subject| Some((subject.name.as_str(), subject.digest.get(BODY)?.as_str())))
        .collect();
    let published: BTreeSet<(&str, &str)> =
        member.rpms.iter().map(|rpm| (rpm.file.as_str(), rpm.body.as_str())).collect();
    for (file, _) in published.difference(&named) {
        violations.extend(wrong(format!("it is not about {file} as it is published")));
    }
    // A build may have been made for an architecture that its project has no more: nothing of that is published.
    let arch = |file: &str| file.rsplit('.').nth(1).map(str::to_owned);
    let arches: BTreeSet<Option<String>> = published.iter().map(|(file, _)| arch(file)).collect();
    for (file, _) in named.difference(&published).filter(|(file, _)| arches.contains(&arch(file))) {
        violations.extend(wrong(format!("it is about {file}, which was not decided on")));
    }
    violations
}
