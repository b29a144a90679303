//! The users that `ansible/roles/rabbitmq` makes on a broker, read from the file that it reads, as a broker's definitions.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

/// The roles' variables.
const FILE: &str = "../ansible/roles/rabbitmq/vars/main.yml";
/// What stands for a builder's name there.
const NAME: &str = "NAME";
/// The virtual host a broker begins with.
const VHOST: &str = "/";
/// The exchange that a builder may bind to by its own routing keys only.
const OFFERS: &str = "grange.offers";

/// A hub, a scheduler and these builders, each with its name as its password and the rights the site's users have.
///
/// # Panics
/// When the file does not say what they are.
#[must_use]
pub fn definitions(builders: &[&str]) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (mut users, mut permissions, mut topics) = (Vec::new(), Vec::new(), Vec::new());
    let roles = [("hub", "hub"), ("scheduler", "scheduler")].into_iter();
    for (role, user) in roles.chain(builders.iter().map(|name| ("builder", *name))) {
        let rights = rights(&text, role);
        let right = |of: &str| {
            let names = rights.get(of).unwrap_or_else(|| panic!("{role} has no `{of}`: {rights:?}"));
            names.replace(NAME, &user.replace('.', "\\."))
        };
        users.push(json!({"name": user, "password": user, "tags": []}));
        let (configure, write, read) = (right("configure"), right("write"), right("read"));
        permissions.push(
            json!({"user": user, "vhost": VHOST, "configure": configure, "write": write, "read": read}),
        );
        if role == "builder" {
            let read = right("offers");
            topics
                .push(json!({"user": user, "vhost": VHOST, "exchange": OFFERS, "write": "^$", "read": read}));
        }
    }
    json!({"users": users, "permissions": permissions, "topic_permissions": topics})
}

/// The entries below a role of `rabbitmq_rights`: each is a line, its value in single quotes.
fn rights(text: &str, role: &str) -> BTreeMap<String, String> {
    let heading = format!("  {role}:");
    text.lines()
        .skip_while(|line| *line != "rabbitmq_rights:")
        .skip_while(|line| **line != heading)
        .skip(1)
        .take_while(|line| line.starts_with("    "))
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(right, names)| (right.to_owned(), names.trim_matches('\'').to_owned()))
        .collect()
}
