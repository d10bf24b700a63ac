//! A contest in the format of NIST SP 1500-100, version 2 (JSON): units, one candidate contest and
//! its counts.

use std::io::{self, Write};

use jejak_proofs::tally::{Place as UnitPlace, Status, counter};
use serde_json::{Value, json};

use super::{counters::Counters, export::Export};
use crate::clock;

/// The contest has one vote for one option; more cannot be told from a register.
const VOTES_ALLOWED: u32 = 1;

/// The language of names is not in the register: undetermined (BCP 47).
const LANGUAGE: &str = "und";

/// Writes the report. Stations that reported nothing have no counts: absence is not zero.
pub fn write(export: &Export<'_>, out: &mut dyn Write) -> io::Result<()> {
    let about = report(export).to_string();
    write!(out, "{},\"GpUnit\":[", open(&about))?;
    for unit in export.places() {
        write!(out, "{}\n{}", comma(unit > 0), gp_unit(export, unit))?;
    }
    let election = election(export).to_string();
    write!(out, "\n],\"Election\":[{},\"BallotCounts\":[", open(&election))?;
    let mut first = true;
    for unit in counted(export) {
        write!(out, "{}\n{}", comma(!first), ballots(export, unit))?;
        first = false;
    }
    let contest = contest(export).to_string();
    write!(out, "\n],\"Contest\":[{},\"ContestSelection\":[", open(&contest))?;
    for (place, option) in export.recap.contest().options.iter().enumerate() {
        let selection = json!({
            "@id": format!("selection-{option}"),
            "@type": "ElectionResults.CandidateSelection",
            "CandidateIds": [format!("candidate-{option}")],
            "SequenceOrder": place + 1,
        });
        let selection = selection.to_string();
        write!(out, "{}\n{},\"VoteCounts\":[", comma(place > 0), open(&selection))?;
        let mut first = true;
        for unit in counted(export) {
            write!(out, "{}\n{}", comma(!first), votes(export, unit, place))?;
            first = false;
        }
        write!(out, "\n]}}")?;
    }
    writeln!(out, "\n]}}]}}]}}")
}

/// An object that is to get one more member.
fn open(object: &str) -> &str {
    object.strip_suffix('}').unwrap_or(object)
}

const fn comma(again: bool) -> &'static str {
    if again { "," } else { "" }
}

fn id(export: &Export<'_>, unit: UnitPlace) -> String {
    format!("unit-{}", export.recap.code(unit))
}

fn text(content: &str) -> Value {
    json!({
        "@type": "ElectionResults.InternationalizedText",
        "Text": [{
            "@type": "ElectionResults.LanguageString",
            "Content": content,
            "Language": LANGUAGE,
        }],
    })
}

/// Units with a count: regions, and the stations that reported.
fn counted<'a>(export: &'a Export<'_>) -> impl Iterator<Item = UnitPlace> + 'a {
    let absent = |unit: &UnitPlace| {
        export.recap.shape().is_station(*unit) && export.recap.record(*unit).status == Status::None
    };
    export.places().filter(move |unit| !absent(unit))
}

fn report(export: &Export<'_>) -> Value {
    let head = export.replayed.checkpoint.head();
    let origin = export.replayed.checkpoint.origin();
    let row = export.recap.counters(0);
    let top = Counters::new(&export.recap.contest().options, &row);
    let complete = top.fixed(counter::REPORTED) == top.fixed(counter::STATIONS);
    let now = clock::now_minute();
    json!({
        "@type": "ElectionResults.ElectionReport",
        "Format": "precinct-level",
        "GeneratedDate": now.replace('Z', ":00Z"),
        "Issuer": origin,
        "IssuerAbbreviation": export.election.manifest.election,
        "Notes": format!(
            "Transparency evidence, not the official result: computed from the entries of {origin} \
             under its sealed checkpoint of {} entries, root {}.",
            head.size, head.root
        ),
        "SequenceEnd": 1,
        "SequenceStart": 1,
        "Status": if complete { "unofficial-complete" } else { "unofficial-partial" },
        "VendorApplicationId": concat!("jejak ", env!("CARGO_PKG_VERSION")),
    })
}

fn gp_unit(export: &Export<'_>, unit: UnitPlace) -> Value {
    let row = export.recap.counters(unit);
    let counters = Counters::new(&export.recap.contest().options, &row);
    let shape = export.recap.shape();
    let mut object = json!({
        "@id": id(export, unit),
        "@type": "ElectionResults.ReportingUnit",
        "ExternalIdentifier": [{
            "@type": "ElectionResults.ExternalIdentifier",
            "OtherType": "jejak-unit",
            "Type": "other",
            "Value": export.recap.code(unit),
        }],
        "SubUnitsReported": counters.fixed(counter::REPORTED),
        "TotalSubUnits": counters.fixed(counter::STATIONS),
        "VotersRegistered": counters.fixed(counter::REGISTERED),
    });
    match shape.is_station(unit) {
        true => object["Type"] = json!("polling-place"),
        false => {
            object["Type"] = json!("other");
            object["OtherType"] = json!(export.kind(unit));
            let children: Vec<String> =
                shape.children(unit).map(|child| id(export, child)).collect();
            object["ComposingGpUnitIds"] = json!(children);
        }
    }
    if !export.name(unit).is_empty() {
        object["Name"] = text(export.name(unit));
    }
    object
}

fn election(export: &Export<'_>) -> Value {
    let [start, end] = &export.days;
    let candidate = |option: &jejak_proofs::tally::Id| {
        json!({
            "@id": format!("candidate-{option}"),
            "@type": "ElectionResults.Candidate",
            "BallotName": text(option.as_str()),
        })
    };
    json!({
        "@type": "ElectionResults.Election",
        "Candidate":
            export.recap.contest().options.iter().map(candidate).collect::<Vec<_>>(),
        "ElectionScopeId": id(export, 0),
        "EndDate": end,
        "Name": text(export.election.manifest.election.as_str()),
        "StartDate": start,
        "Type": "general",
    })
}

/// Total and invalid ballots, as far as the forms were readable.
fn ballots(export: &Export<'_>, unit: UnitPlace) -> Value {
    let row = export.recap.counters(unit);
    let counters = Counters::new(&export.recap.contest().options, &row);
    json!({
        "@type": "ElectionResults.BallotCounts",
        "BallotsCast": counters.fixed(counter::TOTAL),
        "BallotsRejected": counters.fixed(counter::INVALID),
        "GpUnitId": id(export, unit),
        "Type": "total",
    })
}

fn contest(export: &Export<'_>) -> Value {
    let contest = export.recap.contest();
    let row = export.recap.counters(0);
    let top = Counters::new(&contest.options, &row);
    let district = match &contest.scope[..] {
        [only] if export.recap.find(only.as_str()).is_some() => format!("unit-{only}"),
        // A report names one district: the unit that certainly holds them all.
        _ => id(export, 0),
    };
    json!({
        "@id": format!("contest-{}", contest.id),
        "@type": "ElectionResults.CandidateContest",
        "ElectionDistrictId": district,
        "Name": contest.id,
        "SubUnitsReported": top.fixed(counter::REPORTED),
        "TotalSubUnits": top.fixed(counter::STATIONS),
        "VotesAllowed": VOTES_ALLOWED,
    })
}

fn votes(export: &Export<'_>, unit: UnitPlace, option: usize) -> Value {
    json!({
        "@type": "ElectionResults.VoteCounts",
        "Count": export.recap.counters(unit)[option],
        "GpUnitId": id(export, unit),
        "Type": "total",
    })
}
