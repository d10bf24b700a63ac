//! README.md is true: its commands run, and print what it says.

use std::{fs, net::TcpListener};

use super::program::{Serving, jejak, root, skipped};

/// The commands of the README in order, each with the output that stands below it.
fn commands(readme: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let mut commands: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for line in readme.lines().filter_map(|line| line.strip_prefix("    ")) {
        if let Some(arguments) = line.strip_prefix("jejak ") {
            commands.push((arguments.split_whitespace().collect(), Vec::new()));
        } else if let Some((_, output)) = commands.last_mut() {
            output.push(line);
        }
    }
    commands
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    if TcpListener::bind("127.0.0.1:7117").is_err() {
        skipped("something listens on the default port 7117");
        return;
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 45, "a README of a page");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("examples")).unwrap();
    for file in ["units.csv", "form.json"] {
        let example = root().join("examples").join(file);
        fs::copy(example, dir.path().join("examples").join(file)).unwrap();
    }
    let commands = commands(&readme);
    assert_eq!(commands.len(), 5, "init, serve, mandate, submit, verify: {commands:?}");
    let mut server = None;
    for (arguments, output) in commands {
        if arguments[0] == "serve" {
            let without_ampersand = &arguments[..arguments.len() - 1];
            // As a shell does: the next line runs at once, whether or not the log is there.
            server = Some(Serving::in_background(dir.path(), without_ampersand));
            continue;
        }
        let ended = jejak(dir.path(), &arguments).exit(0);
        for line in output {
            // States come by the clock, so the indexes of a run are its own.
            let found =
                ended.stdout.lines().any(|got| without_numbers(got) == without_numbers(line));
            assert!(found, "{line:?} in {}", ended.stdout);
        }
    }
    assert!(server.is_some(), "the README serves a log");
    // And the monitor that it names.
    let monitor = ["monitor", "-p", "log/policy", "--state", "watch", "--once"];
    jejak(dir.path(), &monitor).exit(0);
}

fn without_numbers(line: &str) -> String {
    let words = line.split(' ').map(|word| if word.parse::<u64>().is_ok() { "N" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_sets_up_in_two_commands_and_names_the_main_job_and_the_tests() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["cargo install --locked --path .", "cargo run --release -- demo", "./test"] {
        let stands = |line: &str| line.starts_with("    ") && line.contains(command);
        assert!(readme.lines().any(stands), "{command}");
    }
}
