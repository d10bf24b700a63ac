"""Evidence against a log (SPEC.md, "Evidence"), for `verify.py`: judged by code of its own."""

import base64
import json

import entries
import ledger
import notes
from entries import CODE, Entry
from notes import Key, Refused, refuse_unless

EVIDENCE_LEN_MAX = 4 << 20
ENTRIES_MAX = 17
HEADING = b"jejak/evidence/v1\n"

FIELDS = {
    "bad_entry": {"checkpoint", "entries"},
    "broken_chain": {"checkpoint", "entries"},
    "inconsistent": {"checkpoints", "hashes"},
    "two_roots": {"checkpoints"},
}


class Innocent(Exception):
    """What is shown, an honest log may have signed."""


class Breach(Exception):
    """A rule that the log broke: its number in SPEC.md."""


def strings(value):
    refuse_unless(isinstance(value, list), "list")
    for item in value:
        refuse_unless(isinstance(item, str), "string")
    return value


def read(raw):
    """Kind and fields of a file in its one spelling."""
    good = len(raw) <= EVIDENCE_LEN_MAX and raw.startswith(HEADING) and raw.endswith(b"\n")
    refuse_unless(good, "malformed")
    text = raw[len(HEADING) : -1].decode()
    try:
        body = json.loads(
            text,
            object_pairs_hook=entries.once,
            parse_float=entries.never,
            parse_constant=entries.never,
        )
    except (ValueError, RecursionError):
        raise Refused("json") from None
    spelled = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    refuse_unless(spelled == text and isinstance(body, dict), "spelling")
    kind = body.get("kind")
    refuse_unless(kind in FIELDS and body.keys() == FIELDS[kind] | {"kind"}, "fields")
    return kind, body


def hashes_of(value):
    hashes = [notes.base64_once(text) for text in strings(value)]
    refuse_unless(all(len(value) == 32 for value in hashes), "hash")
    return hashes


class Shown:
    """An entry that a file shows, with its place."""

    def __init__(self, item):
        refuse_unless(isinstance(item, dict) and len(item) == 3, "fields")
        refuse_unless(isinstance(item["entry"], str), "string")
        entries.U64(item["index"])
        self.raw, self.index = notes.base64_once(item["entry"]), item["index"]
        self.proof = hashes_of(item["hashes"])
        self.entry = None

    def read(self):
        self.entry = Entry(self.raw)
        self.kind, self.body = self.entry.kind, self.entry.body

    def is_a(self, kind):
        return self.kind == kind


class Judge:
    def __init__(self, tree, policy):
        # The tree functions of `verify.py`, and the policy.
        self.tree, self.policy = tree, policy

    def signed(self, note):
        refuse_unless(isinstance(note, str), "string")
        checkpoint = self.tree.Checkpoint(note.encode())
        self.policy.verify_log(checkpoint)
        return checkpoint

    def judge(self, raw):
        """The kind, the origin and the rule of a conviction; raises what else it is."""
        kind, body = read(raw)
        if "checkpoints" in body:
            pair = strings(body["checkpoints"])
            refuse_unless(len(pair) == 2, "checkpoints")
            first, second = map(self.signed, pair)
            refuse_unless(first.origin == second.origin, "two origins")
            hashes = hashes_of(body.get("hashes", []))
            guilty = getattr(self, kind)(first, second, hashes)
            if not guilty:
                raise Innocent("the checkpoints do not contradict each other")
            return kind, first.origin, "C3"
        checkpoint = self.signed(body["checkpoint"])
        refuse_unless(isinstance(body["entries"], list), "list")
        refuse_unless(len(body["entries"]) <= ENTRIES_MAX, "entries")
        shown = [Shown(item) for item in body["entries"]]
        for item in shown:
            leaf = self.tree.leaf_hash(item.raw)
            item.leaf = leaf.hex()
            size, root = checkpoint.size, checkpoint.root
            self.tree.check_inclusion(size, root, item.index, leaf, item.proof)
        try:
            getattr(self, kind)(checkpoint, shown)
        except Breach as breach:
            return kind, checkpoint.origin, str(breach)
        raise Innocent("the entries break no rule that shows without the others")

    @staticmethod
    def two_roots(first, second, _hashes):
        refuse_unless(first.size == second.size, "sizes")
        return first.root != second.root

    def inconsistent(self, older, newer, hashes):
        refuse_unless(0 < older.size < newer.size, "sizes")
        old, new = self.tree.roots_from_consistency(older.size, newer.size, hashes, False, None)
        refuse_unless(new == newer.root, "the hashes do not lead to the newer root")
        return old != older.root

    def bad_entry(self, checkpoint, shown):
        refuse_unless(1 <= len(shown) <= 2, "entries")
        bad = shown[0]
        for giver in shown[1:]:
            giver.read()
        try:
            bad.read()
            self.alone(checkpoint.origin, bad)
        except (Refused, Breach, ValueError):
            refuse_unless(len(shown) == 1, "entries")
            raise Breach("D1") from None
        for giver in shown[1:]:
            if not lines_hold(bad.entry, keys_of(giver)):
                raise Breach("D1")

    def alone(self, origin, shown):
        """Whether an honest log may hold the entry, by its bytes, its place and the pin alone."""
        kind, body, first = shown.kind, shown.body, shown.index == 0
        if kind == "state":
            refuse_unless(not first and body["size"] == shown.index, "out_of_scope")
            return
        refuse_unless(body["log"] == origin, "invalid_log")
        pin = self.policy.genesis.get(origin)
        if first:
            refuse_unless(kind == "manifest" and body["genesis"] is None, "invalid_genesis")
            refuse_unless(pin is None or shown.leaf == pin.hex(), "invalid_genesis")
        else:
            refuse_unless(body["genesis"] is not None, "invalid_genesis")
            refuse_unless(pin is None or body["genesis"] == pin.hex(), "invalid_genesis")
        check = getattr(self, "alone_" + kind, None)
        if check:
            check(shown)
        if kind in ("tally", "attestation"):
            roots = [name for name, _ in shown.entry.signers if name.split("/")[0] == "root"]
            refuse_unless(not roots, "out_of_scope")

    @staticmethod
    def alone_manifest(shown):
        body, first = shown.body, shown.index == 0
        roots = root_keys(body)
        refuse_unless(lines_hold(shown.entry, roots), "bad_signature")
        ledger.Ledger.check_manifest(body)
        manifest_lists(body)
        for name in ("previous", "reason", "decision"):
            refuse_unless((body[name] is None) == first, "invalid_" + name)
        if first:
            refuse_unless(body["version"] == 1, "invalid_version")
            signers = set(shown.entry.signers)
            refuse_unless(signers == {(key.name, key.id) for key in roots}, "signers")
        else:
            refuse_unless(body["version"] > 1, "invalid_version")

    @staticmethod
    def alone_mandate(shown):
        keys = keys_of(shown, strict=True)
        refuse_unless(len({key.public for key in keys}) == len(keys), "duplicate")
        refuse_unless(len({(key.name, key.id) for key in keys}) == len(keys), "duplicate")

    @staticmethod
    def alone_tally(shown):
        body = shown.body
        pages = [(doc["page"], doc["sha256"]) for doc in body["docs"]]
        rises = all(a < b for a, b in zip(pages, pages[1:]))
        refuse_unless(rises and len(pages) <= 64 and all(page for page, _ in pages), "docs")
        revision = body["seq"] > 0
        for name in ("prev", "reason", "decision"):
            refuse_unless((body[name] is not None) == revision, "invalid_" + name)
        if body["reason"] == "withdrawn":
            numbers = [body["valid"], body["invalid"], body["total"], *body["votes"].values()]
            refuse_unless(all(number is None for number in numbers), "invalid_reason")
            refuse_unless(not {"ballots", "registered", "voters"} & body.keys(), "invalid_reason")

    def broken_chain(self, _checkpoint, shown):
        refuse_unless(len(shown) in (2, 4) and shown[0].index < shown[1].index, "entries")
        for item in shown:
            item.read()
        a, b = shown[:2]
        if len(shown) == 4:
            place_twice(a, b, *shown[2:])
        else:
            pair(a, b)


def guilty_if(condition, rule):
    if condition:
        raise Breach(rule)


def root_keys(body):
    vkeys = body["root_keys"]
    refuse_unless(1 <= len(vkeys) <= 16, "invalid_root_keys")
    keys = [Key(vkey, notes.ED25519) for vkey in vkeys]
    for key in keys:
        role, _, unit = key.name.partition("/")
        refuse_unless(role == "root", "invalid_root_keys")
        CODE(unit)
    names = [(key.name, key.id) for key in keys]
    refuse_unless(all(a < b for a, b in zip(names, names[1:])), "invalid_root_keys")
    refuse_unless(len({key.public for key in keys}) == len(keys), "invalid_root_keys")
    return keys


def manifest_lists(body):
    """The rules of a manifest that no register has a say in, beyond those of the ledger."""
    reserved = body["log"].startswith("jejak/") or body["log"] == "cosignature/v1"
    refuse_unless(not reserved, "invalid_log")
    lists = [body["exempt_kinds"]]
    for role in body["roles"]:
        lists += [role[name] for name in ("forms", "may_grant", "may_open", "may_revise")]
    refuse_unless(all(ledger.is_set(items) for items in lists), "sets")
    refuse_unless(len(body["log_keys"]) <= 64, "invalid_log_keys")
    for key in body["log_keys"]:
        refuse_unless(key["until"] is None or key["from"] < key["until"], "invalid_log_keys")


def keys_of(shown, strict=False):
    """The keys that an entry brings; of one that is broken, none."""
    try:
        if shown.is_a("manifest"):
            return root_keys(shown.body)
        if not shown.is_a("mandate"):
            return []
        granted = shown.body["keys"]
        refuse_unless(1 <= len(granted) <= 400, "invalid_keys")
        return [mandated(item) for item in granted]
    except Refused:
        if strict:
            raise
        return []


def mandated(item):
    for codes in (item["units"], item["contests"]):
        if codes is not None:
            rises = all(a < b for a, b in zip(codes, codes[1:]))
            refuse_unless(rises and 1 <= len(codes) <= 256, "scope")
    key = Key(item["vkey"], notes.ED25519)
    role, slash, unit = key.name.partition("/")
    refuse_unless(slash and role == item["role"] and unit in item["units"], "invalid_name")
    return key


def lines_hold(entry, keys):
    """Whether every line by one of these keys verifies."""
    if entry.note is None:
        return True
    by = {(key.name, key.id): key for key in keys}
    lines = [line for line in entry.note.lines if (line.name, line.id) in by]
    text = entry.note.text
    return all(by[line.name, line.id].signed(text, line.signature) for line in lines)


def signer_of(key_ref):
    name, _, key_id = key_ref.rpartition("+")
    return name, bytes.fromhex(key_id)


def pair(a, b):
    """What two entries of one log, the earlier one first, break together."""
    guilty_if(a.raw == b.raw, "D2")
    if a.index == 0 and "state" not in (a.kind, b.kind):
        other = a.body["election"] != b.body["election"] or b.body["genesis"] != a.leaf
        guilty_if(other, "E11")
    named(a, b)
    keys(a, b)
    if a.is_a("freeze"):
        guilty_if(not b.is_a("state") or b.index != a.index + 1, "F2")
    if a.kind != b.kind:
        return
    one, two = a.body, b.body
    if a.is_a("state"):
        guilty_if(b.index == a.index + 1, "E37")
    elif a.is_a("tally"):
        guilty_if(one["prev"] is not None and one["prev"] == two["prev"], "H2")
    elif a.is_a("attestation"):
        guilty_if((one["by"], one["leaf"]) == (two["by"], two["leaf"]), "E34")
    elif a.is_a("revocation") and one["key"] == two["key"]:
        guilty_if(one["subtree"] or not two["subtree"], "M9")
    elif a.is_a("manifest"):
        guilty_if(one["previous"] == two["previous"] or two["version"] <= one["version"], "S1")
        follows = two["previous"] == a.leaf
        guilty_if(follows and two["version"] != one["version"] + 1, "S1")


def named(a, b):
    """One entry names the other by its leaf hash."""
    for kind, field, rule in (
        ("tally", "prev", "H2"),
        ("attestation", "leaf", "E31"),
        ("manifest", "previous", "S1"),
    ):
        guilty_if(a.is_a(kind) and a.body[field] == b.leaf, rule)
        if not b.is_a(kind) or b.body[field] != a.leaf:
            continue
        guilty_if(a.kind != ("manifest" if kind == "manifest" else "tally"), rule)
        if kind != "manifest":
            same = all(a.body[name] == b.body[name] for name in ("contest", "unit"))
            guilty_if(not same, rule)
        if kind == "tally":
            next_one = a.body["round"] == b.body["round"] and b.body["seq"] == a.body["seq"] + 1
            guilty_if(not next_one, rule)


def keys(a, b):
    """Who brought which key, and who used it when."""
    if a.is_a("revocation"):
        guilty_if(signer_of(a.body["key"]) in b.entry.signers, "M8")
    older, newer = keys_of(a), keys_of(b)
    if not (a.is_a("manifest") and b.is_a("manifest")):
        public = {key.public for key in older} & {key.public for key in newer}
        names = {(key.name, key.id) for key in older} & {(key.name, key.id) for key in newer}
        guilty_if(public or names, "M5")
    if b.is_a("mandate"):
        guilty_if(any((key.name, key.id) in a.entry.signers for key in newer), "D5")
    if a.is_a("mandate") and b.kind in ("tally", "attestation"):
        for granted, key in zip(a.body["keys"], older):
            covers = granted["contests"] is None or b.body["contest"] in granted["contests"]
            guilty_if(not covers and (key.name, key.id) in b.entry.signers, "H4")


def place_twice(a, b, manifest, state):
    """Two tallies of one chain with one `seq`, with the manifest that was in force throughout."""
    kinds = [item.kind for item in (a, b, manifest, state)]
    if kinds != ["tally", "tally", "manifest", "state"]:
        return
    around = manifest.index < a.index and b.index < state.index
    if not around or state.body["manifest"] != manifest.leaf:
        return
    official = {role["id"] for role in manifest.body["roles"] if role["official"]}
    both = all(item.body["by"].split("/")[0] in official for item in (a, b))
    about = ("contest", "unit", "round", "seq")
    same = all(a.body[name] == b.body[name] for name in about)
    guilty_if(same and (both or a.body["by"] == b.body["by"]), "H2")
