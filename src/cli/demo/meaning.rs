//! What an honest log makes visible: numbers that contradict each other, each found by the monitor
//! with the entries that prove it, and a citizen who checks one station.

use jejak_proofs::{
    merkle::{leaf_hash, sha256},
    tally::Unit,
};
use serde_json::{Value, json};

use super::{
    Outcome, WAIT,
    election::{self, Election, Station},
    stage::Stage,
};
use crate::cli::{
    exit::{Exit, Failure},
    files,
};

const POLICY: [&str; 2] = ["-p", "log/policy"];
const CONTEST: &str = "president";
/// Votes that change sides between the stations and the district.
const MOVED: u64 = 150;
/// Votes that somebody adds to a total on the page.
const ADDED: u64 = 1_000;

/// All of it, on the true log.
pub fn tell(stage: &mut Stage<'_>, election: &Election) -> Result<Vec<Outcome>, Failure> {
    Ok(vec![
        correct_form(stage, election.with_a_wrong_total())?,
        contradict_form(stage, election.misread())?,
        misdeclare_district(stage, election.sound_district())?,
        edit_page(stage, election.middle_province())?,
        check_station(stage, &election.stations[0])?,
    ])
}

/// What the monitor must find, and nothing else.
struct Planted<'a> {
    id: &'a str,
    unit: &'a str,
    /// The numbers, as findings have them.
    fields: Value,
    /// Leaf hashes of the entries that prove it.
    leaves: Vec<Value>,
}

impl Planted<'_> {
    fn is(&self, finding: &Value) -> bool {
        let entries = finding["entries"].as_array().map_or(&[][..], Vec::as_slice);
        let leaves: Vec<&Value> = entries.iter().map(|entry| &entry["leaf"]).collect();
        finding["id"] == self.id
            && finding["unit"] == self.unit
            && finding["fields"] == self.fields
            && leaves == self.leaves.iter().collect::<Vec<_>>()
    }

    /// It came to light if it is what was found, all of it, and whatever else proves it holds.
    fn outcome(&self, what: &'static str, found: &[Value], proof: &str, proven: bool) -> Outcome {
        let by = format!("{} of {}: {proof}", self.id, self.unit);
        let holds = matches!(found, [finding] if self.is(finding)) && proven;
        Outcome { what, word: "found", by, holds }
    }
}

fn correct_form(stage: &mut Stage<'_>, station: &Station) -> Result<Outcome, Failure> {
    let unit = station.unit.code.as_str();
    let Station { valid, invalid, total, .. } = station;
    let right = valid + invalid;
    stage.act(
        "A form is corrected, for all to see",
        &format!(
            "At station {unit} nobody added the invalid votes: {valid} valid, {invalid} invalid,\n\
             and {total} in all. The commission corrects that. Nothing is overwritten: a\n\
             correction is a new entry that names the one before it, a reason, and the hash of\n\
             the decision."
        ),
    );
    let decision = format!("Station {unit}: the total is {right}, not {total}.\n");
    stage.write("decision.txt", decision.as_bytes())?;
    let history = [&["history"][..], &POLICY, &[CONTEST, unit]].concat();
    let (_, before) = stage.keep(&history, "before.json")?;
    let logged = before.first().cloned().unwrap_or_default();
    let first = logged["leaf"].clone();
    let mut form = station.form();
    form["basis"] = logged["basis"].clone();
    form["total"] = json!(right);
    form["seq"] = json!(1);
    form["prev"] = first.clone();
    form["reason"] = json!("clerical");
    form["decision"] = json!(sha256(decision.as_bytes()));
    stage.write_json("corrected.json", &form)?;
    submit(stage, "commission.key", "corrected.json")?;
    stage.tell("The monitor notices, and names both entries:");
    let found = watch(stage, &[], "corrected.findings")?;
    stage.tell("Anyone can read all that this station ever said, and that nothing was left out:");
    stage.must(&history)?;
    let planted = Planted {
        id: "T1",
        unit,
        fields: json!([{"field": "total", "old": total, "new": right}]),
        leaves: vec![leaf(stage, "corrected.note")?, first],
    };
    Ok(planted.outcome("a form corrected", &found, "old and new, by whom and why", true))
}

fn contradict_form(stage: &mut Stage<'_>, station: &Station) -> Result<Outcome, Failure> {
    let unit = station.unit.code.as_str();
    stage.act(
        "Somebody who was there has another number",
        &format!(
            "At station {unit} somebody misread a digit, and the official numbers say so\n\
             ever since. An observer has a photograph of the paper. The log takes no side: it\n\
             keeps both counts, and calls the station disputed from now on."
        ),
    );
    mandate(stage, "log/keys/root", "observer", "00", "observer.key")?;
    let mut form = station.form();
    form["form"] = json!("c-salinan");
    form["basis"] = json!("witness_copy");
    let options = ["01", "02", "03"].into_iter().zip(station.votes.into_iter().zip(station.paper));
    let mut fields = Vec::new();
    for (option, (official, counter)) in options.filter(|(_, (typed, paper))| typed != paper) {
        form["votes"][option] = json!(counter);
        let field = format!("votes.{option}");
        fields.push(json!({"field": field, "official": official, "counter": counter}));
    }
    stage.write_json("counter.json", &form)?;
    submit(stage, "observer.key", "counter.json")?;
    stage.tell("The monitor puts both beside each other:");
    let found = watch(stage, &[], "counter.findings")?;
    let show = [&["recap", "show"][..], &POLICY, &[CONTEST, unit]].concat();
    let shown = stage.ask(&show, "disputed.json")?;
    let record = &shown["record"];
    let status = record["status"].as_str().unwrap_or("nothing");
    stage.tell(&format!("The status of {unit}, proven under the newest checkpoint, is {status}."));
    let planted = Planted {
        id: "X1",
        unit,
        fields: json!(fields),
        leaves: vec![record["head"]["leaf"].clone(), leaf(stage, "counter.note")?],
    };
    let disputed = status == "disputed";
    Ok(planted.outcome("a station with two counts", &found, "both entries", disputed))
}

fn misdeclare_district(stage: &mut Stage<'_>, district: &Unit) -> Result<Outcome, Failure> {
    let unit = district.code.as_str();
    stage.act(
        "A district's total does not follow from its stations",
        &format!(
            "The committee of {} declares its total. On the way from the stations\n\
             {MOVED} votes have moved from 03 to 01. The form adds up, so arithmetic alone does\n\
             not see it.",
            district.name
        ),
    );
    mandate(stage, "commission.key", "official", unit, "committee.key")?;
    let show = [&["recap", "show"][..], &POLICY, &[CONTEST, unit]].concat();
    let sums = &stage.ask(&show, "district.json")?["counters"];
    let sum = |field: &str| sums[field].as_u64().unwrap_or(0);
    let [first, second, third] =
        ["01", "02", "03"].map(|id| sums["votes"][id].as_u64().unwrap_or(0));
    let [lost, won] = [third.saturating_sub(MOVED), first + MOVED];
    let votes = [won, second, lost];
    let form = election::form(district, "d-hasil", votes, ["valid", "invalid", "total"].map(sum));
    stage.write_json("declared.json", &form)?;
    submit(stage, "committee.key", "declared.json")?;
    stage.tell("The monitor adds up the stations itself:");
    let found = watch(stage, &[], "declared.findings")?;
    stage.tell("What the stations add up to is proven, and fits in a file:");
    let proven = prove(stage, unit, "district")?;
    let proven = &proven["votes"];
    stage.tell(&format!("It proves {} votes for 01; the form declares {won}.", proven["01"]));
    let planted = Planted {
        id: "G1",
        unit,
        fields: json!([
            {"field": "votes.01", "declared": won, "computed": first},
            {"field": "votes.03", "declared": lost, "computed": third},
        ]),
        leaves: vec![leaf(stage, "declared.note")?],
    };
    let same = proven == &sums["votes"];
    Ok(planted.outcome("a district that does not add up", &found, "district.recap-proof", same))
}

fn edit_page(stage: &mut Stage<'_>, province: &Unit) -> Result<Outcome, Failure> {
    let unit = province.code.as_str();
    stage.act(
        "A published total is edited",
        &format!(
            "The authority puts its totals on a page, made from the recap. Somebody adds\n\
             {ADDED} votes for 02 in the province {}, on the page only.",
            province.name
        ),
    );
    let export = ["recap", "export", CONTEST, "-o", "recap.csv"];
    stage.must(&[&export[..], &POLICY].concat())?;
    let page = Page::of(&files::read(&stage.path("recap.csv"))?, unit).ok_or_else(|| {
        Failure::new(Exit::Failure, "the demo stops: recap.csv has not what a page shows")
    })?;
    stage.write("published.csv", page.text.as_bytes())?;
    stage.tell("The monitor holds the page against the recap, and writes a report with pictures:");
    let page_of = ["--published", "published.csv", "--contest", CONTEST, "--report", "report.html"];
    let found = watch(stage, &page_of, "published.findings")?;
    stage.tell("Whoever has this file can hold it against the page:");
    let proven = prove(stage, unit, "province")?;
    let (true_sum, published) = (page.true_sum, page.true_sum + ADDED);
    let proven = &proven["votes"]["02"];
    stage.tell(&format!("It proves {proven} votes for 02; the page says {published}."));
    let planted = Planted {
        id: "G4",
        unit,
        fields: json!([{"field": "votes.02", "published": published, "computed": true_sum}]),
        leaves: Vec::new(),
    };
    let same = *proven == true_sum;
    Ok(planted.outcome("an edited total on a page", &found, "province.recap-proof", same))
}

/// A page of the totals of nation and provinces, one of which was edited.
struct Page {
    text: String,
    /// The number that was there before.
    true_sum: u64,
}

impl Page {
    const COLUMNS: [&str; 7] =
        ["unit", "votes.01", "votes.02", "votes.03", "valid", "invalid", "total"];

    /// The page out of an exported recap, edited in the row of a province.
    fn of(recap: &[u8], province: &str) -> Option<Self> {
        let mut rows = csv::Reader::from_reader(recap);
        let header = rows.headers().ok()?.clone();
        let column = |name: &str| header.iter().position(|column| column == name);
        let kind = column("kind")?;
        let columns = Self::COLUMNS.iter().map(|name| column(name)).collect::<Option<Vec<_>>>()?;
        let mut text = Self::COLUMNS.join(",") + "\n";
        let mut true_sum = None;
        for row in rows.into_records() {
            let row = row.ok()?;
            if !matches!(row.get(kind)?, "nation" | "province") {
                continue;
            }
            let mut cells: Vec<String> = columns.iter().map(|at| row[*at].to_owned()).collect();
            if cells[0] == province {
                let sum: u64 = cells[2].parse().ok()?;
                true_sum = Some(sum);
                cells[2] = (sum + ADDED).to_string();
            }
            text += &(cells.join(",") + "\n");
        }
        Some(Self { text, true_sum: true_sum? })
    }
}

fn check_station(stage: &mut Stage<'_>, station: &Station) -> Result<Outcome, Failure> {
    let unit = station.unit.code.as_str();
    stage.act(
        "A citizen checks one station",
        &format!(
            "A citizen of {unit} asks for one file. After that, neither the log nor\n\
             anybody's word is needed: it shows the numbers of the station inside every total\n\
             above it."
        ),
    );
    let file = "citizen.recap-proof";
    stage.must(&[&["recap", "prove"][..], &POLICY, &[CONTEST, unit, "-o", file]].concat())?;
    let verified = stage.run(&[&["verify", file][..], &POLICY].concat())?;
    let by = format!("{file}: {unit} is inside every total above it");
    Ok(Outcome { what: "a citizen's station", word: "verified", by, holds: verified == 0 })
}

fn mandate(stage: &Stage<'_>, by: &str, role: &str, unit: &str, key: &str) -> Result<(), Failure> {
    let more = ["--by", by, "--role", role, "--units", unit, "--new", key];
    stage.must(&[&["mandate"][..], &POLICY, &more].concat())
}

fn submit(stage: &Stage<'_>, key: &str, form: &str) -> Result<(), Failure> {
    stage.must(&[&["submit"][..], &POLICY, &["--witnessed", WAIT, "-k", key, form]].concat())
}

/// Lets the monitor look again, tells what it found that is new, and gives it.
fn watch(stage: &Stage<'_>, more: &[&str], file: &str) -> Result<Vec<Value>, Failure> {
    let monitor = [&["monitor"][..], &POLICY, &["--state", "watch", "--once"], more].concat();
    let (status, mut lines) = stage.keep(&monitor, file)?;
    lines.retain(|line| line["id"].is_string());
    stage.tell(&format!("New in {file}:"));
    lines.iter().for_each(|finding| stage.finding(finding));
    // One that accuses the log is no success, whatever else was found.
    Ok(if status == 0 { lines } else { Vec::new() })
}

/// Keeps the recap proof of a region, and gives the sums that it proves offline.
fn prove(stage: &Stage<'_>, unit: &str, name: &str) -> Result<Value, Failure> {
    let file = format!("{name}.recap-proof");
    stage.must(&[&["recap", "prove"][..], &POLICY, &[CONTEST, unit, "-o", &file]].concat())?;
    let proven =
        stage.ask(&[&["verify", &file][..], &POLICY].concat(), &format!("{name}.proven"))?;
    Ok(proven["counters"].clone())
}

/// The leaf hash of a signed entry of the story.
fn leaf(stage: &Stage<'_>, note: &str) -> Result<Value, Failure> {
    Ok(json!(leaf_hash(&files::read(&stage.path(note))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_what_was_planted_counts_as_found() {
        let fields = json!([{"field": "total", "old": 124, "new": 131}]);
        let leaves = vec![json!("aa"), json!("bb")];
        let planted = Planted { id: "T1", unit: "0101", fields: fields.clone(), leaves };
        let finding = |id, unit, fields: &Value, leaves: [&str; 2]| {
            let entries = leaves.map(|leaf| json!({"index": 7, "leaf": leaf}));
            json!({"id": id, "unit": unit, "fields": fields, "entries": entries})
        };
        let good = finding("T1", "0101", &fields, ["aa", "bb"]);
        let holds = |found: &[Value], proven| planted.outcome("x", found, "y", proven).holds;
        let twice = [good.clone(), good];
        assert!(holds(&twice[..1], true));
        assert!(!holds(&twice[..1], false));
        assert!(!holds(&[], true));
        assert!(!holds(&twice, true));
        let other = json!([{"field": "total", "old": 124, "new": 132}]);
        for wrong in [
            finding("T3", "0101", &fields, ["aa", "bb"]),
            finding("T1", "0102", &fields, ["aa", "bb"]),
            finding("T1", "0101", &other, ["aa", "bb"]),
            finding("T1", "0101", &fields, ["aa", "cc"]),
        ] {
            assert!(!holds(&[wrong], true));
        }
    }

    #[test]
    fn a_page_is_the_recap_but_for_one_number() {
        let header = "unit,kind,name,votes.01,votes.02,votes.03,valid,invalid,total,stations";
        let units = ["00,nation,\"A, B\"", "01,province,C", "0101,district,D"];
        let rows = units.map(|unit| format!("{unit},1,2,3,6,0,6,9\n")).concat();
        let recap = format!("{header}\n{rows}");
        let page = Page::of(recap.as_bytes(), "01").unwrap();
        let want = "unit,votes.01,votes.02,votes.03,valid,invalid,total\n\
                    00,1,2,3,6,0,6\n01,1,1002,3,6,0,6\n";
        assert_eq!((page.text.as_str(), page.true_sum), (want, 2));
        assert!(Page::of(recap.as_bytes(), "02").is_none());
        assert!(Page::of(recap.replace("kind", "sort").as_bytes(), "01").is_none());
    }
}
