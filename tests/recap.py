"""The recap tree of a Jejak log out of its entries alone, and recap proofs, for `verify.py`.

Written from SPEC.md, "Recap tree": one dictionary a unit, recursion over the register, and no
sums that are kept from one state to the next but under units about which nothing changed.
"""

import hashlib

from entries import CODE, HASH, ID, U32, U64, canonical, each, fields, one_of, or_null
from notes import refuse_unless

ZEROS = bytes(32)
STATUSES = ["none", "disputed", "corrected", "single"]
FIXED_COUNTERS = 9
COUNTER_MAX = 2**64 - 1


def digest(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


EMPTY_ROOT = digest()


def number(value, size):
    return value.to_bytes(size, "big")


def text(value):
    return number(len(value), 2) + value.encode("ascii")


def row(counters):
    return number(len(counters), 2) + b"".join(number(counter, 8) for counter in counters)


def record_bytes(record):
    """A record as in the JSON of a recap proof."""
    head = record["head"] or {"index": 0, "leaf": ZEROS.hex()}
    return b"".join(
        (
            number(STATUSES.index(record["status"]), 1),
            number(record["entries"], 4),
            number(head["index"], 8),
            bytes.fromhex(head["leaf"]),
            bytes.fromhex(record["trail"]),
        )
    )


def station_hash(contest, unit, record, counters):
    return digest(b"\x10", text(contest), text(unit), record_bytes(record), row(counters))


def region_hash(contest, unit, record, count, counters, root):
    named = text(contest) + text(unit) + record_bytes(record)
    return digest(b"\x12", named, number(count, 4), row(counters), root)


def contest_hash(contest, options, manifest, counters, top):
    names = number(len(options), 2) + b"".join(map(text, options))
    return digest(b"\x13", text(contest), names, manifest, row(counters), top)


def contest_leaf(contest):
    return digest(b"\x00", contest)


def split(size):
    """The largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1


def join(left, right):
    """Two neighbours between the children of a region: the node over both, and the sums."""
    sums = [a + b for a, b in zip(left[1], right[1])]
    refuse_unless(max(sums) <= COUNTER_MAX, "a sum that overflows")
    return digest(b"\x11", left[0], row(left[1]), right[0], row(right[1])), sums


def over(children, combine):
    """What a tree of RFC 6962 has over these children: the recursion of Section 2.1."""
    if len(children) == 1:
        return children[0]
    k = split(len(children))
    return combine(over(children[:k], combine), over(children[k:], combine))


# The recap of a log


class About:
    """What the log holds about one contest in one unit."""

    def __init__(self):
        self.indexes, self.trail = [], ZEROS
        # (round, owner): index, leaf hash and body of the newest tally; owner None is official.
        self.heads = {}


def without_value(body):
    return body["reason"] == "withdrawn"


def results(body):
    return {**body["votes"], "valid": body["valid"], "invalid": body["invalid"]}.items()


def differ(one, other):
    other = {name: count for name, count in results(other)}
    pairs = ((count, other[name]) for name, count in results(one))
    return any(a is not None and b is not None and a != b for a, b in pairs)


class Recap:
    def __init__(self):
        self.about = {}

    def take_manifest(self, body, leaf, units, contests):
        self.rounds, self.leaf, self.units, self.contests = body["rounds"], leaf, units, contests
        self.stations = {u for u, kind in units.kind.items() if kind in body["station_kinds"]}
        self.top = next(iter(units.kind))
        # By contest: the units that take part, each with its children in the register's order.
        self.children = {contest: self.shape(contest) for contest in contests.options}
        self.known = {contest: {} for contest in contests.options}

    def shape(self, contest):
        scope, above = self.contests.scope[contest], self.units.above
        part = {self.top}
        for station in self.stations:
            if any(up in scope for up in above(station)):
                part.update(above(station))
        children = {unit: [] for unit in self.units.kind if unit in part}
        for unit in children:
            if unit != self.top:
                children[self.units.parent[unit]].append(unit)
        return children

    def takes_part(self, contest, unit):
        return unit in self.children[contest]

    def take_entry(self, contest, unit, index, leaf):
        about = self.about.setdefault((contest, unit), About())
        about.indexes.append(index)
        about.trail = digest(b"\x14", about.trail, number(index, 8), leaf)
        for up in self.units.above(unit):
            self.known[contest].pop(up, None)
        return about

    def take_tally(self, body, owner, index, leaf):
        about = self.take_entry(body["contest"], body["unit"], index, leaf)
        about.heads[body["round"], owner] = (index, leaf, body)

    def record(self, contest, unit):
        """The record of a unit, and the body of the tally that counts."""
        about = self.about.get((contest, unit), About())
        record = {"entries": len(about.indexes), "head": None, "status": "none"}
        record["trail"] = about.trail.hex()
        for round_ in reversed(self.rounds):
            index, leaf, body = about.heads.get((round_, None), (None, None, None))
            if body is None or without_value(body):
                continue
            record["head"] = {"index": index, "leaf": leaf.hex()}
            record["status"] = "corrected" if body["seq"] else "single"
            for (of, owner), (_, _, other) in about.heads.items():
                rival = of == round_ and owner is not None and not without_value(other)
                if rival and differ(body, other):
                    record["status"] = "disputed"
            return record, body
        return record, None

    def station_counters(self, contest, unit, record, body):
        options, status = self.contests.options[contest], record["status"]
        counts = [0] * (len(options) + 3)
        if body is not None:
            counts = [body["votes"][option] for option in options]
            counts += [body["valid"], body["invalid"], body["total"]]
        unreadable = counts.count(None)
        flags = [1, int(status != "none"), int(status == "corrected"), int(status == "disputed")]
        return [count or 0 for count in counts] + [self.units.registered[unit], *flags, unreadable]

    def node(self, contest, unit):
        """Hash and counters of a unit that takes part."""
        known = self.known[contest].get(unit)
        if known is None:
            known = self.known[contest][unit] = self.compute(contest, unit)
        return known

    def compute(self, contest, unit):
        record, body = self.record(contest, unit)
        if unit in self.stations:
            counters = self.station_counters(contest, unit, record, body)
            return station_hash(contest, unit, record, counters), counters
        below = [self.node(contest, child) for child in self.children[contest][unit]]
        nothing = EMPTY_ROOT, [0] * (len(self.contests.options[contest]) + FIXED_COUNTERS)
        root, counters = over(below, join) if below else nothing
        return region_hash(contest, unit, record, len(below), counters, root), counters

    def root(self):
        leaves = []
        for contest, options in self.contests.options.items():
            top, counters = self.node(contest, self.top)
            leaves.append(contest_leaf(contest_hash(contest, options, self.leaf, counters, top)))
        return over(leaves, lambda left, right: digest(b"\x01", left, right))

    def state(self, size):
        """The state that the entry with this index may be."""
        contests, manifest = len(self.contests.options), self.leaf.hex()
        recap = self.root().hex()
        return {"contests": contests, "manifest": manifest, "recap": recap, "size": size}

    def below(self, contest, unit):
        children = [self.node(contest, child) for child in self.children[contest][unit]]
        root = over(children, join)[0] if children else EMPTY_ROOT
        station = unit in self.stations
        return None if station else {"count": len(children), "root": root.hex()}

    def answers(self, contest, unit, size):
        """What a server answers about a unit, by route; the recap proof by what it has of it."""
        about = self.about.get((contest, unit), About())
        options, named = self.contests.options[contest], {"contest": contest, "unit": unit}
        record, counters = self.record(contest, unit)[0], self.node(contest, unit)[1]
        core = {"below": self.below(contest, unit), "counters": counters, "record": record}
        tables = self.units.kind, self.units.name, self.units.parent
        kind, name, parent = (table[unit] for table in tables)
        placed = {"kind": kind, "name": name, "parent": parent or None}
        sums = {**named, "counters": counters, "options": options, "size": size}
        children = [self.child(contest, child) for child in self.children[contest][unit]]
        return {
            f"recap-proof/{contest}/{unit}": {**core, "unit": unit},
            f"unit/{contest}/{unit}": {**sums, **core, **placed},
            f"unit/{contest}/{unit}/history": {**named, "indexes": about.indexes, "size": size},
            f"recap/{contest}/{unit}": {**sums, "children": children},
        }

    def child(self, contest, unit):
        kind, name = self.units.kind[unit], self.units.name[unit]
        status, counters = self.record(contest, unit)[0]["status"], self.node(contest, unit)[1]
        return {"counters": counters, "kind": kind, "name": name, "status": status, "unit": unit}


# Recap proofs

RECAP_PROOF_LEN_MAX = 4 << 20
HEADER = "jejak/recap-proof/v1"
HEAD = fields({"index": U64, "leaf": HASH})
RECORD = fields(
    {"entries": U32, "head": or_null(HEAD), "status": one_of(*STATUSES), "trail": HASH}
)
BELOW = fields({"count": U32, "root": HASH})
COUNTERS = each(U64)
SIBLING = fields({"counters": COUNTERS, "hash": HASH})
LEVEL = fields(
    {"children": U32, "position": U32, "record": RECORD, "siblings": each(SIBLING), "unit": CODE}
)
UNIT = fields({"below": or_null(BELOW), "counters": COUNTERS, "record": RECORD, "unit": CODE})
PATH = fields(
    {
        "contest": ID,
        "contest_hashes": each(HASH),
        "contest_index": U64,
        "levels": each(LEVEL),
        "options": each(ID),
        "unit": UNIT,
    }
)


def split_file(raw):
    """The JSON of the path, the state entry and the receipt of a recap proof, unread."""
    refuse_unless(len(raw) <= RECAP_PROOF_LEN_MAX, "a recap proof that is too long")
    parts = raw.split(b"\n\n", 2)
    refuse_unless(len(parts) == 3, "not a recap proof")
    header, _, path = parts[0].decode().partition("\n")
    refuse_unless(header == HEADER, "not a recap proof")
    return path, parts[1] + b"\n", parts[2]


def read_path(text):
    path = canonical(text)
    PATH(path)
    return path


def check_record(record):
    refuse_unless((record["head"] is None) == (record["status"] == "none"), "a record")


def check_station(record, counters, options):
    stations, reported, corrected, disputed, unreadable = counters[-5:]
    status = record["status"]
    fits = (stations, reported) == (1, int(status != "none"))
    fits = fits and corrected == (status == "corrected") and disputed == (status == "disputed")
    empty = not any(counters[: options + 3]) and unreadable == 0
    refuse_unless(fits and (status != "none" or empty), "counters of a station")


def climb(node, position, count, siblings):
    """The node over all `count` children from that of one of them."""
    if count == 1:
        refuse_unless(not siblings, "a path that is too long")
        return node
    refuse_unless(siblings, "a path that is too short")
    k, last = split(count), siblings[-1]
    last = bytes.fromhex(last["hash"]), last["counters"]
    if position < k:
        return join(climb(node, position, k, siblings[:-1]), last)
    return join(last, climb(node, position - k, count - k, siblings[:-1]))


def climb_contests(node, index, count, hashes):
    if count == 1:
        refuse_unless(not hashes, "a path that is too long")
        return node
    refuse_unless(hashes, "a path that is too short")
    k, last = split(count), bytes.fromhex(hashes[-1])
    if index < k:
        return digest(b"\x01", climb_contests(node, index, k, hashes[:-1]), last)
    return digest(b"\x01", last, climb_contests(node, index - k, count - k, hashes[:-1]))


def check_path(path, state):
    """Whether the path leads from its unit to the recap root."""
    contest, options, unit = path["contest"], path["options"], path["unit"]
    width = len(options) + FIXED_COUNTERS
    rows = [sibling["counters"] for level in path["levels"] for sibling in level["siblings"]]
    refuse_unless(all(len(r) == width for r in (unit["counters"], *rows)), "a row's length")
    record, counters, below = unit["record"], unit["counters"], unit["below"]
    check_record(record)
    if below is None:
        check_station(record, counters, len(options))
        node = station_hash(contest, unit["unit"], record, counters)
    else:
        root = bytes.fromhex(below["root"])
        node = region_hash(contest, unit["unit"], record, below["count"], counters, root)
    for level in path["levels"]:
        position, count, record = level["position"], level["children"], level["record"]
        refuse_unless(position < count, "a position beyond the children")
        root, counters = climb((node, counters), position, count, level["siblings"])
        check_record(record)
        node = region_hash(contest, level["unit"], record, count, counters, root)
    manifest = bytes.fromhex(state["manifest"])
    node = contest_leaf(contest_hash(contest, options, manifest, counters, node))
    index, count = path["contest_index"], state["contests"]
    refuse_unless(index < count, "a contest beyond the contests")
    root = climb_contests(node, index, count, path["contest_hashes"])
    refuse_unless(root.hex() == state["recap"], "another recap root")
