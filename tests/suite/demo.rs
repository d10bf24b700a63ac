//! The demo: every planted crime is convicted, or it fails.

use super::program::jejak;

#[test]
fn the_demo_convicts_every_crime_and_leaves_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let ended = jejak(dir.path(), &["demo", "--once", "--dir", "d"]).exit(0);
    assert_eq!(ended.stdout.matches("convicted by").count(), 4, "{}", ended.stdout);
    for file in ["form.note", "form.tlog-proof", "form.evidence", "log/policy"] {
        assert!(dir.path().join("d").join(file).exists(), "{file}");
    }
    // Its evidence convicts in other hands too; with one bit changed it does not.
    let evidence = dir.path().join("d/form.evidence");
    jejak(dir.path(), &["verify", "-p", "d/log/policy", "d/form.evidence"]).exit(0);
    let mut bytes = std::fs::read(&evidence).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&evidence, bytes).unwrap();
    let ended = jejak(dir.path(), &["verify", "-p", "d/log/policy", "d/form.evidence"]);
    assert!(matches!(ended.status, 1 | 13), "{} {}", ended.status, ended.stderr);
}

#[test]
fn the_demo_replaces_only_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/thesis.tex"), "years of work").unwrap();
    jejak(dir.path(), &["demo", "--once", "--dir", "d"]).exit(78);
    assert!(dir.path().join("d/thesis.tex").exists());
}
