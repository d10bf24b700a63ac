//! The reader of policy files.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::str::from_utf8;

use super::checkpoint::reserved_origin;
use super::decimal;
use super::policy::{Node, POLICY_GROUPS_MAX, POLICY_LEN_MAX, POLICY_LOGS_MAX};
use super::policy::{POLICY_WITNESSES_MAX, PolicyErrorKind as Kind};
use super::{KeyError, KeyKind, LogLine, Policy, PolicyError, VerifierKey, Window, WitnessLine};
use crate::merkle::Hash;

/// First word of a genesis comment after the `#`.
const GENESIS: &[u8] = b"jejak-genesis";

/// First word of the comment that names the witnesses that recount.
const RECOUNT: &[u8] = b"jejak-recount";

impl Policy {
    /// Reads a policy file (C2SP tlog-policy). [`Policy::parse_bytes`] takes any octets.
    ///
    /// # Errors
    /// Names the line and what is wrong with it. It never panics.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::parse_bytes(text.as_bytes())
    }

    /// Reads a policy file; octets from 0x80 up in names and comments are opaque.
    ///
    /// Stricter than the specification in three things: the last line ends in a newline, so that
    /// a cut file is not taken for another policy; a log is never its own witness under the same
    /// public key; and a log's name is not one that is reserved for other messages.
    ///
    /// # Errors
    /// Names the line and what is wrong with it. It never panics.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, PolicyError> {
        let whole = |kind| PolicyError { line: 0, kind };
        if bytes.len() > POLICY_LEN_MAX {
            return Err(whole(Kind::TooLong));
        }
        let mut parser = Parser::default();
        for (line, number) in bytes.split_inclusive(|&b| b == b'\n').zip(1..) {
            parser.line(line).map_err(|kind| PolicyError { line: number, kind })?;
        }
        let Some(quorum) = parser.quorum else {
            return Err(whole(Kind::NoQuorum));
        };
        Ok(Self { quorum, ..parser.policy })
    }
}

/// What the lines so far have defined.
#[derive(Default)]
struct Parser<'a> {
    policy: Policy,
    /// Witnesses and groups by name: the index into `policy.nodes`.
    names: BTreeMap<&'a [u8], usize>,
    /// For each node, whether it is a member of a group.
    taken: Vec<bool>,
    groups: usize,
    quorum: Option<Option<usize>>,
}

impl<'a> Parser<'a> {
    fn line(&mut self, line: &'a [u8]) -> Result<(), Kind> {
        let line = line.strip_suffix(b"\n").ok_or(Kind::NoFinalNewline)?;
        if line.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f) {
            return Err(Kind::ControlCharacter);
        }
        let words: Vec<&[u8]> =
            line.split(|&b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => Ok(()),
            [b"#", GENESIS, ref rest @ ..] => self.genesis(rest),
            [b"#", RECOUNT, ref names @ ..] => self.recount(names),
            [word, ..] if word.starts_with(b"#") => Ok(()),
            [b"log", vkey] => self.log(vkey, None),
            [b"log", vkey, url] => self.log(vkey, Some(url)),
            [b"witness", name, vkey] => self.witness(name, vkey, None),
            [b"witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            [b"group", name, threshold, ref members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            [b"quorum", name] => self.quorum(name),
            [b"log" | b"witness" | b"group" | b"quorum", ..] => Err(Kind::Words),
            _ => Err(Kind::Keyword),
        }
    }

    fn genesis(&mut self, words: &[&[u8]]) -> Result<(), Kind> {
        let &[origin, hex] = words else {
            return Err(Kind::Genesis);
        };
        let origin = from_utf8(origin).map_err(|_| Kind::Genesis)?;
        let hash: Hash =
            from_utf8(hex).ok().and_then(|hex| hex.parse().ok()).ok_or(Kind::Genesis)?;
        if self.policy.genesis(origin).is_some() {
            return Err(Kind::SecondGenesis);
        }
        if self.policy.genesis.len() == POLICY_LOGS_MAX {
            return Err(Kind::TooManyLogs);
        }
        self.policy.genesis.push((origin.into(), hash));
        Ok(())
    }

    /// As a group does, it names witnesses that are defined above it.
    fn recount(&mut self, names: &[&[u8]]) -> Result<(), Kind> {
        for name in names {
            let Some(&node) = self.names.get(name) else { return Err(Kind::Recount) };
            let Node::Witness(place) = self.policy.nodes[node] else { return Err(Kind::Recount) };
            self.policy.witnesses[place].recounts = true;
        }
        if names.is_empty() { Err(Kind::Recount) } else { Ok(()) }
    }

    fn log(&mut self, vkey: &[u8], url: Option<&[u8]>) -> Result<(), Kind> {
        if self.policy.logs.len() == POLICY_LOGS_MAX {
            return Err(Kind::TooManyLogs);
        }
        let key = self.key(vkey, KeyKind::signs_logs)?;
        if reserved_origin(key.name()) {
            return Err(Kind::Origin);
        }
        self.policy.logs.push(LogLine {
            key,
            url: url.map(text).transpose()?,
            window: Window::default(),
        });
        Ok(())
    }

    fn witness(&mut self, name: &'a [u8], vkey: &[u8], url: Option<&[u8]>) -> Result<(), Kind> {
        if self.policy.witnesses.len() == POLICY_WITNESSES_MAX {
            return Err(Kind::TooManyWitnesses);
        }
        let key = self.key(vkey, KeyKind::cosigns)?;
        let url = url.map(text).transpose()?;
        self.define(name, Node::Witness(self.policy.witnesses.len()))?;
        let name = String::from_utf8_lossy(name).into_owned();
        let window = Window::default();
        self.policy.witnesses.push(WitnessLine { name, key, url, window, recounts: false });
        Ok(())
    }

    /// Reads a key of a kind that fits, unless an earlier line has it.
    fn key(&self, vkey: &[u8], fits: fn(KeyKind) -> bool) -> Result<VerifierKey, Kind> {
        let vkey = from_utf8(vkey).map_err(|_| Kind::Key(KeyError::Form))?;
        let key = VerifierKey::parse(vkey).map_err(Kind::Key)?;
        if !fits(key.kind()) {
            return Err(Kind::Key(KeyError::WrongKind { kind: key.kind() }));
        }
        let logs = self.policy.logs.iter().map(|line| &line.key);
        let witnesses = self.policy.witnesses.iter().map(|line| &line.key);
        // Keys that share name and id cannot be told apart in a note: four bytes can be ground.
        let same = |other: &VerifierKey| {
            other.public_bytes() == key.public_bytes()
                || (other.name() == key.name() && other.id() == key.id())
        };
        if logs.chain(witnesses).any(same) { Err(Kind::DuplicateKey) } else { Ok(key) }
    }

    fn group(&mut self, name: &'a [u8], k: &[u8], members: &[&[u8]]) -> Result<(), Kind> {
        if self.groups == POLICY_GROUPS_MAX {
            return Err(Kind::TooManyGroups);
        }
        let mut nodes = Vec::with_capacity(members.len());
        for member in members {
            let node = self.resolve(member)?.ok_or(Kind::ReservedName)?;
            if self.taken[node] {
                return Err(Kind::MemberTwice);
            }
            self.taken[node] = true;
            nodes.push(node);
        }
        let threshold = threshold(k, nodes.len()).ok_or(Kind::Threshold)?;
        self.define(name, Node::Group { threshold, members: nodes })?;
        self.groups += 1;
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), Kind> {
        if self.quorum.is_some() {
            return Err(Kind::SecondQuorum);
        }
        self.quorum = Some(self.resolve(name)?);
        Ok(())
    }

    /// The node of a name; none for `none`.
    fn resolve(&self, name: &[u8]) -> Result<Option<usize>, Kind> {
        match self.names.get(name) {
            Some(&node) => Ok(Some(node)),
            None if name == b"none" => Ok(None),
            None => Err(Kind::UnknownName),
        }
    }

    fn define(&mut self, name: &'a [u8], node: Node) -> Result<(), Kind> {
        if name == b"none" {
            return Err(Kind::ReservedName);
        }
        if self.names.contains_key(name) {
            return Err(Kind::DuplicateName);
        }
        self.names.insert(name, self.policy.nodes.len());
        self.policy.nodes.push(node);
        self.taken.push(false);
        Ok(())
    }
}

/// How many of `members` a group needs.
fn threshold(word: &[u8], members: usize) -> Option<usize> {
    match word {
        b"all" => Some(members),
        b"any" => Some(1),
        _ => {
            let k = decimal(from_utf8(word).ok()?, members as u64).ok()?;
            usize::try_from(k).ok().filter(|&k| k > 0)
        }
    }
}

fn text(url: &[u8]) -> Result<String, Kind> {
    from_utf8(url).map(String::from).map_err(|_| Kind::Url)
}
