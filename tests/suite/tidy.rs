//! The style as a test: layers, characters, lengths, and what has no place in the sources.

use std::{collections::BTreeMap, fs, path::Path};

use super::spec::{root, rust_files};

/// Who may not name what (ARCHITECTURE.md). An arrow may only point down.
const LAYERS: &[(&str, &[&str])] = &[
    // The judge: no files, sockets, clock, threads or runtime, and nothing above it.
    (
        "proofs/src",
        &[
            "std::", "tokio", "axum", "hyper", "sled", "ureq", "rayon", "tracing", "jejak::",
            "log::",
        ],
    ),
    // Evidence stands over the other rooms of the judge.
    ("proofs/src/merkle", &["crate::note", "crate::tally", "crate::evidence"]),
    ("proofs/src/note", &["crate::tally", "crate::evidence"]),
    ("proofs/src/tally", &["crate::evidence"]),
    // Files are the truth: the store knows bytes and trees, no ledger, no signatures, no HTTP.
    (
        "src/store",
        &[
            "crate::log",
            "crate::server",
            "crate::cli",
            "crate::client",
            "crate::monitor",
            "jejak_proofs::tally",
            "jejak_proofs::note",
            "axum",
            "hyper",
            "sled",
            "ureq",
        ],
    ),
    ("src/log", &["crate::server", "crate::cli", "crate::client", "axum", "hyper", "sled", "ureq"]),
    ("src/server", &["crate::store", "crate::cli", "crate::client", "sled", "ureq", "std::fs"]),
    // Between a log and its witnesses: it signs nothing and writes nothing.
    (
        "src/cosign",
        &["crate::server", "crate::store", "crate::cli", "crate::monitor", "sled", "axum", "ureq"],
    ),
    (
        "src/client",
        &["crate::server", "crate::log", "crate::store", "crate::cli", "axum", "std::fs"],
    ),
    // A judge must not run the defendant's code.
    (
        "src/monitor",
        &["crate::server", "crate::log", "crate::store", "crate::cli", "axum", "std::fs"],
    ),
    ("src/witness", &["crate::server", "crate::log", "crate::store", "crate::cli", "std::fs"]),
    ("src/witness/judge.rs", &["crate::", "std::time", "tokio"]),
    ("src/witness/record.rs", &["crate::", "std::time", "tokio"]),
    // What HTTP is there is in one file.
    ("src/witness/judge.rs", &["axum", "hyper"]),
    ("src/witness/memory.rs", &["axum", "hyper"]),
    ("src/witness/mod.rs", &["axum", "hyper"]),
    ("src/witness/recount.rs", &["axum", "hyper"]),
    // It copies what it verified: a log's code has no part in it.
    (
        "src/mirror",
        &[
            "crate::server",
            "crate::log",
            "crate::cli",
            "crate::witness",
            "crate::monitor",
            "sled",
            "ureq",
            "std::fs",
        ],
    ),
    ("src/mirror/follow.rs", &["axum", "hyper"]),
    ("src/mirror/mod.rs", &["axum", "hyper"]),
    ("src/audit", &["crate::server", "crate::cli", "crate::mirror", "axum", "hyper", "sled"]),
    // Shared by servers, so it knows none of them.
    (
        "src/http",
        &[
            "crate::server",
            "crate::witness",
            "crate::log",
            "crate::store",
            "crate::state",
            "crate::client",
            "crate::monitor",
            "crate::cli",
            "jejak_proofs",
            "std::fs",
        ],
    ),
    ("src/cli", &["sled", "axum::"]),
    ("src/clock.rs", &["crate::", "tokio"]),
    ("src/agent.rs", &["crate::", "tokio", "std::fs"]),
];

/// Where files are named, and why.
const FILES: &[(&str, &str)] = &[
    ("src/cli", "keys, policies, forms and receipts of people"),
    ("src/store", "journal, tiles, bundles, registers"),
    ("src/state.rs", "the small durable states"),
    ("src/log/derived.rs", "snapshots of the ledger: derived, so that the store need not know it"),
    ("src/log/recovery.rs", "the directory and its policy, before there is a store"),
    ("src/audit", "fsck, repair and mirrors work over directories"),
    ("src/bench", "measures the disk"),
];

const LINE_MAX: usize = 100;
const FILE_LINES_MAX: usize = 600;
const FN_LINES_MAX: usize = 70;

/// Functions that are longer, with their length: it may fall, never rise.
const LONG_FUNCTIONS: &[(&str, &str, usize)] =
    &[("tests/suite/http.rs", "any_other_spelling_is_400", 86)];

/// Files with longer lines, and how many: literals that rustfmt cannot break. May fall, never rise.
const LONG_LINES: &[(&str, usize)] = &[
    ("benches/proofs.rs", 2),
    ("proofs/src/merkle/consistency.rs", 1),
    ("proofs/src/merkle/plan.rs", 1),
    ("proofs/tests/tally/refusals.rs", 1),
    ("src/cli/init.rs", 1),
    ("src/cli/output.rs", 1),
    ("src/cli/verify.rs", 3),
    ("src/monitor/report.rs", 1),
    ("tests/suite/election.rs", 1),
    ("tests/suite/fsck.rs", 1),
    ("tests/suite/officer.rs", 1),
];

/// Rust sources of ours, by path under the root.
fn sources(dirs: &[&str]) -> BTreeMap<String, String> {
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let files = rust_files(dirs);
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn all_sources() -> BTreeMap<String, String> {
    let dirs = ["src", "proofs/src", "proofs/tests", "oracles/src", "oracles/tests", "tests"];
    let more = ["benches", "fuzz/fuzz_targets"].into_iter().filter(|dir| root().join(dir).exists());
    sources(&dirs.into_iter().chain(more).collect::<Vec<_>>())
}

/// The lines that are compiled into the program: no comments, no unit tests below them.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.lines().zip(1..).map(|(line, number)| (number, line));
    lines
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether `line` names `path` itself, not something whose name ends or goes on like it.
fn names(line: &str, path: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
    line.match_indices(path).any(|(at, _)| {
        let after = line[at + path.len()..].chars().next();
        let goes_on = after.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !word(line[..at].chars().next_back()) && (path.ends_with(':') || !goes_on)
    })
}

/// `use crate::{store::X, log}` names `crate::store` and `crate::log`: the text without line
/// breaks within a declaration, and each braced name with what stands before the brace.
fn declared(source: &str) -> Vec<String> {
    let text: Vec<&str> = code(source).map(|(_, line)| line.trim()).collect();
    let text = text.join(" ");
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let declaration = text[at + 4..].split(';').next().unwrap_or_default();
        let Some((prefix, group)) = declaration.split_once('{') else { continue };
        let mut depth = 0;
        let mut start = 0;
        for (place, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if (c == ',' && depth == 0) || depth < 0 {
                found.push(format!("{prefix}{}", group[start..place].trim()));
                start = place + 1;
            }
            if depth < 0 {
                break;
            }
        }
    }
    found
}

/// Every line that names `path`, in any of the ways to name it.
fn namings(source: &str, path: &str) -> Vec<String> {
    let direct =
        code(source).filter(|(_, line)| names(line, path)).map(|(_, line)| line.to_owned());
    let grouped = declared(source).into_iter().filter(|found| names(found, path));
    direct.chain(grouped).collect()
}

fn is_below(file: &str, place: &str) -> bool {
    file == place || file.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn layers_name_nothing_above_them() {
    let sources = sources(&["src", "proofs/src"]);
    for (file, source) in &sources {
        for (place, forbidden) in LAYERS {
            // Tests of a room may use what the room itself may not.
            if !is_below(file, place) || file.contains("/tests") {
                continue;
            }
            for path in *forbidden {
                let found = namings(source, path);
                assert!(found.is_empty(), "{file} names {path}: {found:?}");
            }
        }
    }
}

#[test]
fn few_places_name_files_and_one_names_sled() {
    for (file, source) in sources(&["src"]) {
        if file.contains("/tests") {
            continue;
        }
        if !FILES.iter().any(|(place, _)| is_below(&file, place)) {
            let found = namings(&source, "std::fs");
            assert!(found.is_empty(), "{file} names files: {found:?}");
        }
        if file != "src/state.rs" {
            assert!(namings(&source, "sled").is_empty(), "{file} names sled");
        }
    }
}

/// The rules above find what they look for.
#[test]
fn namings_are_found_however_they_are_written() {
    let source = "use crate::{\n    client,\n    store::{Journal, Record},\n};\n\
                  use std::{io, fs};\nfn f() { std::fs::read(\"\"); }\n\
                  // sled\nuse crate::logic;\n";
    assert_eq!(namings(source, "crate::store").len(), 1);
    assert_eq!(namings(source, "std::fs").len(), 2);
    assert_eq!(namings(source, "crate::client").len(), 1);
    for other in ["crate::log", "sled", "crate::server", "crate::clients"] {
        assert!(namings(source, other).is_empty(), "{other}");
    }
}

#[test]
fn sources_are_ascii_and_lines_and_files_are_short() {
    let mut found = Vec::new();
    for (file, source) in all_sources() {
        let mut long = Vec::new();
        let count = source.lines().count();
        if count > FILE_LINES_MAX {
            found.push(format!("{file} has {count} lines"));
        }
        for (line, number) in source.lines().zip(1..) {
            if !line.is_ascii() {
                found.push(format!("{file}:{number} is not ASCII"));
            }
            // A row of a table in a comment has no other line.
            if line.len() > LINE_MAX && !line.trim_start().starts_with("//! |") {
                long.push(format!("{file}:{number} has {} columns", line.len()));
            }
            if line.trim_end() != line {
                found.push(format!("{file}:{number} ends in white space"));
            }
        }
        let known = LONG_LINES.iter().find(|(at, _)| *at == file);
        if long.len() > known.map_or(0, |(_, count)| *count) {
            found.extend(long);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The functions of a formatted file with the number of their lines: rustfmt puts the closing
/// brace below the first letter.
fn functions(source: &str) -> Vec<(String, usize)> {
    let mut open: Vec<(usize, String, usize)> = Vec::new();
    let mut found = Vec::new();
    for (line, number) in source.lines().zip(1..) {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with('}') {
            while let Some((_, name, start)) = open.pop_if(|(at, ..)| *at >= indent) {
                found.push((name, number - start + 1));
            }
        }
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        let before = |word: &&str| {
            ["pub", "const", "async", "unsafe"].contains(word) || word.starts_with("pub(")
        };
        let Some(place) = words.iter().position(|word| !before(word)) else { continue };
        // A body on the line of its name, or none at all, has no brace to wait for.
        if words[place] == "fn" && !line.ends_with(['}', ';']) {
            let name = words.get(place + 1).unwrap_or(&"").split(['(', '<']).next().unwrap();
            open.push((indent, name.to_owned(), number));
        }
    }
    found
}

#[test]
fn functions_are_short() {
    let source = "fn a(\n    b: u8,\n) {\n    c();\n}\n\n\
                  pub(super) async fn d() { e() }\n\n    fn g() {\n    }\n";
    assert_eq!(functions(source), [("a".to_owned(), 5), ("g".to_owned(), 2)]);
    let mut found = Vec::new();
    for (file, source) in all_sources() {
        for (name, lines) in functions(&source) {
            let long = LONG_FUNCTIONS.iter().find(|(at, of, _)| *at == file && *of == name);
            let max = long.map_or(FN_LINES_MAX, |(.., max)| *max);
            if lines > max {
                found.push(format!("{file}: {name} has {lines} lines, at most {max}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Built from parts, so that this file does not hold what it looks for.
fn banned() -> Vec<String> {
    let parts: [&[&str]; 13] = [
        &["to", "do!("],
        &["un", "implemented!("],
        &["d", "bg!("],
        &["allow(", "dead_code"],
        &["allow(", "unused"],
        &["FIX", "ME"],
        &["XX", "X"],
        &["/wo", "rk/"],
        &["/tm", "p/"],
        &["/ro", "ot/"],
        &["/ho", "me/"],
        &["crates", ".io"],
        &["index.", "crates"],
    ];
    parts.iter().map(|parts| parts.concat()).collect()
}

#[test]
fn nothing_unfinished_and_no_foreign_place_is_named() {
    let mut texts = all_sources();
    for entry in fs::read_dir(root()).unwrap().chain(fs::read_dir(root().join("proofs")).unwrap()) {
        let path = entry.unwrap().path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if matches!(ending, Some("md" | "toml")) {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            texts.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    // An absolute path: `log/tmp/` is a place of ours.
    let begins = |text: &str, at: usize| {
        !text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-/>".contains(c))
    };
    for (file, text) in texts {
        for word in banned() {
            let mut places = text.match_indices(&word);
            let found = places.any(|(at, _)| !word.starts_with('/') || begins(&text, at));
            assert!(!found, "{file} holds {word}");
        }
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    for file in ["Cargo.toml", "proofs/Cargo.toml", "oracles/Cargo.toml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let mut table = "";
        let mut before = "";
        // A line of several: the ones below it are said with it.
        let mut said = "";
        for line in text.lines() {
            if line.starts_with('[') {
                table = line;
            }
            let name = line.split([' ', '.', '=']).next().unwrap_or_default();
            let dependency = matches!(table, "[dependencies]" | "[dev-dependencies]")
                && !name.is_empty()
                && !line.starts_with(['#', '[', ' ', ']']);
            if dependency {
                let with_the_last = !said.is_empty() && name.starts_with(said);
                assert!(before.starts_with("# ") || with_the_last, "{file}: {name}");
                said = name.split(['-', '_']).next().unwrap();
            }
            before = line;
        }
    }
}
