//! A synthetic election: a thousand stations, invented places, and the errors of real forms.

use std::fmt::Write as _;

use jejak_proofs::tally::{Sexes, Unit};

/// Stations of the demo.
pub const STATIONS: usize = 1_000;

const PROVINCES: [&str; 5] = ["UTARA", "SELATAN", "TIMUR", "BARAT", "TENGAH"];
const STATIONS_PER_VILLAGE: usize = 10;
const VILLAGES_PER_DISTRICT: usize = 5;
const DISTRICTS_PER_PROVINCE: usize = 4;

/// One station and what its form says.
pub struct Station {
    pub unit: Unit,
    pub votes: [u32; 3],
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
    let mut form = Station {
        unit: Unit {
            registered: Sexes { l: Some(men), p: Some(registered - men) },
            ..unit(code, Some(village), "tps", "")
        },
        votes: [first, second, valid - first - second],
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
        for Station { unit, votes: [a, b, c], valid, invalid, total } in &self.stations[1..] {
            writeln!(text, "{},{a},{b},{c},{valid},{invalid},{total}", unit.code)
                .expect("memory takes it");
        }
        text
    }

    /// The form of the first station, as its officer would write it.
    pub fn first_form(&self) -> String {
        let Station { unit, votes: [a, b, c], valid, invalid, total } = &self.stations[0];
        format!(
            r#"{{
  "contest": "president",
  "unit": "{}",
  "form": "c-hasil",
  "round": "regular",
  "basis": "form_signed",
  "votes": {{ "01": {a}, "02": {b}, "03": {c} }},
  "valid": {valid},
  "invalid": {invalid},
  "total": {total}
}}
"#,
            unit.code
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_stations_of_which_some_forms_do_not_add_up() {
        let election = election(2024);
        assert_eq!(election.stations.len(), STATIONS);
        let broken = election.stations.iter().filter(|form| {
            form.votes.iter().sum::<u32>() != form.valid || form.valid + form.invalid != form.total
        });
        let broken = broken.count();
        assert!((40..=90).contains(&broken), "{broken} forms of 1,000 break a rule");
        let first = &election.stations[0];
        assert_eq!(first.votes.iter().sum::<u32>(), first.valid, "the story needs a sound form");
        assert_eq!(first.valid + first.invalid, first.total);
    }
}
