//! The page: what a reader must know first, the pictures, then every finding with what proves it.

use std::fmt::Write as _;

use jejak_proofs::{
    merkle::TreeHead,
    tally::{Severity, counter},
};

use super::{
    escape,
    gather::{Gathered, OfRule, ROWS_MAX, SPANS},
    grouped,
    picture::{self, Bar},
};
use crate::monitor::{
    finding::{Finding, Rule, severity_word},
    summary::{ContestSummary, RegionSummary},
};

/// Contests that are shown with pictures and tables.
const CONTESTS_MAX: usize = 12;

/// Regions in one table.
const REGIONS_MAX: usize = 200;

/// Sums of a contest that are shown: all of a ticket contest, the first of a party list.
const SUMS_MAX: usize = 40;

const STYLE: &str = include_str!("style.css");

/// The log that the page is about.
pub struct Log<'a> {
    pub origin: &'a str,
    pub audited: u64,
    pub head: TreeHead,
    /// The signed head.
    pub checkpoint: Option<&'a str>,
}

/// The whole page.
pub fn page(log: &Log<'_>, contests: &[ContestSummary], gathered: &Gathered) -> String {
    let origin = escape(log.origin);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\">\n\
         <title>{origin}: audited to entry {}, root {}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n<header>\n<p class=\"kicker\">Audit of a transparency log</p>\n\
         <h1>{origin}</h1>\n<p>{} of {} entries audited; the root hash over all of them is \
         <code>{}</code></p>\n</header>\n",
        grouped(log.audited),
        log.head.root,
        grouped(log.audited),
        grouped(log.head.size),
        log.head.root,
    );
    verdict(&mut html, gathered);
    html.push_str(
        "<p class=\"law\">This is transparency evidence, not the official result. Sums that \
         differ show where somebody owes an explanation; they do not say who is right.</p>\n",
    );
    let spoken: Vec<_> = contests.iter().filter(|contest| contest.spoken_of()).collect();
    for summary in spoken.iter().take(CONTESTS_MAX) {
        contest(&mut html, summary);
    }
    if spoken.len() > CONTESTS_MAX {
        let more = spoken.len() - CONTESTS_MAX;
        let _ = writeln!(html, "<p class=\"note\">and {more} contests more</p>");
    }
    revisions(&mut html, gathered);
    findings(&mut html, gathered);
    proof(&mut html, log);
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

/// The sentence that a reader must not miss.
fn verdict(html: &mut String, gathered: &Gathered) {
    let of = |severity: Severity| {
        let rules = gathered.rules.iter().filter(|(rule, _)| rule.severity() == severity);
        rules.map(|(_, of_rule)| of_rule.count).sum::<u64>()
    };
    let (critical, high) = (of(Severity::Critical), of(Severity::High));
    let (class, head) = match (critical, high) {
        (0, 0) => ("calm", "Nothing was found that needs an explanation".to_owned()),
        (0, high) => ("high", format!("{} findings need an explanation", grouped(high))),
        (critical, _) => {
            ("critical", format!("{} critical: the log broke its word", grouped(critical)))
        }
    };
    let text = match critical {
        0 => {
            "Every checkpoint, entry and signature was verified, and nothing shows that the log \
             broke its own rules."
        }
        _ => {
            "What was shown as the log breaks rules that it is bound by. An evidence file named \
             below convicts by itself; anyone who has the entries can repeat the other checks."
        }
    };
    let _ =
        writeln!(html, "<section class=\"verdict {class}\"><h2>{head}</h2><p>{text}</p></section>");
}

fn contest(html: &mut String, summary: &ContestSummary) {
    let whole = &summary.whole;
    let _ = writeln!(html, "<section>\n<h2>Contest {}</h2>", escape(summary.contest.as_str()));
    let cards = [
        ("stations reported", whole.reported, format!("{} of all", percent(whole))),
        ("without any entry", whole.silent, format!("of {} stations", grouped(whole.stations))),
        ("corrected", summary.counter(counter::CORRECTED), "the head is a revision".to_owned()),
        ("disputed", summary.counter(counter::DISPUTED), "a counter-tally differs".to_owned()),
        ("forms that break a rule", whole.flagged, "A1, A2, A6 or A7".to_owned()),
        ("stations that differ", whole.differing, "official and counter-tally (X1)".to_owned()),
        (
            "recaps that do not follow",
            whole.misdeclared,
            format!("of {} (G1)", grouped(summary.declared)),
        ),
    ];
    html.push_str("<div class=\"cards\">");
    for (name, number, note) in cards {
        let _ = write!(
            html,
            "<div><b>{}</b><span>{name}</span><small>{note}</small></div>",
            grouped(number)
        );
    }
    html.push_str("</div>\n<h3>What the recap sums up to</h3>\n<table class=\"sums\"><tr>");
    let sums: Vec<_> = summary.recap().take(SUMS_MAX).collect();
    for (field, _) in &sums {
        let _ = write!(html, "<th>{}</th>", escape(field));
    }
    html.push_str("</tr><tr>");
    for (_, sum) in &sums {
        let _ = write!(html, "<td>{}</td>", grouped(*sum));
    }
    html.push_str("</tr></table>\n");
    pictures(html, &summary.regions);
    regions(html, summary);
    html.push_str("</section>\n");
}

fn percent(row: &RegionSummary) -> String {
    format!("{}.{} %", row.coverage() / 10, row.coverage() % 10)
}

fn label(row: &RegionSummary) -> String {
    if row.name.is_empty() { row.unit.clone() } else { row.name.clone() }
}

fn pictures(html: &mut String, regions: &[RegionSummary]) {
    let mut differing: Vec<&RegionSummary> =
        regions.iter().filter(|row| row.differing + row.misdeclared > 0).collect();
    differing.sort_by_key(|row| std::cmp::Reverse(row.differing + row.misdeclared));
    let full = differing.first().map_or(0, |row| row.differing + row.misdeclared);
    if !differing.is_empty() {
        html.push_str(
            "<h3>Where numbers contradict each other</h3>\n<p><i class=\"differs\"></i> stations \
             whose official tally and a counter-tally differ \
             <i class=\"declared\"></i> declared recaps that do not follow from the forms</p>\n",
        );
        let bar = |row: &&RegionSummary| Bar {
            label: label(row),
            text: format!("{} + {}", grouped(row.differing), grouped(row.misdeclared)),
            parts: vec![("differs", row.differing), ("declared", row.misdeclared)],
        };
        let bars: Vec<Bar> = differing.iter().map(bar).collect();
        html.push_str(&picture::bars("differences by region", &bars, full));
    }
    if !regions.is_empty() {
        html.push_str(
            "\n<h3>How far the count is</h3>\n<p><i class=\"covered\"></i> stations with an \
             official tally</p>\n",
        );
        let bar = |row: &RegionSummary| Bar {
            label: label(row),
            text: format!("{} of {}", percent(row), grouped(row.stations)),
            parts: vec![("covered", row.coverage())],
        };
        let bars: Vec<Bar> = regions.iter().map(bar).collect();
        html.push_str(&picture::bars("coverage by region", &bars, 1_000));
    }
}

fn regions(html: &mut String, summary: &ContestSummary) {
    html.push_str(
        "\n<details><summary>Every region in numbers</summary>\n<div class=\"wide\"><table>\
         <tr><th>unit</th><th>name</th><th>stations</th><th>reported</th><th>%</th>\
         <th>no entry</th><th>break a rule</th><th>X1</th><th>G1</th></tr>\n",
    );
    for row in summary.regions.iter().take(REGIONS_MAX).chain([&summary.whole]) {
        let numbers = [row.silent, row.flagged, row.differing, row.misdeclared].map(grouped);
        let _ = writeln!(
            html,
            "<tr><td><code>{}</code></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&row.unit),
            escape(&row.name),
            grouped(row.stations),
            grouped(row.reported),
            percent(row),
            numbers.join("</td><td class=\"n\">")
        );
    }
    html.push_str("</table></div>\n");
    if summary.regions.len() > REGIONS_MAX {
        let more = summary.regions.len() - REGIONS_MAX;
        let _ = writeln!(html, "<p class=\"note\">and {more} regions more</p>");
    }
    html.push_str("</details>\n");
}

fn revisions(html: &mut String, gathered: &Gathered) {
    let all: u64 = gathered.revisions.iter().sum();
    if all == 0 {
        return;
    }
    let _ = writeln!(
        html,
        "<section>\n<h2>Revisions</h2>\n<p>{} numbers were changed or taken back after they had \
         been logged; every one keeps its old value in the log, with who changed it and why. The \
         log knows no clock: the picture goes from its first entry to its last.</p>",
        grouped(all)
    );
    let column = |(span, count): (usize, &u64)| {
        let (from, to) = (gathered.span_start(span), gathered.span_start(span + 1));
        let text = format!("{count} revisions, entries {} to {}", grouped(from), grouped(to));
        (*count, text)
    };
    let columns: Vec<_> = gathered.revisions.iter().enumerate().map(column).collect();
    let last = format!("entry {}", grouped(gathered.span_start(SPANS)));
    html.push_str(&picture::columns("revisions over the log", &columns, ["entry 0", &last]));
    effects(html, gathered);
    html.push_str("</section>\n");
}

fn effects(html: &mut String, gathered: &Gathered) {
    if gathered.effects.is_empty() {
        return;
    }
    html.push_str(
        "\n<h3>What they add up to</h3>\n<div class=\"wide\"><table>\
         <tr><th>contest</th><th>region</th><th>change of its sums</th></tr>\n",
    );
    for ((contest, region), sums) in gathered.effects.iter().take(REGIONS_MAX) {
        let net = sums.iter().filter(|(_, net)| **net != 0);
        let net: Vec<String> = net.map(|(field, net)| format!("{field} {net:+}")).collect();
        let net = if net.is_empty() { "none".to_owned() } else { net.join(", ") };
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
            escape(contest),
            escape(region),
            escape(&net)
        );
    }
    html.push_str("</table></div>\n");
    if gathered.effects.len() > REGIONS_MAX {
        let more = gathered.effects.len() - REGIONS_MAX;
        let _ = writeln!(html, "<p class=\"note\">and {more} rows more</p>");
    }
}

fn findings(html: &mut String, gathered: &Gathered) {
    html.push_str("<section>\n<h2>Findings</h2>\n");
    if gathered.rules.is_empty() {
        html.push_str("<p>None.</p>\n");
    }
    let mut rules: Vec<(&Rule, &OfRule)> = gathered.rules.iter().collect();
    rules.sort_by_key(|(rule, _)| (std::cmp::Reverse(rule.severity()), **rule));
    for (rule, of_rule) in rules {
        let severity = severity_word(rule.severity());
        // Where it is proof of misconduct nobody should have to look for it.
        let open = if rule.severity() == Severity::Critical { " open" } else { "" };
        let _ = writeln!(
            html,
            "<details{open}><summary><b class=\"{severity}\">{} {severity}</b> {} \
             <span class=\"n\">{}</span></summary>\n\
             <div class=\"wide\"><table class=\"findings\">\
             <tr><th>unit</th><th>what</th>\
             <th>entries that prove it: index and leaf hash</th></tr>",
            rule.id(),
            escape(&rule.sentence().replace('`', "")),
            grouped(of_rule.count)
        );
        of_rule.rows.iter().for_each(|finding| row(html, finding));
        html.push_str("</table></div>\n");
        if of_rule.count > ROWS_MAX as u64 {
            let more = grouped(of_rule.count - ROWS_MAX as u64);
            let _ = writeln!(
                html,
                "<p class=\"note\">and {more} more: \
                 <code>jejak monitor --json</code> prints all</p>"
            );
        }
        html.push_str("</details>\n");
    }
    html.push_str("</section>\n");
}

fn row(html: &mut String, finding: &Finding) {
    let unit = finding.unit.as_deref().unwrap_or("the log");
    let contest = finding.contest.as_deref().unwrap_or_default();
    let _ = write!(
        html,
        "<tr><td><code>{}</code><br><small>{}</small></td><td>{}",
        escape(unit),
        escape(contest),
        escape(&finding.detail)
    );
    if let Some(evidence) = &finding.evidence {
        let _ = write!(html, "<br>evidence: <code>{}</code>", escape(evidence));
    }
    html.push_str("</td><td>");
    for (entry, place) in finding.entries().zip(0..) {
        let newline = if place == 0 { "" } else { "<br>" };
        let _ = write!(html, "{newline}{} <code>{}</code>", entry.index, entry.leaf);
    }
    html.push_str("</td></tr>\n");
}

fn proof(html: &mut String, log: &Log<'_>) {
    html.push_str(
        "<section>\n<h2>Check it yourself</h2>\n<p>Nobody has to trust this page. Whoever has the \
         policy file of the election can repeat the audit with <code>jejak monitor -p policy \
         --state DIR --once</code>, and read each entry named above under \
         <code>/entry/&lt;index&gt;</code>: its leaf hash is SHA-256 over a zero byte and the \
         entry.</p>\n",
    );
    match log.checkpoint {
        Some(note) => {
            let _ = writeln!(
                html,
                "<p>This is the checkpoint that the log signed, and on which all of this \
                 rests:</p>\n<pre>{}</pre>",
                escape(note)
            );
        }
        None => html.push_str("<p>No checkpoint of the log could be followed.</p>\n"),
    }
    html.push_str("</section>\n");
}
