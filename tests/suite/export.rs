//! A static copy is the whole log, and any web server serves it as it is.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use jejak::{
    audit::{self, ExportError, Exported, Report, Severity, Source},
    client::{Fetch, FetchLimits},
    store::Directory,
};
use tempfile::TempDir;

use crate::{
    audit_log::{Election, Numbers, SEGMENTS, Shape, TRIMMED, WHOLE_JOURNAL},
    program::skipped,
};

const SEED: u64 = 20_190_417;

/// A log on disk and a place for its copy.
struct Place {
    election: Election,
    dir: TempDir,
}

impl Place {
    fn new(size: u64, shape: Shape) -> Self {
        let (election, dir) = (Election::new(size), tempfile::tempdir().unwrap());
        election.write(&dir.path().join("d"), shape);
        Self { election, dir }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn export(&self) -> Result<Exported, ExportError> {
        let source = Source::directory(&self.dir.path().join("d")).unwrap();
        let Election { policy, policy_text, .. } = &self.election;
        fs::create_dir_all(self.out()).unwrap();
        audit::export(&source, policy, policy_text, &Directory::open(&self.out()), &|_, _| {})
    }

    fn check(&self) -> Report {
        let source = Source::directory(&self.out()).unwrap();
        audit::check(&source, &self.election.policy, &|_, _| {}).unwrap()
    }

    fn check_url(&self, base: &str) -> Report {
        let fetch = Fetch::new(base, &FetchLimits::default()).unwrap();
        audit::check(&Source::url(fetch), &self.election.policy, &|_, _| {}).unwrap()
    }

    fn paths(&self) -> Vec<String> {
        Directory::open(&self.out()).paths().unwrap()
    }
}

fn names(report: &Report) -> Vec<String> {
    let mut names: Vec<String> = report.findings.iter().map(|f| f.file.clone()).collect();
    names.dedup();
    names
}

#[test]
fn a_copy_holds_exactly_the_files_of_its_size() {
    for size in [1, 255, 256, 257, 700, 65_536, 65_537] {
        let place = Place::new(size, if size % 2 == 0 { SEGMENTS } else { TRIMMED });
        let exported = place.export().unwrap();
        assert!(exported.report.is_clean() && exported.report.findings.is_empty());
        let mut want: Vec<String> = Vec::new();
        for (path, bytes) in place.election.tree(size).files(&place.election.entries) {
            assert_eq!(fs::read(place.out().join(&path)).unwrap(), bytes, "{path} at {size}");
            want.push(path);
        }
        for bytes in [&place.election.units, &place.election.contests] {
            want.push(format!("register/{}", jejak_proofs::merkle::sha256(bytes)));
        }
        want.extend(["checkpoint".to_owned(), "log.json".to_owned()]);
        want.sort();
        assert_eq!(place.paths(), want, "size {size}");
        assert_eq!(exported.written, want.len() as u64);
    }
}

#[test]
fn run_again_it_writes_what_is_new_and_heals_what_is_damaged() {
    let place = Place::new(700, WHOLE_JOURNAL);
    place.export().unwrap();
    let files = place.paths().len() as u64;
    let again = place.export().unwrap();
    assert_eq!((again.written, again.kept, again.removed), (0, files, 0));

    fs::write(place.out().join("tile/0/001"), b"rot").unwrap();
    fs::remove_file(place.out().join("log.json")).unwrap();
    assert_eq!(names(&place.check()), ["log.json", "tile/0/001"]);
    let healed = place.export().unwrap();
    assert_eq!((healed.written, healed.kept), (2, files - 2));
    assert!(place.check().findings.is_empty());

    // The log grows: the partial files of the old size stay while no full one replaces them.
    let grown = Place { election: Election::new(710), dir: place.dir };
    fs::remove_dir_all(grown.dir.path().join("d")).unwrap();
    grown.election.write(&grown.dir.path().join("d"), TRIMMED);
    let exported = grown.export().unwrap();
    assert_eq!(exported.removed, 0);
    assert!(grown.out().join("tile/0/002.p/188").exists());
    assert!(exported.report.findings.is_empty(), "{:?}", exported.report.findings);
    fs::write(grown.out().join("tile/0/002.p/188"), [7; 188 * 32]).unwrap();
    assert_eq!(names(&grown.check()), ["tile/0/002.p/188"], "an old partial file is checked too");

    let full = Place { election: Election::new(800), dir: grown.dir };
    fs::remove_dir_all(full.dir.path().join("d")).unwrap();
    full.election.write(&full.dir.path().join("d"), WHOLE_JOURNAL);
    let exported = full.export().unwrap();
    assert_eq!(exported.removed, 4, "tiles and bundles of width 188 and 198");
    assert!(exported.report.findings.is_empty());
    assert!(!full.out().join("tile/0/002.p/188").exists());
}

#[test]
fn nothing_is_written_from_a_damaged_log_or_over_something_else() {
    let place = Place::new(700, TRIMMED);
    place.export().unwrap();
    let before: Vec<Vec<u8>> =
        place.paths().iter().map(|path| fs::read(place.out().join(path)).unwrap()).collect();
    let tile = place.dir.path().join("d/log/tile/entries/001");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[1_000] ^= 4;
    fs::write(&tile, &bytes).unwrap();
    match place.export() {
        Err(ExportError::Damaged(findings)) => {
            assert_eq!(findings[0].file, "log/tile/entries/001");
        }
        other => panic!("{other:?}"),
    }
    bytes[1_000] ^= 4;
    fs::write(&tile, &bytes).unwrap();
    let journal = place.dir.path().join("d/log/journal");
    fs::rename(&journal, place.dir.path().join("aside")).unwrap();
    assert!(matches!(place.export(), Err(ExportError::Damaged(found)) if !found.is_empty()));
    fs::rename(place.dir.path().join("aside"), &journal).unwrap();
    let after: Vec<Vec<u8>> =
        place.paths().iter().map(|path| fs::read(place.out().join(path)).unwrap()).collect();
    assert_eq!(before, after);

    // A shorter log of the same key, and a directory that is no export.
    fs::remove_dir_all(place.dir.path().join("d")).unwrap();
    Election::new(600).write(&place.dir.path().join("d"), WHOLE_JOURNAL);
    assert!(matches!(place.export(), Err(ExportError::OtherHistory { size: 700 })));
    fs::remove_dir_all(place.out()).unwrap();
    fs::create_dir_all(place.out()).unwrap();
    fs::write(place.out().join("thesis.txt"), b"my only copy").unwrap();
    assert!(matches!(place.export(), Err(ExportError::NotAnExport)));
    assert_eq!(place.paths(), ["thesis.txt"]);
}

#[test]
fn a_log_that_grew_past_its_checkpoint_is_exported_at_the_checkpoint() {
    let place = Place::new(1_100, WHOLE_JOURNAL);
    let note = place.election.checkpoint(700);
    fs::write(place.dir.path().join("d/log/checkpoint"), note.note()).unwrap();
    let exported = place.export().unwrap();
    assert!(exported.report.findings.is_empty(), "{:?}", exported.report.findings);
    for (path, bytes) in place.election.tree(700).files(&place.election.entries) {
        assert_eq!(fs::read(place.out().join(&path)).unwrap(), bytes, "{path}");
    }
}

#[test]
fn damage_in_a_copy_is_found_on_disk_and_over_http() {
    println!("seed {SEED}");
    let place = Place::new(1_500, TRIMMED);
    place.export().unwrap();
    let server = Static::serve(&place.out());
    let clean = place.check_url(&server.base);
    assert!(clean.findings.is_empty(), "{:?}", clean.findings);
    assert_eq!((clean.size, clean.files), (1_500, 15));
    let files = place.paths();
    let mut numbers = Numbers(SEED);
    for round in 0..60 {
        let file = &files[numbers.below(files.len())];
        let path = place.out().join(file);
        let bytes = fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        match round % 3 {
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::write(&path, &bytes[..numbers.below(bytes.len())]).unwrap(),
            _ => {
                damaged[numbers.below(bytes.len())] ^= 1 << numbers.below(8);
                fs::write(&path, damaged).unwrap();
            }
        }
        let report = place.check();
        assert_eq!(names(&report), [file.as_str()], "round {round}: {:?}", report.findings);
        // Nothing rests on a description: a mirror has none.
        let harmless = file == "log.json" && round % 3 == 0;
        let severity = if harmless { Severity::Info } else { Severity::Damage };
        assert!(report.findings.iter().all(|f| f.severity == severity));
        if file != "log.json" {
            let report = place.check_url(&server.base);
            assert_eq!(names(&report), [file.as_str()], "round {round}, over HTTP");
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(place.check().findings.is_empty());
}

#[test]
fn nginx_serves_a_copy_as_it_is() {
    if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
        skipped("nginx is missing");
        return;
    }
    let place = Place::new(700, TRIMMED);
    place.export().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = place.dir.path().display();
    // Workers of root's nginx are another user, who cannot look into a temporary directory.
    let user = if is_root() { "user root;" } else { "" };
    let config = format!(
        "{user} daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;
        events {{}}
        http {{ access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
        fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
        server {{ listen 127.0.0.1:{port}; root {home}; }} }}"
    );
    fs::write(place.dir.path().join("nginx.conf"), config).unwrap();
    let mut nginx = Running(
        Command::new("nginx")
            .arg("-c")
            .arg(place.dir.path().join("nginx.conf"))
            .arg("-e")
            .arg(place.dir.path().join("error.log"))
            .spawn()
            .unwrap(),
    );
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        assert!(nginx.0.try_wait().unwrap().is_none(), "nginx ended");
        thread::sleep(Duration::from_millis(50));
    }
    let base = format!("http://127.0.0.1:{port}/out");
    let report = place.check_url(&base);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.size, report.files), (700, 9));
    fs::remove_file(place.out().join("tile/entries/001")).unwrap();
    assert_eq!(names(&place.check_url(&base)), ["tile/entries/001"]);
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A process that ends with the test: its workers end with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // TERM, so that the master takes its workers along.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// The smallest web server: GET, files below one directory, one request a connection.
pub struct Static {
    pub base: String,
}

impl Static {
    pub fn serve(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let root = root.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                thread::spawn(move || answer(stream, &root));
            }
        });
        Self { base }
    }
}

fn answer(mut stream: TcpStream, root: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.find(String::is_empty);
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    assert!(!path.contains(".."), "no client of ours asks for {path}");
    let (status, body) = match fs::read(root.join(path)) {
        Ok(bytes) => ("200 OK", bytes),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
