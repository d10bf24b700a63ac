//! ML-DSA-44 and windows of keys, on the command line, and against the second implementation.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use jejak_proofs::note::{
    CosigningKey, KeyKind, Policy, Receipt, UnverifiedCheckpoint, VerifierKey,
};

use super::{
    program::{jejak, root},
    python::{Files, python, verify},
    spec::chapter,
    spec_example::{Example, ORIGIN},
};

const TIME: u64 = 1_720_000_000;

fn log_pq_key() -> CosigningKey {
    CosigningKey::from_seed(ORIGIN, KeyKind::MlDsa44, [5; 32]).unwrap()
}

fn witness_key(kind: KeyKind) -> CosigningKey {
    CosigningKey::from_seed("witness.example/w1", kind, [2; 32]).unwrap()
}

/// The receipt of the example under its checkpoint with these lines, in place of the log's own or
/// below it.
fn receipt(example: &Example, own: bool, lines: &[&str]) -> String {
    let mut receipt = Receipt::parse(example.receipt.as_bytes()).unwrap();
    let checkpoint = &example.checkpoint;
    let own = own.then(|| example.log_key.sign_line(checkpoint.text()));
    let lines: Vec<&str> = own.iter().map(String::as_str).chain(lines.iter().copied()).collect();
    let note = jejak_proofs::note::compose(checkpoint.text(), &lines);
    receipt.checkpoint = UnverifiedCheckpoint::parse(note.as_bytes()).unwrap();
    receipt.to_string()
}

/// The policy of the example with the lines `more` before its quorum, or with another quorum.
fn policy(example: &Example, more: &str, quorum: &str) -> String {
    example.policy.replace("quorum none\n", &format!("{more}quorum {quorum}\n"))
}

/// The line with one bit of what its base64 stands for flipped, the key id not counted.
fn flipped(line: &str, bit: usize) -> String {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (name, base64) = line.rsplit_once(' ').unwrap();
    let (place, mask) = ((32 + bit) / 6, 32 >> ((32 + bit) % 6));
    let digit = DIGITS.find(&base64[place..=place]).unwrap() ^ mask;
    format!("{name} {}{}{}", &base64[..place], &DIGITS[digit..=digit], &base64[place + 1..])
}

/// Exit codes of both implementations for a receipt under a policy.
// SPEC [C1] [C4] [C6] [C12] [N7]
#[test]
fn both_implementations_judge_alike() {
    let example = Example::new();
    let files = Files::new();
    let dir = files.dir.path();
    let (log, witness) = (log_pq_key(), witness_key(KeyKind::MlDsa44));
    let log_line = log.cosign(&example.checkpoint, TIME).unwrap();
    let cosigned = witness.cosign(&example.checkpoint, TIME).unwrap();
    let old = witness_key(KeyKind::CosignatureV1).cosign(&example.checkpoint, TIME).unwrap();
    let (log_vkey, vkey) = (log.verifier(), witness.verifier());
    let both_keys = policy(&example, &format!("log {log_vkey}\n"), "none");
    let pq_only = {
        let own = format!("log {} http", example.log_key.verifier());
        let lines = both_keys.lines().filter(|line| !line.starts_with(&own));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(Policy::parse(&pq_only).unwrap().logs().count(), 1);
    let witnessed = policy(&example, &format!("witness W {vkey}\n"), "W");
    let table = [
        ("Ed25519, either", &both_keys, receipt(&example, true, &[]), 0),
        ("ML-DSA-44, either", &both_keys, receipt(&example, false, &[&log_line]), 0),
        ("both", &both_keys, receipt(&example, true, &[&log_line]), 0),
        ("only ML-DSA-44 listed", &pq_only, receipt(&example, true, &[&log_line]), 0),
        ("no line of a listed key", &pq_only, receipt(&example, true, &[]), 13),
        ("signature", &both_keys, receipt(&example, true, &[&flipped(&log_line, 800)]), 13),
        ("time", &both_keys, receipt(&example, true, &[&flipped(&log_line, 63)]), 13),
        ("time out of range", &both_keys, receipt(&example, true, &[&flipped(&log_line, 0)]), 13),
        ("quorum", &witnessed, receipt(&example, true, &[&cosigned]), 0),
        ("no cosignature", &witnessed, receipt(&example, true, &[&old]), 14),
        ("bad cosignature", &witnessed, receipt(&example, true, &[&flipped(&cosigned, 9000)]), 14),
        ("witness is no log", &witnessed, receipt(&example, false, &[&log_line, &cosigned]), 13),
    ];
    let note = files.write("entry.note", &example.entries[2]);
    let python = python();
    for (what, policy, receipt, want) in table {
        let policy = files.write("policy", policy);
        let proof = files.write("entry.tlog-proof", receipt);
        let ours = jejak(dir, &["verify", "-p", &policy, &note, &proof]);
        assert_eq!(ours.status, want, "{what}: {}", ours.stderr);
        if let Some(python) = &python {
            let (code, said) = verify(python, &["receipt", &policy, &note, &proof]);
            assert_eq!(code, want, "{what}: {said}");
        }
    }
}

/// What Python signs, with randomness, we take; and the bytes of SPEC.md are the bytes signed.
// SPEC [C12]
#[test]
fn the_message_is_that_of_the_specification() {
    let chapter = chapter("## Checkpoints");
    let block = chapter.split("```").find(|block| block.contains("737562747265652f")).unwrap();
    let is_hex = |word: &&str| word.bytes().all(|b| b.is_ascii_hexdigit());
    let message: String = block
        .lines()
        .flat_map(|line| line.split_whitespace().take_while(is_hex).collect::<Vec<_>>())
        .collect();
    let (name, origin) = ("witness.example/w1", "example.com/tally");
    let message_len = 12 + 1 + name.len() + 8 + 1 + origin.len() + 8 + 8 + 32;
    assert_eq!(message.len(), 2 * message_len, "{message}");
    let Some(python) = python() else { return };
    let script = "import sys\n\
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey as Key\n\
        key = Key.from_seed_bytes(bytes([2]) * 32)\n\
        print(key.sign(bytes.fromhex(sys.argv[1])).hex())\n";
    let sign = || {
        let output = Command::new(&python).args(["-c", script, &message]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        hex::decode(String::from_utf8(output.stdout).unwrap().trim()).unwrap()
    };
    let key = witness_key(KeyKind::MlDsa44).verifier();
    let text = "example.com/tally\n3\nA9jN2rnQIZbqXtL42/AQnTXSHwcp5YXyeuKU7VUuwys=\n";
    let (first, second) = (sign(), sign());
    assert_ne!(first, second, "signed with randomness");
    for signature in [first, second] {
        let timed = [&9u64.to_be_bytes(), &signature[..]].concat();
        assert_eq!(key.verify_cosignature(text, &timed), Ok(9));
    }
}

// SPEC [Q8] [Q10] [Q11]
#[test]
fn require_pq_and_windows() {
    let example = Example::new();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = log_pq_key().cosign(&example.checkpoint, TIME).unwrap();
    let (ed, pq) = (example.log_key.verifier(), log_pq_key().verifier());
    fs::write(dir.join("ed"), &example.policy).unwrap();
    fs::write(dir.join("both"), policy(&example, &format!("log {pq}\n"), "none")).unwrap();
    fs::write(dir.join("form.note"), &example.entries[2]).unwrap();
    fs::write(dir.join("ed.tlog-proof"), receipt(&example, true, &[])).unwrap();
    fs::write(dir.join("pq.tlog-proof"), receipt(&example, false, &[&line])).unwrap();
    fs::write(dir.join("both.tlog-proof"), receipt(&example, true, &[&line])).unwrap();
    let verify = |policy: &str, proof: &str, more: &[&str]| {
        let verify = ["verify", "-p", policy, "form.note", proof];
        jejak(dir, &[&verify[..], more].concat())
    };
    let strict = ["--require-pq"];
    for (policy, proof, lax, hard) in [
        ("ed", "ed.tlog-proof", 0, 13),
        ("ed", "both.tlog-proof", 0, 13),
        ("both", "ed.tlog-proof", 0, 13),
        ("both", "pq.tlog-proof", 0, 13),
        ("both", "both.tlog-proof", 0, 0),
    ] {
        verify(policy, proof, &[]).exit(lax);
        let ended = verify(policy, proof, &strict).exit(hard);
        assert_eq!(ended.stderr.contains("--require-pq"), hard == 13, "{}", ended.stderr);
    }
    // The example's checkpoint has four entries.
    let id = |key: &VerifierKey| format!("{ORIGIN}+{}", key.id());
    for (windows, exit) in [
        (format!("{} from 0\n", id(&ed)), 0),
        (format!("# comment\n{} from 4 until 5\n", id(&ed)), 0),
        (format!("{} from 0 until 4\n", id(&ed)), 13),
        (format!("{} from 5\n", id(&ed)), 13),
        (format!("{} from 0 until 4\n", id(&pq)), 78),
        (format!("{} from 0", id(&ed)), 78),
        ("no window\n".to_owned(), 78),
    ] {
        fs::write(dir.join("ed.windows"), &windows).unwrap();
        let ended = verify("ed", "ed.tlog-proof", &[]).exit(exit);
        assert!(exit != 78 || ended.stderr.contains("ed.windows: windows, line 1: "), "{windows}");
    }
    // Outside its window the ML-DSA-44 line does not count under --require-pq either.
    fs::write(dir.join("both.windows"), format!("{} from 0 until 4\n", id(&pq))).unwrap();
    verify("both", "both.tlog-proof", &[]).exit(0);
    verify("both", "both.tlog-proof", &strict).exit(13);
    fs::write(dir.join("both.windows"), format!("{} from 0 until 4\n", id(&ed))).unwrap();
    verify("both", "both.tlog-proof", &strict).exit(0);
}

fn copy_units(dir: &Path) {
    fs::copy(root().join("examples/units.csv"), dir.join("units.csv")).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

// SPEC [N9]
#[test]
fn keys_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (file, kind, byte) in
        [("a", None, 1), ("b", Some("ed25519"), 1), ("c", Some("cosignature"), 4)]
            .into_iter()
            .chain([("d", Some("ml-dsa-44"), 6)])
    {
        let kind: Vec<&str> = kind.into_iter().flat_map(|kind| ["--kind", kind]).collect();
        let new = ["key", "new", file, "--name", "witness.example/w"];
        let made = jejak(dir, &[&new[..], &kind].concat()).exit(0).stdout;
        assert_eq!(jejak(dir, &["key", "show", file]).exit(0).stdout, made);
        assert_eq!(VerifierKey::parse(made.trim_end()).unwrap().kind().byte(), byte);
        assert_eq!(mode(&dir.join(file)), 0o600);
        // Never overwritten, and not read once others can.
        jejak(dir, &[&new[..], &kind].concat()).exit(78);
        fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o640)).unwrap();
        jejak(dir, &["key", "show", file]).exit(78);
    }
    let long = "n".repeat(256);
    let new = ["key", "new", "e", "--name", &long];
    jejak(dir, &[&new[..], &["--kind", "ml-dsa-44"]].concat()).exit(78);
    jejak(dir, &[&new[..], &["--kind", "rsa"]].concat()).exit(2);
    assert!(!dir.join("e").exists());
}

#[test]
fn a_new_log_has_both_keys_and_its_witnesses() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    copy_units(dir);
    let init = ["init", "log", "--origin", "log.example/2024", "--units", "units.csv"];
    let init = [&init[..], &["--contest", "ppwp=01,02"]].concat();
    let witness = |name: &str, kind| {
        let url = format!("http://127.0.0.1:9/{name}");
        let seed = [name.as_bytes()[0]; 32];
        let key = CosigningKey::from_seed(&format!("witness.example/{name}"), kind, seed).unwrap();
        format!("{name} {} {url}", key.verifier())
    };
    let (a, b) = (witness("a", KeyKind::CosignatureV1), witness("b", KeyKind::MlDsa44));
    // A quorum without witnesses, witnesses without one, and what makes no policy.
    for (more, exit) in [
        (vec!["--quorum", "1"], 2),
        (vec!["--witness", &a], 2),
        (vec!["--witness", "a", "--quorum", "1"], 2),
        (vec!["--witness", "a vkey", "--quorum", "1"], 2),
        (vec!["--witness", &a, "--quorum", "2"], 78),
        (vec!["--witness", &a, "--quorum", "0"], 78),
        (vec!["--witness", &a, "--witness", &a, "--quorum", "1"], 78),
    ] {
        jejak(dir, &[&init[..], &more].concat()).exit(exit);
        assert!(!dir.join("log").exists(), "{more:?}");
    }
    let more = ["--witness", &a, "--witness", &b, "--quorum", "2"];
    jejak(dir, &[&init[..], &more].concat()).exit(0);

    let policy = fs::read_to_string(dir.join("log/policy")).unwrap();
    let read = Policy::parse(&policy).unwrap();
    let kinds: Vec<KeyKind> = read.logs().map(|line| line.key.kind()).collect();
    assert_eq!(kinds, [KeyKind::Ed25519, KeyKind::MlDsa44]);
    assert!(read.needs_witnesses());
    for line in [&a, &b] {
        assert!(policy.contains(&format!("witness {line}\n")), "{policy}");
    }
    assert!(policy.ends_with("group witnesses 2 a b\nquorum witnesses\n"), "{policy}");
    let manifest = fs::read_to_string(dir.join("log/manifest.note")).unwrap();
    for (file, line) in ["log", "log-pq"].into_iter().zip(read.logs()) {
        let path = dir.join("log/keys").join(file);
        assert_eq!(mode(&path), 0o600);
        let shown = jejak(dir, &["key", "show", path.to_str().unwrap()]).exit(0).stdout;
        assert_eq!(shown.trim_end(), line.key.to_string());
        assert!(manifest.contains(shown.trim_end()));
        assert!(dir.join(format!("log/keys/{file}.bound")).exists());
    }
}

#[test]
fn a_manifest_from_elsewhere_names_the_pq_key() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    copy_units(dir);
    let new = |file: &str, name: &str, kind: &str| {
        let new = ["key", "new", file, "--name", name, "--kind", kind];
        jejak(dir, &new).exit(0).stdout.trim_end().to_owned()
    };
    let origin = "log.example/2024";
    let (log, pq) = (new("log.key", origin, "ed25519"), new("pq.key", origin, "ml-dsa-44"));
    let root = new("root.key", "root/ID", "ed25519");
    new("other.key", origin, "ml-dsa-44");
    let build = ["manifest", "build", "--origin", origin, "--units", "units.csv", "-o", "m"];
    let keys = ["--contest", "ppwp=01,02", "--log-key", &log, "--log-key", &pq, "--root", &root];
    jejak(dir, &[&build[..], &keys].concat()).exit(0);
    jejak(dir, &["sign", "m/manifest.json", "-k", "root.key", "-o", "m/manifest.note"]).exit(0);
    let init = ["init", "log", "--manifest", "m/manifest.note", "--log-key", "log.key"];
    let registers = ["--units", "m/units.csv", "--contests", "m/contests.jsonl"];
    let init = |more: &[&str]| jejak(dir, &[&init[..], &registers, more].concat());
    assert!(init(&[]).exit(78).stderr.contains("--log-pq-key"));
    assert!(init(&["--log-pq-key", "other.key"]).exit(78).stderr.contains("does not name"));
    init(&["--log-pq-key", "log.key"]).exit(78);
    assert!(!dir.join("log").exists());
    init(&["--log-pq-key", "pq.key"]).exit(0);
    assert!(dir.join("pq.key.bound").exists() && dir.join("log.key.bound").exists());
    let policy = fs::read_to_string(dir.join("log/policy")).unwrap();
    assert!(policy.contains(&log) && policy.contains(&pq), "{policy}");
    // Both keys belong to this log now.
    fs::remove_file(dir.join("log.key.bound")).unwrap();
    fs::rename(dir.join("log"), dir.join("old")).unwrap();
    assert!(init(&["--log-pq-key", "pq.key"]).exit(78).stderr.contains("belongs to a log"));
}
