//! Rules of SPEC.md on the command line and on clients, against the program and scripted servers.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use jejak::client::{Fetch, FetchLimits, SubmitError, submit_batch};
use jejak_proofs::{merkle::leaf_hash, note::Policy};
use serde_json::{Value, json};

use super::spec_example::Example;

fn jejak(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jejak"))
        .current_dir(dir)
        .args(args)
        .env_remove("JEJAK_POLICY")
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server that answers one request after another with these bodies, whatever it is asked.
fn serve(bodies: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/2024", listener.local_addr().unwrap());
    thread::spawn(move || {
        for body in bodies {
            let (mut socket, _) = listener.accept().unwrap();
            // Up to the end of the head, then as much as it announces.
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&request).to_lowercase();
            let announced = head.split_once("content-length: ").and_then(|(_, rest)| {
                rest.split_once('\r').and_then(|(number, _)| number.parse::<usize>().ok())
            });
            let mut rest = vec![0; announced.unwrap_or(0)];
            socket.read_exact(&mut rest).unwrap();
            let len = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
            socket.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        }
    });
    url
}

// SPEC [N9]
#[test]
fn private_keys_are_private_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    assert_eq!(code(&jejak(dir.path(), &["key", "new", "key", "--name", "root/ID"])), 0);
    let secret = fs::read(&file).unwrap();
    let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    assert_eq!(code(&jejak(dir.path(), &["key", "show", "key"])), 0);
    assert_eq!(code(&jejak(dir.path(), &["key", "new", "key", "--name", "root/ID"])), 78);
    assert_eq!(fs::read(&file).unwrap(), secret);
    for readable in [0o640, 0o604, 0o660] {
        fs::set_permissions(&file, fs::Permissions::from_mode(readable)).unwrap();
        assert_eq!(code(&jejak(dir.path(), &["key", "show", "key"])), 78, "{readable:o}");
    }
}

fn example_files(dir: &Path) -> Example {
    let example = Example::new();
    fs::write(dir.join("policy"), &example.policy).unwrap();
    fs::write(dir.join("form.note"), &example.entries[2]).unwrap();
    fs::write(dir.join("other.note"), &example.entries[1]).unwrap();
    fs::write(dir.join("form.tlog-proof"), &example.receipt).unwrap();
    for (name, key) in [("root", &example.root_key), ("log", &example.log_key)] {
        let file = dir.join(name);
        fs::write(&file, key.to_private_string().as_bytes()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    example
}

// SPEC [L1] [L2]
#[test]
fn commands_end_with_their_codes_and_print_where_they_should() {
    let dir = tempfile::tempdir().unwrap();
    let example = example_files(dir.path());
    let forged = example.receipt.replace("log.example/2024\n4\n", "log.example/2024\n5\n");
    fs::write(dir.path().join("forged.tlog-proof"), forged).unwrap();
    // A listener that is gone again: nobody answers there.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{gone}/2024");
    let rows: [(i32, &[&str]); 7] = [
        (0, &["verify", "-p", "policy", "form.note", "form.tlog-proof"]),
        (1, &["verify", "form.tlog-proof"]),
        (2, &["verify", "form.note", "form.tlog-proof"]),
        (13, &["verify", "-p", "policy", "form.note", "forged.tlog-proof"]),
        (15, &["verify", "-p", "policy", "other.note", "form.tlog-proof"]),
        (78, &["verify", "-p", "form.note", "form.note", "form.tlog-proof"]),
        (
            69,
            &[
                "mandate",
                "-p",
                "policy",
                "--url",
                &nobody,
                "--by",
                "root",
                "--role",
                "official",
                "--units",
                "31",
                "--new",
                "officer",
                "--patience",
                "0s",
            ],
        ),
    ];
    for (want, args) in rows {
        let output = jejak(dir.path(), &[&["--json"], args].concat());
        let (out, err) = (lines(&output.stdout), lines(&output.stderr));
        assert_eq!(code(&output), want, "{args:?}: {err:?}");
        match want {
            0 => assert_eq!((out.len(), err.len(), &out[0]["ok"]), (1, 0, &json!(true))),
            _ => assert_eq!((out.len(), err.len(), &err[0]["exit"]), (0, 1, &json!(want))),
        }
    }
    assert_eq!(code(&jejak(dir.path(), &["frobnicate"])), 2);
}

// SPEC [L2]
#[test]
fn usage_errors_and_files_for_later_are_objects_too() {
    let dir = tempfile::tempdir().unwrap();
    example_files(dir.path());
    let wrong: [&[&str]; 4] = [
        &["--json"],
        &["frobnicate", "--json"],
        &["--json", "submit", "-p", "policy"],
        &["--json", "submit", "-p", "policy", "form.note", "--key"],
    ];
    for args in wrong {
        let output = jejak(dir.path(), args);
        let err = lines(&output.stderr);
        assert_eq!((code(&output), err.len(), output.stdout.len()), (2, 1, 0), "{args:?}");
        assert_eq!(err[0]["exit"], json!(2));
        assert!(!err[0]["error"].as_str().unwrap().is_empty(), "{err:?}");
    }
    // What was written elsewhere is a result.
    for verb in [
        &["mandate", "--role", "official", "--units", "31", "--new", "k"][..],
        &["revoke", "official/31+00000000", "--reason", "lost"],
    ] {
        let more = ["--json", "-p", "policy", "--by", "root", "--election", "2024", "--out", "o"];
        let output = jejak(dir.path(), &[verb, &more].concat());
        let out = lines(&output.stdout);
        assert_eq!((code(&output), out.len(), &out[0]["file"]), (0, 1, &json!("o")), "{verb:?}");
    }
}

// SPEC [Q1]
#[test]
fn a_policy_without_genesis_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let example = example_files(dir.path());
    let (_, bare) = example.policy.split_once('\n').unwrap();
    fs::write(dir.path().join("bare"), bare).unwrap();
    assert!(Policy::parse(bare).is_ok(), "C2SP does not know the comment");
    assert_eq!(code(&jejak(dir.path(), &["submit", "-p", "bare", "form.note"])), 78);
}

// SPEC [Q3]
#[test]
fn entry_0_is_checked_against_the_pin() {
    let dir = tempfile::tempdir().unwrap();
    let example = example_files(dir.path());
    let [manifest, mandate, _] = &example.entries;
    let run = |entry: &str, out: &str| {
        let url = serve(vec![entry.as_bytes().to_vec()]);
        let vkey = example.officer.verifier().to_string();
        code(&jejak(
            dir.path(),
            &[
                "mandate", "-p", "policy", "--url", &url, "--by", "root", "--role", "official",
                "--units", "31.001", "--key", &vkey, "--out", out,
            ],
        ))
    };
    // Another manifest, signed by the same root key, under the same origin.
    let forged = manifest.replace("2024", "2025");
    let kept = dir.path().join("policy.genesis");
    assert_eq!(run(&forged, "forged.note"), 16);
    assert_eq!(run(mandate, "mandate.note"), 16);
    assert!(!dir.path().join("forged.note").exists() && !kept.exists());
    // What is kept beside the policy is believed no more than what a server says.
    fs::write(&kept, &forged).unwrap();
    fs::write(dir.path().join("manifest.note"), mandate).unwrap();
    assert_eq!(run(manifest, "good.note"), 0);
    assert_eq!(fs::read_to_string(&kept).unwrap(), *manifest);
    // From now on nobody is asked.
    assert_eq!(run(&forged, "again.note"), 0);
    let [good, again] = ["good.note", "again.note"].map(|name| fs::read(dir.path().join(name)));
    assert_eq!(good.unwrap(), again.unwrap());
}

// SPEC [B3]
#[test]
fn a_client_trusts_its_own_leaf_hashes() {
    let example = Example::new();
    let policy = Policy::parse(&example.policy).unwrap();
    let zero = leaf_hash(b"");
    let answer = |leaves: [_; 2], hash: String| {
        let item = |at: usize| {
            let leaf = leaves[at];
            json!({"flags": [], "index": at + 1, "leaf": leaf, "status": "new"})
        };
        let note = example.unsealed.note();
        let last = json!({"checkpoint": note, "hashes": [hash], "indexes": [1, 2]});
        format!("{}\n{}\n{last}\n", item(0), item(1)).into_bytes()
    };
    let [hash, one, two, _] = example.leaves;
    let send = |entries: [&String; 2], body: Vec<u8>| {
        let fetch = Fetch::new(&serve(vec![body]), &FetchLimits::default()).unwrap();
        submit_batch(&fetch, &policy, &entries, Duration::from_secs(5))
    };
    let [manifest, mandate, tally] = &example.entries;
    // What the server says about leaves is not looked at.
    let sent = send([mandate, tally], answer([zero, zero], hash.to_base64())).unwrap();
    assert_eq!(sent.leaves, [(1, one), (2, two)]);
    // A proof for other entries than those sent is refused, however true it is.
    let sent = send([mandate, manifest], answer([one, two], hash.to_base64()));
    assert!(matches!(sent, Err(SubmitError::Batch)), "{sent:?}");
    let sent = send([mandate, tally], answer([one, two], zero.to_base64()));
    assert!(matches!(sent, Err(SubmitError::Batch)), "{sent:?}");
}

/// Where output cannot go, a command says so, or has nothing to say: it never panics.
#[test]
fn output_that_goes_nowhere_is_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let units = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/units.csv");
    let init = ["init", "log", "--origin", "log.example/2024", "--units", units];
    let ended = jejak(dir.path(), &[&init[..], &["--contest", "ppwp=01,02"]].concat());
    assert_eq!(code(&ended), 0);
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let closed = || {
        let mut child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let pipe = child.stdin.take().unwrap();
        child.wait().unwrap();
        Stdio::from(pipe)
    };
    let cases: [(&[&str], [i32; 2]); 5] = [
        (&["completions", "zsh"], [1, 0]),
        (&["--help"], [0, 0]),
        (&["verify", "log/policy"], [1, 0]),
        (&["verify", units], [1, 1]),
        (&["frobnicate"], [2, 2]),
    ];
    for (arguments, exits) in cases {
        for (to, exit) in [full(), closed()].into_iter().zip(exits) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_jejak"));
            let ended = command.args(arguments).current_dir(dir.path()).stdout(to).output();
            let ended = ended.unwrap();
            let errors = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(code(&ended), exit, "{arguments:?}: {errors}");
            assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_jejak"));
        command.args(arguments).current_dir(dir.path()).stdout(full()).stderr(full());
        assert_ne!(command.status().unwrap().code(), Some(101), "{arguments:?}");
    }
    // A server goes on when its logs cannot be written.
    let mut server = Command::new(env!("CARGO_BIN_EXE_jejak"))
        .args(["--json", "serve", "log", "--listen", "127.0.0.1:0"])
        .env("RUST_LOG", "trace")
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(full())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let url = line["url"].as_str().unwrap();
    let monitor = ["monitor", "-p", "log/policy", "--url", url, "--state", "watch", "--once"];
    assert_eq!(code(&jejak(dir.path(), &monitor)), 0);
    let kill = Command::new("kill").arg(server.id().to_string()).status();
    assert!(kill.unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
