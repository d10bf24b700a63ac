//! The report for people: everything is in it, and nothing in it is more than text.

use std::fs;

use serde_json::json;

use super::{
    fake::{Desk, Fake},
    honest::honest,
    wide::{STATIONS, Wide, form, station},
};

/// The page that a run leaves, and how the run ended.
fn page(log: &[Vec<u8>]) -> (String, i32) {
    let (desk, fake) = (Desk::of(log), Fake::serve(log));
    let path = desk.dir.path().join("report.html");
    let run = desk.run(&fake, &["--report", path.to_str().unwrap()]);
    (fs::read_to_string(path).unwrap(), run.exit)
}

/// What would make a page more than something to read.
fn is_inert(html: &str) {
    for wrong in ["<script", "<link", "<img", "<iframe", "src=", "href=", "http:", "https:", "url("]
    {
        assert!(!html.contains(wrong), "{wrong}");
    }
    for (at, _) in html.match_indices(" on") {
        let word = &html[at + 3..];
        let letters = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(0);
        assert!(!word[letters..].starts_with('='), "an event handler at {at}");
    }
}

#[test]
fn a_report_shows_what_was_found_and_what_proves_it() {
    let mut log = Wide::new();
    let mut first = 0;
    for number in 0..STATIONS {
        first = log.tally("official/ID", &station("11.1", number), (20, 30), json!({}));
        log.tally("observer/ID", &station("11.1", number), (20, 31), json!({}));
    }
    log.tally("official/ID", "11", (1, 1), json!({"form": "d-hasil"}));
    log.revise("official/ID", (first, 0), "11.1.004", &form((24, 30)));
    log.seal();
    let (html, exit) = page(&log.entries);
    assert_eq!(exit, 0);
    is_inert(&html);
    let checkpoint = String::from_utf8(super::fake::files(&log.entries)["checkpoint"].clone());
    let leaf = log.proof(first)["leaf"].as_str().unwrap().to_owned();
    let escaped = checkpoint.unwrap();
    for part in [
        "log.example/test",
        "North &lt;b&gt;&amp; Sons&lt;/b&gt;",
        "not the official result",
        "X1 high",
        "G1 high",
        "T1 high",
        "T2 high",
        "differences by region",
        "coverage by region",
        "revisions over the log",
        "votes.01 +4",
        &leaf,
        &escaped,
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<b>& Sons"));
    // Tags that were opened are closed.
    for tag in ["section", "table", "tr", "td", "details", "svg", "div", "p", "h2", "main"] {
        let opened =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn a_report_of_a_lie_begins_with_it() {
    let mut log = honest(&super::election::Clerk::new());
    log.push(b"<script>alert(1)</script>".to_vec());
    let (html, exit) = page(&log);
    assert_eq!(exit, 19);
    is_inert(&html);
    let verdict = html.find("verdict critical").expect("the verdict");
    assert!(verdict < html.find("<svg").unwrap());
    assert!(html.contains("<details open><summary><b class=\"critical\">S1 critical</b>"));
}

#[test]
fn a_log_that_cannot_be_followed_has_a_report_too() {
    let log = honest(&super::election::Clerk::new());
    let (desk, fake) = (Desk::of(&log), Fake::serve(&log[..500]));
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    fake.show(&log[..400]);
    let path = desk.dir.path().join("report.html");
    let run = desk.run(&fake, &["--report", path.to_str().unwrap()]);
    assert_eq!(run.exit, 16);
    let html = fs::read_to_string(path).unwrap();
    is_inert(&html);
    for part in ["verdict critical", "L1 critical", "500 of 500 entries", "Contest ppwp"] {
        assert!(html.contains(part), "{part}");
    }
}
