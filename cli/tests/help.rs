//! Every command explains itself, with examples that really parse.

use clap::{CommandFactory as _, Parser as _};
use cli::Cli;

fn leaves(command: &clap::Command, path: Vec<String>, found: &mut Vec<(Vec<String>, clap::Command)>) {
    let commands: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
    if commands.is_empty() {
        found.push((path, command.clone()));
        return;
    }
    for command in commands {
        let mut path = path.clone();
        path.push(command.get_name().to_owned());
        leaves(command, path, found);
    }
}

/// An example as a shell would hand it over: what stands in double quotes is one word; without redirections and what follows
/// a pipe.
fn words(example: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in example.split('"').enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words.into_iter().take_while(|word| !matches!(word.as_str(), ">" | "<" | "|")).collect()
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples_that_parse() {
    let mut found = Vec::new();
    leaves(&Cli::command(), vec!["grange".to_owned()], &mut found);
    assert!(found.len() > 25, "only {} commands were found", found.len());
    for (path, command) in found {
        let name = path.join(" ");
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> =
            help.lines().map(str::trim).filter(|line| line.starts_with("grange ")).collect();
        assert!(help.contains("Examples:") && !examples.is_empty(), "{name} has no example");
        for example in examples {
            assert!(example.starts_with(&name), "{name} has an example of something else: {example}");
            Cli::try_parse_from(words(example)).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // What the code says of a command's arguments must not take the place of what the command says of itself.
        assert!(!about.is_empty() && !about.starts_with("What "), "{name} says of itself: {about}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{name}: {} has no help", argument.get_id());
        }
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for wrong in [
        "grange build target",
        "grange build target rpms/hello",
        "grange promote",
        "grange promote hello-1-1 --to candidate",
        "grange promote --target storage9s-gluster-11-el9s",
        "grange waive 01JZ8M3Q5T7V9X1B3D5F7H9K1M runs --reason because --days 91",
        "grange waive 01JZ8M3Q5T7V9X1B3D5F7H9K1M runs --days 3",
        "grange rollback storage9s-gluster-11-release",
        "grange rollback t --reason r --no-wait --timeout 3",
        "grange history",
        "grange promote hello-1-1 --timeout 3",
        "grange builds --kind nightly",
        "grange builds --state done",
        "grange builds --limit 0",
        "grange log x --list --follow",
        "grange promotions 01JZ8M3Q5T7V9X1B3D5F7H9K1M --sig storage",
        "grange person add ada --data a --database b",
        "grange standalone --listen everywhere",
        "grange completion tcsh",
    ] {
        let error = Cli::try_parse_from(words(wrong)).expect_err(wrong);
        assert_eq!(error.exit_code(), 2, "{wrong}");
    }
}
