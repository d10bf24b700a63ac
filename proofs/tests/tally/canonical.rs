//! One value has one spelling: every other is refused with `malformed`, for every kind of entry.

use jejak_proofs::note::{SigningKey, compose};
use jejak_proofs::tally::*;
use serde_json::Value;

use super::world::*;

/// A full body of each kind, with every optional part present, and the key that signs it.
fn bodies() -> Vec<(Body, SigningKey)> {
    let world = World::new();
    let sexes = Sexes { l: Some(1), p: None };
    let mut full = revision(&world.tally(&key(KPPS), "ppwp", STATION), hash(0xab));
    full.ballots =
        Some(Ballots { received: Some(214), returned: Some(0), unused: None, used: Some(32) });
    full.registered = Some(sexes);
    full.voters = Some(Voters { dpk: sexes, dpt: sexes, dptb: sexes });
    full.children = Some(Children { count: 5, root: hash(0xcd) });
    let doc = super::refusals::doc(1, 0xef);
    full.docs = vec![Doc { sha256_public: Some(hash(0xfe)), ..doc }, Doc { page: 2, ..doc }];
    let saksi = grant(&key(SAKSI));
    let mandate = world.mandate(&key(PPK), &[saksi, grant(&key(KPPS))]);
    let mut rules = world.next_manifest();
    rules.log_keys[0].until = Some(u64::MAX);
    vec![
        (tally(&full), key(KPPS)),
        (tally(&world.tally(&key(KPPS), "ppwp", STATION)), key(KPPS)),
        (mandate, key(PPK)),
        (world.revocation(&key(PPK), &key(KPPS), true), key(PPK)),
        (world.attestation(&key(OBSERVER), "ppwp", STATION, hash(0xab)), key(OBSERVER)),
        (world.freeze(&key(ROOTS[0])), key(ROOTS[0])),
        (manifest(&rules), key(ROOTS[0])),
        (manifest(&founding_manifest()), key(ROOTS[0])),
    ]
}

/// The line of JSON in a body's text.
fn json(body: &Body) -> String {
    body.text().lines().nth(1).unwrap().to_string()
}

/// How the entry with this text reads, rightly signed.
fn parse_text(text: &str, key: &SigningKey) -> Result<Entry, Refusal> {
    Entry::parse(compose(text, &[key.sign_line(text)]).as_bytes())
}

fn assert_malformed(text: &str, key: &SigningKey) {
    match parse_text(text, key) {
        Err(Refusal::Malformed(_)) => {}
        other => panic!("{:?} for {text:?}", other.map(|entry| entry.leaf())),
    }
}

/// JSON as text in pieces, so that it can be written wrongly.
#[derive(Clone)]
enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Raw(String),
}

impl Node {
    fn of(value: &Value) -> Self {
        match value {
            Value::Object(members) => {
                let member = |(name, value): (&String, _)| (format!("\"{name}\""), Self::of(value));
                Self::Object(members.iter().map(member).collect())
            }
            Value::Array(items) => Self::Array(items.iter().map(Self::of).collect()),
            other => Self::Raw(other.to_string()),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Object(members) => {
                let members =
                    members.iter().map(|(name, value)| name.clone() + ":" + &value.write());
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Self::Array(items) => {
                format!("[{}]", items.iter().map(Self::write).collect::<Vec<_>>().join(","))
            }
            Self::Raw(text) => text.clone(),
        }
    }

    fn children(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
            Self::Array(items) => items.iter_mut().collect(),
            Self::Raw(_) => Vec::new(),
        }
    }

    /// Every document in which one node is replaced by one of its `wrong` spellings.
    fn variants(&mut self, name: &str, wrong: &dyn Fn(&str, &Self) -> Vec<Self>) -> Vec<Self> {
        let mut all = wrong(name, self);
        let names: Vec<String> = match self {
            Self::Object(members) => members.iter().map(|(name, _)| name.clone()).collect(),
            _ => Vec::new(),
        };
        for place in 0..self.children().len() {
            let name = names.get(place).map_or(name, String::as_str).to_string();
            let inner = self.children()[place].variants(&name, wrong);
            for variant in inner {
                let mut whole = self.clone();
                *whole.children()[place] = variant;
                all.push(whole);
            }
        }
        all
    }
}

/// Wrong spellings of one node; `name` is that of the member it stands in, with its quotes.
fn wrong(name: &str, node: &Node) -> Vec<Node> {
    match node {
        Node::Object(members) => wrong_objects(name, members),
        Node::Array(items) => {
            let numbered =
                items.iter().enumerate().map(|(n, item)| (format!("\"{n}\""), item.clone()));
            let mut all = vec![Node::Object(numbered.collect()), Node::Raw("[null]".into())];
            if !items.is_empty() {
                all.push(Node::Array([&items[..], &[Node::Raw(String::new())]].concat()));
            }
            // Null contests are all contests.
            all.extend((name != "\"contests\"").then(|| Node::Raw("null".into())));
            all
        }
        Node::Raw(text) if text.starts_with('"') => {
            wrong_strings(name, text).into_iter().map(Node::Raw).collect()
        }
        Node::Raw(text) if text == "null" => {
            raws(&["NULL", "\"null\"", "nul", "", "[null]", "false"])
        }
        Node::Raw(text) if text == "true" || text == "false" => {
            raws(&["1", "0", "\"true\"", "True", "null", "[]"])
        }
        Node::Raw(text) => {
            let spelled =
                ["{}.0", "{}e0", "{}E3", "-{}", "+{}", "0{}", "\"{}\"", "{} ", "[{}]", "0x{}"];
            let mut all: Vec<_> =
                spelled.iter().map(|form| Node::Raw(form.replace("{}", text))).collect();
            all.extend(raws(&[
                "-0",
                "-1",
                "18446744073709551616",
                "1e3",
                "1.0",
                "NaN",
                "01",
                "+1",
            ]));
            all.extend(raws(&["true", "{}", "[]", ".5", "5."]));
            all
        }
    }
}

fn raws(texts: &[&str]) -> Vec<Node> {
    texts.iter().map(|text| Node::Raw(text.to_string())).collect()
}

fn wrong_objects(name: &str, members: &[(String, Node)]) -> Vec<Node> {
    let values = members.iter().map(|(_, value)| value.clone()).collect();
    let mut all = vec![Node::Array(values), Node::Raw("\"{}\"".into())];
    for place in 0..members.len() {
        let mut doubled = members.to_vec();
        doubled.insert(place, members[place].clone());
        all.push(Node::Object(doubled));
        let mut with_null = members.to_vec();
        with_null.insert(place, (members[place].0.clone(), Node::Raw("null".into())));
        all.push(Node::Object(with_null));
        let mut escaped = members.to_vec();
        let unquoted = members[place].0.trim_matches('"');
        escaped[place].0 = format!("\"\\u{:04x}{}\"", unquoted.as_bytes()[0], &unquoted[1..]);
        all.push(Node::Object(escaped));
        let mut capital = members.to_vec();
        capital[place].0 = members[place].0.to_uppercase();
        if capital[place].0 != members[place].0 && name != "\"votes\"" {
            all.push(Node::Object(capital));
        }
        // Whole sections of a tally may be missing; which options there are, the ledger knows.
        let optional = ["\"ballots\"", "\"refusal_key\"", "\"registered\"", "\"voters\""]
            .contains(&&*members[place].0);
        if !optional && name != "\"votes\"" {
            let mut dropped = members.to_vec();
            dropped.remove(place);
            all.push(Node::Object(dropped));
        }
        if place > 0 {
            let mut swapped = members.to_vec();
            swapped.swap(place - 1, place);
            all.push(Node::Object(swapped));
        }
    }
    for unknown in ["\"\"", "\"zz zz\"", "\"~\""] {
        let mut more = members.to_vec();
        more.push((unknown.into(), Node::Raw("null".into())));
        all.push(Node::Object(more));
    }
    all
}

fn wrong_strings(name: &str, text: &str) -> Vec<String> {
    let inner = &text[1..text.len() - 1];
    let (first, rest) = (inner.as_bytes()[0], &inner[1..]);
    let mut all = vec![
        format!("\"\\u{first:04x}{rest}\""),
        format!("\"\\u{first:04X}{rest}\""),
        format!("\"{inner}e\u{301}\""),
        format!("\"{inner}\u{e9}\""),
        format!("\"{inner}\u{feff}\""),
        format!("\"{inner}\u{7f}\""),
        format!("\"{inner}\\u0000\""),
        format!("\"{inner}\\r\""),
        format!("\"{inner}\\/\""),
        format!("\"{inner}\r\""),
        format!("\"{inner}\0\""),
        format!("\"{inner}\t\""),
        format!("'{inner}'"),
        inner.to_string(),
        format!("[{text}]"),
        format!("{{{text}:null}}"),
    ];
    all.extend(inner.contains('/').then(|| text.replacen('/', "\\/", 1)));
    // Free strings are judged later: the log by the ledger, vkeys when the entry is checked.
    if !["\"log\"", "\"refusal_key\"", "\"vkey\"", "\"root_keys\""].contains(&name) {
        all.extend(["\"\"".into(), format!("\" {inner}\""), format!("\"{inner}\u{5f}/ \"")]);
    }
    let hexadecimal = inner.len() == 64 && inner.bytes().all(|b| b.is_ascii_hexdigit());
    let upper = inner.rsplit_once('+').map(|(name, id)| format!("{name}+{}", id.to_uppercase()));
    let reference = ["\"by\"", "\"key\""].contains(&name);
    let upper = if hexadecimal { Some(inner.to_uppercase()) } else { upper.filter(|_| reference) };
    all.extend(upper.filter(|upper| upper != inner).map(|upper| format!("\"{upper}\"")));
    if hexadecimal {
        all.extend([format!("\"{}\"", &inner[1..]), format!("\"{inner}00\"")]);
    }
    all
}

#[test]
fn fields_stand_in_bytewise_order_and_the_text_reads_back() {
    for (body, key) in bodies() {
        let text = body.text();
        // serde_json's map is ordered bytewise, whatever the order of a struct's fields.
        let sorted: Value = serde_json::from_str(&json(&body)).unwrap();
        assert_eq!(serde_json::to_string(&sorted).unwrap(), json(&body));
        assert_eq!(Node::of(&sorted).write(), json(&body));
        assert_eq!(text, format!("jejak/{}/v1\n{}\n", body.kind(), json(&body)));
        let entry = parse_text(&text, &key).unwrap();
        assert_eq!((entry.body(), entry.text()), (&body, &*text));
        assert_eq!(Body::from_canonical(body.kind(), &json(&body)), Ok(body));
    }
}

#[test]
fn every_other_spelling_of_a_node_is_malformed() {
    let mut count = 0;
    for (body, key) in bodies() {
        let value: Value = serde_json::from_str(&json(&body)).unwrap();
        for variant in Node::of(&value).variants("", &wrong) {
            assert_malformed(&format!("jejak/{}/v1\n{}\n", body.kind(), variant.write()), &key);
            count += 1;
        }
    }
    assert!(count > 5_000, "{count} spellings only");
}

#[test]
fn white_space_has_no_place() {
    for (body, key) in bodies() {
        let (json, mut inside) = (json(&body), false);
        for (place, byte) in json.bytes().enumerate() {
            inside ^= byte == b'"';
            if inside || !b"{}[]:,".contains(&byte) {
                continue;
            }
            for space in [" ", "\t", "\r", "\n", "\u{a0}", "\u{feff}"] {
                for at in [place, place + 1] {
                    let spaced = format!("{}{space}{}", &json[..at], &json[at..]);
                    assert_malformed(&format!("jejak/{}/v1\n{spaced}\n", body.kind()), &key);
                }
            }
        }
    }
}

#[test]
fn the_text_is_two_lines_and_nothing_else() {
    for (body, key) in bodies() {
        let (kind, json) = (body.kind(), json(&body));
        let texts = [
            format!("\u{feff}jejak/{kind}/v1\n{json}\n"),
            format!("jejak/{kind}/v1\n\u{feff}{json}\n"),
            format!("jejak/{kind}/v1\r\n{json}\n"),
            format!("jejak/{kind}/v1\n{json}\r\n"),
            format!("jejak/{kind}/v1\n{json}\0\n"),
            format!("jejak/{kind}/v1\n{json} \n"),
            format!("jejak/{kind}/v1\n{json}x\n"),
            format!("jejak/{kind}/v1\n{json}{json}\n"),
            format!("jejak/{kind}/v1\n{json}\n\n"),
            format!("jejak/{kind}/v1\n{json}\n{json}\n"),
            format!("jejak/{kind}/v1\n{json}\nthird line\n"),
            format!("jejak/{kind}/v1\n\n{json}\n"),
            format!("\njejak/{kind}/v1\n{json}\n"),
            format!("jejak/{kind}/v1\n"),
            format!("jejak/{kind}/v1\n\n"),
            format!("{json}\n"),
            format!("jejak/{kind}/v2\n{json}\n"),
            format!("jejak/{kind}/v1 \n{json}\n"),
            format!("jejak/{kind}/v01\n{json}\n"),
            format!("jejak/{kind}\n{json}\n"),
            format!("Jejak/{kind}/v1\n{json}\n"),
            format!("jejak/{}/v1\n{json}\n", kind.to_uppercase()),
            format!("jejak//v1\n{json}\n"),
            format!("jejak/{kind}/v1/v1\n{json}\n"),
            format!("{ORIGIN}\n{json}\n"),
        ];
        for text in texts {
            assert_malformed(&text, &key);
        }
        let kinds =
            ["manifest", "mandate", "revocation", "tally", "attestation", "state", "freeze"];
        for other in kinds {
            if other != kind {
                assert_malformed(&format!("jejak/{other}/v1\n{json}\n"), &key);
            }
        }
    }
}

#[test]
fn bytes_around_an_entry_are_malformed() {
    for (body, key) in bodies() {
        let text = body.text();
        let note = compose(&text, &[key.sign_line(&text)]);
        assert!(Entry::parse(note.as_bytes()).is_ok());
        let altered = [
            note.clone() + "\n",
            note.clone() + "x",
            note.clone() + "\0",
            String::from(" ") + &note,
            String::from("\n") + &note,
            String::from("\u{feff}") + &note,
            note.trim_end().to_string(),
            note.replace('\n', "\r\n"),
            text.clone(),
            text + "\n",
            String::new(),
        ];
        for note in altered {
            assert_eq!(Entry::parse(note.as_bytes()).unwrap_err().code(), "malformed");
        }
        for cut in 0..note.len() {
            assert_eq!(Entry::parse(&note.as_bytes()[..cut]).unwrap_err().code(), "malformed");
        }
        let not_utf8 = [note.as_bytes(), &[0xff]].concat();
        assert_eq!(Entry::parse(&not_utf8).unwrap_err().code(), "malformed");
    }
}
