"""Evidence against a log (SPEC.md, "Evidence"), for `verify.py`: judged by code of its own."""

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
    "false_refusal": {"checkpoint", "entries", "refusal"},
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
    names = body.keys() - ({"refused"} if kind == "false_refusal" else set())
    refuse_unless(kind in FIELDS and names == FIELDS[kind] | {"kind"}, "fields")
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
            if kind == "false_refusal":
                self.refused(checkpoint, shown, body)
            else:
                getattr(self, kind)(checkpoint, shown)
        except Breach as breach:
            return kind, checkpoint.origin, str(breach)
        raise Innocent("the entries break no rule that shows without the others")

    def refused(self, checkpoint, shown, body):
        refuse_unless(isinstance(body["refusal"], str), "string")
        refusal, raw = Refusal(body["refusal"].encode()), body.get("refused")
        if "refused" in body:
            refuse_unless(isinstance(raw, str), "string")
            raw = notes.base64_once(raw)
            leaf = self.tree.leaf_hash(raw).hex()
            refuse_unless(leaf == refusal.body["leaf"], "another entry")
        for item in shown:
            item.read()
        head = checkpoint.size, checkpoint.root
        false_refusal(checkpoint.origin, head, shown, refusal, raw)

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

    def alone_tally(self, shown):
        self.whole_tally(shown.body)

    @staticmethod
    def whole_tally(body):
        """What no register has a say in."""
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


# Signed refusals

REFUSAL_LEN_MAX = 4096
HEAD = entries.fields({"index": entries.U64, "leaf": entries.HASH, "seq": entries.U32})
REFUSAL = entries.fields(
    {
        "code": entries.WORD,
        "election": entries.ID,
        "genesis": entries.HASH,
        "head": entries.or_null(HEAD),
        "leaf": entries.HASH,
        "log": entries.string,
        "root": entries.HASH,
        "size": entries.U64,
        "time": entries.U64,
    }
)


class Refusal:
    def __init__(self, raw):
        self.note = notes.Note(raw, 1, REFUSAL_LEN_MAX)
        lines = self.note.text.split("\n")
        refuse_unless(lines[0] == "jejak/refusal/v1" and len(lines) == 3, "malformed")
        self.body = entries.canonical(lines[1])
        REFUSAL(self.body)
        refuse_unless(self.body["head"] is None or self.body["code"] == "conflict", "head")


def under_manifest(origin, shown, refusal):
    """The manifest that names the key, if that signed the refusal and stands before it."""
    refuse_unless(shown.is_a("manifest") and "refusal_key" in shown.body, "no key")
    key = Key(shown.body["refusal_key"], notes.ED25519)
    refuse_unless(len(refusal.note.signed_by([key])) == 1, "not by that key")
    genesis = shown.body["genesis"] or shown.leaf
    said = refusal.body
    refuse_unless(said["log"] == origin and said["genesis"] == genesis, "another log")
    refuse_unless(said["election"] == shown.body["election"], "another election")
    refuse_unless(shown.index < said["size"], "before the manifest")
    return shown.body


def false_refusal(origin, head, shown, refusal, refused):
    """Raises what a signed refusal is convicted by."""
    refuse_unless(shown, "entries")
    rules = under_manifest(origin, shown[0], refusal)
    said, others = refusal.body, shown[1:]
    if refused is None:
        refuse_unless(len(others) <= 1, "entries")
        by_entry(said, others[0]) if others else by_head(said, *head)
        return
    entry = Entry(refused)
    if said["code"] in ("bad_signature", "unknown_key"):
        by_keys(said, entry, shown)
    elif said["head"] and len(others) == 1:
        by_chain(said, entry, others[0])
    else:
        refuse_unless(not others, "entries")
        by_refused(said, rules, entry)


def by_head(said, size, root):
    guilty_if(said["head"] and said["head"]["index"] >= said["size"], "H2")
    guilty_if(size == said["size"] and root.hex() != said["root"], "C3")


def by_entry(said, other):
    before = other.index < said["size"]
    guilty_if(before and other.leaf == said["leaf"], "D2")
    if said["code"] == "log_frozen":
        covers = other.is_a("state") and other.index == said["size"]
        guilty_if(not before and not covers, "F1")
    if said["head"]:
        index, leaf = said["head"]["index"], said["head"]["leaf"]
        is_it = other.leaf == leaf and other.is_a("tally")
        is_it = is_it and other.body["seq"] == said["head"]["seq"]
        guilty_if(other.index == index and not is_it, "H2")
        guilty_if(before and other.is_a("tally") and other.body["prev"] == leaf, "H2")


def by_chain(said, entry, other):
    head = said["head"]
    if (other.index, other.leaf) != (head["index"], head["leaf"]):
        return
    if entry.kind == "tally" and other.is_a("tally"):
        about = ("contest", "unit", "round")
        guilty_if(any(entry.body[name] != other.body[name] for name in about), "H2")


def by_keys(said, entry, shown):
    givers = [keys_of(item) for item in shown]
    before = [found for found, item in zip(givers, shown) if item.index < said["size"]]
    known = {(key.name, key.id) for found in before for key in found}
    if not entry.signers or not set(entry.signers) <= known:
        return
    guilty_if(said["code"] == "unknown_key", "D5")
    guilty_if(all(lines_hold(entry, found) for found in givers), "M1")


def by_refused(said, rules, entry):
    if entry.kind == "state":
        return
    body, code = entry.body, said["code"]
    place = (
        (code == "invalid_log" and body["log"] == said["log"])
        or (code == "invalid_election" and body["election"] == rules["election"])
        or (code == "invalid_genesis" and body["genesis"] == said["genesis"])
    )
    guilty_if(place, "E12")
    if entry.kind != "tally":
        return
    if code == "conflict":
        head = said["head"]
        follows = body["seq"] == 0
        if head:
            follows = body["seq"] == head["seq"] + 1 and body["prev"] == head["leaf"]
        guilty_if(follows, "H2")
    if code in ("invalid_decision", "invalid_docs", "invalid_prev", "invalid_reason"):
        here = body["log"] == said["log"] and body["genesis"] == said["genesis"]
        root = any(name.split("/")[0] == "root" for name, _ in entry.signers)
        guilty_if(here and not root and is_whole(body), "D1")


def is_whole(body):
    try:
        Judge.whole_tally(body)
    except Refused:
        return False
    return True
