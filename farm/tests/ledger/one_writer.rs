//! Holds against the ledger's sources that state is changed in one place only.

use std::path::Path;

/// Tables with a state and a version.
const STATES: [&str; 6] = ["job", "request", "promotion", "repo", "sig", "recheck"];

/// Every SQL statement of a source file: what stands between quotes and begins with a verb.
fn statements(source: &str) -> Vec<String> {
    let verbs = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "];
    source
        .split('"')
        .filter(|text| verbs.iter().any(|verb| text.trim_start().starts_with(verb)))
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn state_is_updated_in_one_file_and_only_at_the_version_that_was_seen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger");
    let (mut updates, mut files) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        files += 1;
        for sql in statements(&std::fs::read_to_string(file.path()).unwrap()) {
            let table = |verb: &str| {
                let table = sql.strip_prefix(verb)?.split([' ', '(']).next()?;
                STATES.contains(&table).then_some(table)
            };
            if let Some(table) = table("UPDATE ") {
                updates += 1;
                assert_eq!(name, "advance.rs", "{table} is updated elsewhere: {sql}");
                assert!(sql.contains("SET version = version + 1"), "{sql}");
                assert!(sql.ends_with("AND version = $2"), "{sql}");
            }
            assert_eq!(table("DELETE FROM "), None, "{name} removes promises: {sql}");
            if table("INSERT INTO ").is_some() {
                assert!(!sql.contains("DO UPDATE"), "{name} overwrites a state by inserting: {sql}");
            }
        }
    }
    assert!(files > 10, "the ledger's sources are elsewhere now");
    assert_eq!(updates, STATES.len(), "each state has one statement that updates it");
}

#[test]
fn sql_is_found_where_it_is_written() {
    let found = statements(r#"let sql = "UPDATE job SET x = 1"; let text = "no UPDATE job"; "  SELECT 1";"#);
    assert_eq!(found, ["UPDATE job SET x = 1", "SELECT 1"]);
}
