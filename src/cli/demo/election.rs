//! A synthetic election: a thousand stations, invented places, and the errors of real forms.

use std::fmt::Write as _;

use jejak_proofs::tally::{Sexes, Unit};
use serde::Serialize;
use serde_json::{Value, json};

/// Stations of the demo.
pub const STATIONS: usize = 1_000;

const PROVINCES: [&str; 5] = ["UTARA", "SELATAN", "TIMUR", "BARAT", "TENGAH"];
const STATIONS_PER_VILLAGE: usize = 10;
const VILLAGES_PER_DISTRICT: usize = 5;
const DISTRICTS_PER_PROVINCE: usize = 4;

/// One station and what its form says.
pub struct Station {
    pub unit: Unit,
    /// As they were typed in.
    pub votes: [u32; 3],
    /// As they stand on the paper.
    pub paper: [u32; 3],
    pub valid: u32,
    pub invalid: u32,
    pub total: u32,
}

/// The election: all units, and the form of each station.
pub struct Election {
    pub regions: Vec<Unit>,
    pub stations: Vec<Station>,
}

/// A small generator of numbers, so that each seed is one election, everywhere and for ever.
struct Dice(u64);

impl Dice {
    /// SplitMix64: one of the well-known generators without a table.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.next() % u64::from(end)) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

/// Makes the election of this seed.
pub fn election(seed: u64) -> Election {
    let mut dice = Dice(seed);
    let mut regions = vec![unit("00", None, "nation", "NEGERI CONTOH")];
    let mut stations = Vec::with_capacity(STATIONS);
    for (p, name) in PROVINCES.iter().enumerate() {
        let province = format!("{:02}", p + 1);
        regions.push(unit(&province, Some("00"), "province", name));
        for d in 1..=DISTRICTS_PER_PROVINCE {
            let district = format!("{province}{d:02}");
            let name = format!("KECAMATAN {name} {d}");
            regions.push(unit(&district, Some(&province), "district", &name));
            for v in 1..=VILLAGES_PER_DISTRICT {
                let village = format!("{district}{v:03}");
                let name = format!("DESA {} {d}-{v}", PROVINCES[p]);
                regions.push(unit(&village, Some(&district), "village", &name));
                for s in 1..=STATIONS_PER_VILLAGE {
                    stations.push(station(&mut dice, &format!("{village}{s:03}"), &village));
                }
            }
        }
    }
    Election { regions, stations }
}

fn unit(code: &str, parent: Option<&str>, kind: &str, name: &str) -> Unit {
    Unit {
        code: code.parse().expect("digits are a unit code"),
        parent: parent.map(|parent| parent.parse().expect("digits are a unit code")),
        kind: kind.parse().expect("a lower-case word"),
        name: name.to_owned(),
        registered: Sexes { l: None, p: None },
    }
}

/// A station with its form. About one form in sixteen breaks a rule, as in real elections, and in
/// the ways of real forms: a digit misread, a sum that was never made, a box left over.
fn station(dice: &mut Dice, code: &str, village: &str) -> Station {
    let registered = 180 + dice.below(110);
    let men = registered / 2 - dice.below(12);
    let turnout = registered * (70 + dice.below(25)) / 100;
    let invalid = dice.below(9);
    let valid = turnout - invalid;
    let first = valid * (25 + dice.below(40)) / 100;
    let second = (valid - first) * (40 + dice.below(30)) / 100;
    let votes = [first, second, valid - first - second];
    let mut form = Station {
        unit: Unit {
            registered: Sexes { l: Some(men), p: Some(registered - men) },
            ..unit(code, Some(village), "tps", "")
        },
        votes,
        paper: votes,
        valid,
        invalid,
        total: turnout,
    };
    if dice.one_in(60) {
        form.votes[dice.below(3) as usize] += 100 * (1 + dice.below(4));
    } else if dice.one_in(25) {
        form.total = form.valid;
    } else if dice.one_in(120) {
        form.invalid += 30;
    }
    form
}

impl Election {
    /// All units as a table, for `jejak init`.
    pub fn units_csv(&self) -> String {
        let mut text = String::from("unit,parent,kind,name,registered.l,registered.p\n");
        for unit in self.regions.iter().chain(self.stations.iter().map(|form| &form.unit)) {
            let parent = unit.parent.as_ref().map_or("", |parent| parent.as_str());
            let number = |n: Option<u32>| n.map_or(String::new(), |n| n.to_string());
            let (l, p) = (number(unit.registered.l), number(unit.registered.p));
            let Unit { code, kind, name, .. } = unit;
            writeln!(text, "{code},{parent},{kind},{name},{l},{p}").expect("memory takes it");
        }
        text
    }

    /// The forms of all stations but the first as a table, for `jejak import`.
    pub fn results_csv(&self) -> String {
        let mut text = String::from("unit,votes.01,votes.02,votes.03,valid,invalid,total\n");
        for Station { unit, votes: [a, b, c], valid, invalid, total, .. } in &self.stations[1..] {
            writeln!(text, "{},{a},{b},{c},{valid},{invalid},{total}", unit.code)
                .expect("memory takes it");
        }
        text
    }

    /// A station whose clerk forgot to add the invalid votes.
    pub fn with_a_wrong_total(&self) -> &Station {
        self.find(|form| form.votes == form.paper && form.total == form.valid && form.invalid > 0)
    }

    /// A station of which a digit was misread when its form was typed in.
    pub fn misread(&self) -> &Station {
        self.find(|form| form.votes != form.paper)
    }

    /// The first station of which this holds. The forms of the first are told about elsewhere.
    fn find(&self, holds: impl Fn(&Station) -> bool) -> &Station {
        let found = self.stations[1..].iter().find(|form| holds(form));
        found.expect("forms go wrong in every way")
    }

    /// A province that the story has not been to.
    pub fn middle_province(&self) -> &Unit {
        let mut provinces = self.regions.iter().filter(|unit| unit.kind.as_str() == "province");
        provinces.nth(PROVINCES.len() / 2).expect("there are some")
    }

    /// A district whose forms are all sound, so that nothing but its own total can be wrong.
    pub fn sound_district(&self) -> &Unit {
        let sound = |district: &&Unit| {
            let below =
                |form: &&Station| form.unit.code.as_str().starts_with(district.code.as_str());
            self.stations.iter().filter(below).all(Station::is_sound)
        };
        let districts = self.regions.iter().filter(|unit| unit.kind.as_str() == "district");
        let found = districts.into_iter().find(sound);
        found.expect("some districts make no mistakes")
    }
}

impl Station {
    fn is_sound(&self) -> bool {
        self.votes.iter().sum::<u32>() == self.valid && self.valid + self.invalid == self.total
    }

    /// The form, as its officer would write it.
    pub fn form(&self) -> Value {
        form(&self.unit, "c-hasil", self.votes, [self.valid, self.invalid, self.total])
    }
}

/// A form about a unit: votes of the three options, then `valid`, `invalid` and `total`.
pub fn form(
    unit: &Unit,
    form: &str,
    votes: [impl Serialize; 3],
    sums: [impl Serialize; 3],
) -> Value {
    let ([a, b, c], [valid, invalid, total]) = (votes, sums);
    json!({
        "contest": "president",
        "unit": unit.code,
        "form": form,
        "round": "regular",
        "basis": "form_signed",
        "votes": {"01": a, "02": b, "03": c},
        "valid": valid,
        "invalid": invalid,
        "total": total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_stations_of_which_some_forms_do_not_add_up() {
        let election = election(2024);
        assert_eq!(election.stations.len(), STATIONS);
        let broken = election.stations.iter().filter(|form| !form.is_sound()).count();
        assert!((40..=90).contains(&broken), "{broken} forms of 1,000 break a rule");
        assert!(election.stations[0].is_sound(), "the story needs a sound form");
        let [wrong, misread] = [election.with_a_wrong_total(), election.misread()];
        assert!(!wrong.is_sound() && !misread.is_sound());
        let district = election.sound_district().code.as_str();
        for story in [&election.stations[0], wrong, misread] {
            assert!(!story.unit.code.as_str().starts_with(district), "each story has its place");
        }
    }
}
