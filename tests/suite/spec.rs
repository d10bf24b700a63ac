//! SPEC.md and the code say the same: rules have tests, tables are those of the code, limits are
//! the constants, the example is made again from its seeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jejak::{log, server};
use jejak_proofs::{
    merkle, note,
    tally::{self, Field},
};
use server::limits::{self, Limits};

use super::spec_example::Example;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn spec() -> String {
    fs::read_to_string(root().join("SPEC.md")).unwrap()
}

/// The text of a chapter or section, its heading given as it stands.
pub fn chapter(heading: &str) -> String {
    let spec = spec();
    let level = heading.split(' ').next().unwrap().len();
    let start = spec.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let body = &spec[start + heading.len() + 2..];
    let mut fenced = false;
    let mut goes_on = |line: &str| {
        fenced ^= line.starts_with("```");
        let depth = line.bytes().take_while(|byte| *byte == b'#').count();
        fenced || !((1..=level).contains(&depth) && line[depth..].starts_with(' '))
    };
    body.lines().take_while(|line| goes_on(line)).map(|line| format!("{line}\n")).collect()
}

/// The rows of the table below this header.
fn table(chapter: &str, header: &str) -> Vec<String> {
    let mut lines = chapter.lines().skip_while(|line| *line != header).skip(2);
    let rows: Vec<String> =
        lines.by_ref().take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

pub fn rust_files(dirs: &[&str]) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = dirs.iter().map(|dir| root().join(dir)).collect();
    let mut files = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false if path.extension().is_some_and(|ending| ending == "rs") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    files
}

/// Paragraphs, list items and table rows, without code blocks.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut fenced = false;
    for line in text.lines() {
        let fence = line.starts_with("```");
        fenced ^= fence;
        if fenced || fence {
            continue;
        }
        if line.is_empty() || line.starts_with(['-', '|', '#']) {
            blocks.push(String::new());
        }
        if line.is_empty() {
            continue;
        }
        let block = blocks.last_mut().unwrap();
        block.push_str(line);
        block.push(' ');
    }
    blocks
}

/// The id in brackets at the start of `text`: a capital and a number.
fn id_at(text: &str) -> Option<&str> {
    let (id, _) = text.strip_prefix('[')?.split_once(']')?;
    let number = id.strip_prefix(|c: char| c.is_ascii_uppercase())?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(id)
}

/// Every rule of a block: its id, and the text up to the next rule. An id that begins a sentence,
/// an item or a cell names a rule; elsewhere it refers to one.
fn rules_of(block: &str) -> Vec<(String, String)> {
    let begins = |at: usize| {
        at == 0 || ["- ", "| ", ". "].iter().any(|before| block[..at].ends_with(before))
    };
    let starts: Vec<usize> = block
        .match_indices('[')
        .map(|(at, _)| at)
        .filter(|at| begins(*at) && id_at(&block[*at..]).is_some())
        .collect();
    let ends = starts.iter().skip(1).copied().chain([block.len()]);
    let rule = |(start, end): (&usize, usize)| {
        (id_at(&block[*start..]).unwrap().to_owned(), block[*start..end].to_owned())
    };
    starts.iter().zip(ends).map(rule).collect()
}

fn rules() -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for (id, text) in blocks(&spec()).iter().flat_map(|block| rules_of(block)) {
        assert!(rules.insert(id.clone(), text).is_none(), "[{id}] stands twice");
    }
    rules
}

#[test]
fn every_sentence_with_must_has_a_number() {
    let text = spec();
    let (_, text) = text.split_once("names the number.\n").expect("the paragraph on BCP 14");
    for block in blocks(text) {
        let rules = rules_of(&block);
        let numbered: usize = rules.iter().map(|(_, text)| text.matches("MUST").count()).sum();
        assert_eq!(numbered, block.matches("MUST").count(), "without a number: {block}");
        for (id, text) in rules {
            let (Some(first), Some(last)) = (text.find("MUST"), text.rfind("MUST")) else {
                panic!("[{id}] has no MUST: {text}")
            };
            assert!(!text[first..last].contains(". "), "[{id}] has several sentences: {text}");
        }
    }
}

#[test]
fn every_rule_is_named_by_a_test() {
    let rules = rules();
    let mut named = BTreeSet::new();
    for file in rust_files(&["tests", "proofs/tests", "proofs/src", "src"]) {
        let text = fs::read_to_string(&file).unwrap();
        for (_, line) in text.lines().filter_map(|line| line.split_once("// SPEC [")) {
            for part in format!("[{line}").split_inclusive(']') {
                let id = part.find('[').and_then(|at| id_at(&part[at..]));
                named.extend(id.map(|id| (id.to_owned(), file.clone())));
            }
        }
    }
    for (id, file) in &named {
        assert!(rules.contains_key(id), "{}: SPEC.md has no [{id}]", file.display());
    }
    let named: BTreeSet<&str> = named.iter().map(|(id, _)| id.as_str()).collect();
    let unnamed: BTreeSet<&str> =
        rules.keys().map(String::as_str).filter(|id| !named.contains(id)).collect();
    assert_eq!(unnamed, BTreeSet::new(), "rules that no test names");
}

#[test]
fn references_lead_somewhere() {
    let rules = rules();
    let text = spec();
    for (at, _) in text.match_indices('[') {
        if let Some(id) = id_at(&text[at..]) {
            assert!(rules.contains_key(id), "[{id}] is not a rule");
        }
    }
}

#[test]
fn the_table_of_errors_is_that_of_the_server() {
    let rows: String = table(&chapter("## Errors"), "| status | code | detail |")
        .iter()
        .map(|row| format!("{row}\n"))
        .collect();
    assert_eq!(rows, server::problem::table());
}

#[test]
fn the_fields_are_those_of_the_ledger() {
    let rows = table(&chapter("## Errors"), "| code | meaning |");
    let row = |field: &Field| format!("| `{}` | {} |", field.code(), field.meaning());
    let fields: Vec<String> = Field::ALL.iter().map(row).collect();
    assert_eq!(rows, fields);
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let source = fs::read_to_string(root().join("src/cli/exit.rs")).unwrap();
    let (_, body) = source.split_once("pub enum Exit {\n").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let mut meaning = "";
    let mut rows = Vec::new();
    for line in body.lines().map(str::trim) {
        match (line.strip_prefix("/// "), line.trim_end_matches(',').split_once(" = ")) {
            (Some(doc), _) => meaning = doc,
            (None, Some((_, number))) => rows.push(format!("| {number} | {meaning} |")),
            _ => panic!("not a documented code: {line}"),
        }
    }
    assert_eq!(table(&chapter("## Command line"), "| code | meaning |"), rows);
}

fn limit_rows() -> Vec<String> {
    let Limits { head_time_max, body_time_max, request_time_max, .. } = Limits::default();
    let s = |time: Duration| time.as_secs();
    let rows: [(&str, u64, &str); 32] = [
        ("TREE_SIZE_MAX", merkle::TREE_SIZE_MAX, "entries of a tree"),
        ("ENTRY_LEN_MAX", merkle::ENTRY_LEN_MAX as u64, "bytes of an entry"),
        ("SIGNATURES_MAX", tally::SIGNATURES_MAX as u64, "lines of an entry"),
        ("NOTE_SIGNATURES_MAX", note::NOTE_SIGNATURES_MAX as u64, "lines of a checkpoint"),
        ("NOTE_LEN_MAX", note::NOTE_LEN_MAX as u64, "bytes of a checkpoint"),
        ("RECEIPT_PROOF_LEN_MAX", note::RECEIPT_PROOF_LEN_MAX as u64, "hashes of a receipt"),
        ("RECEIPT_EXTRA_LEN_MAX", note::RECEIPT_EXTRA_LEN_MAX as u64, "bytes of `extra`"),
        ("RECEIPT_LEN_MAX", note::RECEIPT_LEN_MAX as u64, "bytes of a receipt"),
        ("RECAP_PROOF_LEN_MAX", tally::RECAP_PROOF_LEN_MAX as u64, "bytes of a recap proof"),
        ("POLICY_LEN_MAX", note::POLICY_LEN_MAX as u64, "bytes of a policy"),
        ("POLICY_LOGS_MAX", note::POLICY_LOGS_MAX as u64, "logs of a policy"),
        ("POLICY_WITNESSES_MAX", note::POLICY_WITNESSES_MAX as u64, "witnesses of a policy"),
        ("POLICY_GROUPS_MAX", note::POLICY_GROUPS_MAX as u64, "groups of a policy"),
        ("REGISTER_LEN_MAX", tally::REGISTER_LEN_MAX as u64, "bytes of a register"),
        ("OPTIONS_MAX", tally::OPTIONS_MAX as u64, "options of a contest"),
        ("LIST_MAX", tally::LIST_MAX as u64, "elements of a list of the manifest"),
        ("ROOT_KEYS_MAX", tally::ROOT_KEYS_MAX as u64, "root keys"),
        ("MANDATE_KEYS_MAX", tally::MANDATE_KEYS_MAX as u64, "keys of a mandate"),
        ("SCOPE_MAX", tally::SCOPE_MAX as u64, "units, or contests, of a mandated key"),
        ("DELEGATION_DEPTH_MAX", tally::DELEGATION_DEPTH_MAX.into(), "grants below a root key"),
        ("DOCS_MAX", tally::DOCS_MAX as u64, "documents of a tally"),
        ("STATE_LEN_MAX", tally::STATE_LEN_MAX as u64, "bytes of a state"),
        ("STATE_GAP_MAX", tally::STATE_GAP_MAX, "entries without a state"),
        ("BATCH_ENTRIES_MAX", limits::BATCH_ENTRIES_MAX as u64, "entries of a batch request"),
        ("BATCH_BYTES_MAX", limits::BATCH_BYTES_MAX as u64, "bytes of a batch request"),
        ("PROOF_RANGES_MAX", limits::PROOF_RANGES_MAX as u64, "ranges of a compact proof"),
        ("PROOF_LEAVES_MAX", limits::PROOF_LEAVES_MAX, "leaves of a compact proof"),
        ("URI_LEN_MAX", limits::URI_LEN_MAX as u64, "bytes of a request's target"),
        ("HEADER_BYTES_MAX", limits::HEADER_BYTES_MAX as u64, "bytes of a request's head"),
        ("head_time_max", s(head_time_max), "seconds for a request's head"),
        ("body_time_max", s(body_time_max), "seconds for a request's body"),
        ("request_time_max", s(request_time_max), "seconds to the head of an answer"),
    ];
    rows.iter().map(|(name, value, what)| format!("| `{name}` | {value} | {what} |")).collect()
}

#[test]
fn the_limits_are_the_constants() {
    assert_eq!(table(&chapter("### Limits"), "| limit | value | of what |"), limit_rows());
    assert_eq!(log::BATCH_ENTRIES_MAX as u64, limits::BATCH_ENTRIES_MAX as u64);
    assert_eq!(log::BATCH_BYTES_MAX, limits::BATCH_BYTES_MAX);
}

/// Where the prose names a number, it is the constant's.
#[test]
fn the_limits_in_the_text_are_the_constants() {
    let rules = rules();
    let says = [
        ("E1", "65,535 bytes", merkle::ENTRY_LEN_MAX as u64, 65_535),
        ("E5", "at most 15", tally::SIGNATURES_MAX as u64 - 1, 15),
        ("E15", "at most 64", tally::LIST_MAX as u64, 64),
        ("E16", "1 to 256", tally::SCOPE_MAX as u64, 256),
        ("E22", "at most 64", tally::DOCS_MAX as u64, 64),
        ("E35", "512 bytes", tally::STATE_LEN_MAX as u64, 512),
        ("C10", "100,000 entries", tally::STATE_GAP_MAX, 100_000),
        ("K1", "4 MiB", tally::RECAP_PROOF_LEN_MAX as u64, 4 << 20),
        ("R1", "64 MiB", tally::REGISTER_LEN_MAX as u64, 64 << 20),
        ("R3", "64 characters", tally::NAME_LEN_MAX as u64, 64),
        ("R3", "more than five digits", tally::NAME_DIGITS_MAX as u64, 5),
        ("R6", "1 to 1,024", tally::OPTIONS_MAX as u64, 1_024),
        ("G3", "999", tally::FORM_NUMBER_MAX.into(), 999),
        ("M4", "at most 8", tally::DELEGATION_DEPTH_MAX.into(), 8),
        ("N8", "64 lines", note::NOTE_SIGNATURES_MAX as u64, 64),
        ("P2", "63 hashes", note::RECEIPT_PROOF_LEN_MAX as u64, 63),
        ("W7", "1 to 16", limits::PROOF_RANGES_MAX as u64, 16),
        ("W7", "1,024 leaves", limits::PROOF_LEAVES_MAX, 1_024),
        ("W13", "1,000 entries", limits::BATCH_ENTRIES_MAX as u64, 1_000),
        ("W13", "4 MiB", limits::BATCH_BYTES_MAX as u64, 4 << 20),
        ("W17", "2,048 bytes", limits::URI_LEN_MAX as u64, 2_048),
        ("W17", "16 KiB", limits::HEADER_BYTES_MAX as u64, 16 << 10),
        ("W18", "within 10 s", Limits::default().body_time_max.as_secs(), 10),
        ("W18", "within 30 s", Limits::default().request_time_max.as_secs(), 30),
    ];
    for (id, text, constant, number) in says {
        assert!(rules[id].contains(text), "[{id}] does not say {text}: {}", rules[id]);
        assert_eq!(constant, number, "[{id}] {text}");
    }
    assert!(chapter("## Entries").contains("1 to 400 keys") && tally::MANDATE_KEYS_MAX == 400);
    assert!(chapter("## Entries").contains("| 1 to 16, ascending") && tally::ROOT_KEYS_MAX == 16);
    assert!(chapter("## Registers").contains(tally::UNIT_HEADER));
}

/// The code blocks of a chapter or section.
pub fn code_blocks(heading: &str) -> Vec<String> {
    let chapter = chapter(heading);
    let parts: Vec<&str> = chapter.split("```").collect();
    parts.chunks(2).filter_map(|pair| pair.get(1)?.strip_prefix("text\n").map(Into::into)).collect()
}

#[test]
fn the_example_is_made_again_from_its_seeds() {
    let example = Example::new();
    for (heading, made) in [
        ("## Example", example.blocks()),
        ("### The example's recap", example.recap_blocks()),
        ("### Units and recaps", example.answer_blocks()),
    ] {
        let blocks = code_blocks(heading);
        assert_eq!(blocks.len(), made.len(), "{heading}");
        for (number, (block, made)) in blocks.iter().zip(&made).enumerate() {
            assert_eq!(block, made, "block {number} of {heading}");
        }
    }
}
