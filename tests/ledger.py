"""The rules by which the entries of a Jejak log follow one another, for `verify.py`.

Written from SPEC.md, in another language and another order than the log's own code: what both
accept and both refuse is what the specification says.
"""

import hashlib

from entries import CODE, SIGNATURES_MAX, Contests, Entry, Units
from notes import Key, refuse_unless
from recap import Recap

REGISTER_LEN_MAX = 64 << 20
STATE_GAP_MAX = 100_000

class Mandated:
    def __init__(self, key, granted, granter, number):
        self.key, self.granter, self.number = key, granter, number
        self.role = granted["role"] if granted else None
        self.units = granted["units"] if granted else []
        self.contests = granted["contests"] if granted else None
        self.depth = 0 if granted is None else 1 + (granter.depth if granter else 0)
        self.is_root = granted is None

    def covers_unit(self, units, unit):
        return unit in units.kind and any(up in self.units for up in units.above(unit))

    def covers_contest(self, contest):
        return self.contests is None or contest in self.contests


class Ledger:
    """What may be said after all that stands before."""

    def __init__(self, origin, fetch_register):
        self.origin, self.fetch_register = origin, fetch_register
        self.genesis, self.manifest, self.leaf = None, None, None
        self.keys, self.public, self.revoked, self.roots = {}, set(), {}, set()
        self.heads, self.used, self.frozen = {}, set(), False
        self.tallies, self.attested = {}, set()
        # Entries so far, one past the newest state, and what the entries say about units.
        self.size, self.covered, self.recap = 0, 0, Recap()

    def apply(self, raw, leaf):
        entry = Entry(raw)
        if entry.kind == "state":
            self.take_state(entry.body)
        else:
            self.take(entry, leaf)
            refuse_unless(self.size - self.covered < STATE_GAP_MAX, "no state for too long")
        self.size += 1

    def take(self, entry, leaf):
        refuse_unless(not self.frozen, "log_frozen")
        body, first = entry.body, self.manifest is None
        refuse_unless(body["log"] == self.origin, "invalid_log")
        refuse_unless(first or body["election"] == self.manifest["election"], "invalid_election")
        expected = self.genesis.hex() if self.genesis else None
        refuse_unless(body["genesis"] == expected, "invalid_genesis")
        refuse_unless(not first or entry.kind == "manifest", "invalid_genesis")
        if entry.kind == "manifest":
            self.take_manifest(entry, leaf)
        else:
            signers = self.signers(entry, entry.signers)
            getattr(self, "take_" + entry.kind)(body, signers, leaf)

    def in_force(self, key):
        if key.is_root:
            return key.number in self.roots
        above, fallen = key.granter, key.number in self.revoked
        while above is not None:
            fallen, above = fallen or self.revoked.get(above.number) is True, above.granter
        return not fallen

    def signers(self, entry, names):
        signers = []
        for name in names:
            refuse_unless(name in self.keys, "unknown_key")
            refuse_unless(self.in_force(self.keys[name]), "key_revoked")
            signers.append(self.keys[name])
        signed = entry.note.signed_by([signer.key for signer in signers])
        refuse_unless(len(signed) == len(signers), "bad_signature")
        return signers

    def require_root(self, signers):
        enough = len(signers) >= self.manifest["threshold"]
        refuse_unless(enough and all(key.is_root for key in signers), "out_of_scope")

    def insert(self, key, granted, granter):
        name = (key.name, key.id)
        refuse_unless(name not in self.keys and key.public not in self.public, "duplicate")
        self.keys[name] = Mandated(key, granted, granter, len(self.keys))
        self.public.add(key.public)

    def take_manifest(self, entry, leaf):
        body, old = entry.body, self.manifest
        self.check_manifest(body)
        refuse_unless(body["previous"] == (self.leaf.hex() if old else None), "invalid_previous")
        refuse_unless(body["version"] == (old["version"] + 1 if old else 1), "invalid_version")
        refuse_unless((body["reason"] is None) == (old is None), "invalid_reason")
        refuse_unless((body["decision"] is None) == (old is None), "invalid_decision")
        roots = [Key(vkey, 1) for vkey in body["root_keys"]]
        names = [(key.name, key.id) for key in roots]
        for key in roots:
            role, _, unit = key.name.partition("/")
            refuse_unless(role == "root", "invalid_root_keys")
            CODE(unit)
        new = [key for key in roots if (key.name, key.id) not in self.keys]
        added = {(key.name, key.id) for key in new}
        kept = [self.keys[name] for name in names if name not in added]
        refuse_unless(all(key.number in self.roots for key in kept), "duplicate")
        self.signers(entry, [name for name in entry.signers if name not in added])
        if old:
            self.require_root([self.keys[n] for n in entry.signers if n not in added])
        signed = entry.note.signed_by(new)
        refuse_unless(len(signed) == len(new), "out_of_scope")
        units = Units(self.register(body["registers"]["units"]))
        contests = Contests(self.register(body["registers"]["contests"]), units)
        self.check_levels(body, units)
        for contest, round_ in self.used:
            same = contests.options.get(contest) == self.contests.options[contest]
            refuse_unless(same, "invalid_registers")
            refuse_unless(round_ in body["rounds"], "invalid_rounds")
        used = {round_ for _, round_ in self.used}
        kept = [round_ for round_ in body["rounds"] if round_ in used]
        before = [round_ for round_ in old["rounds"] if round_ in used] if old else []
        refuse_unless(kept == before, "invalid_rounds")
        for key in new:
            self.insert(key, None, None)
        self.roots = {self.keys[name].number for name in names}
        self.manifest, self.leaf, self.units, self.contests = body, leaf, units, contests
        self.genesis = self.genesis or leaf
        self.recap.take_manifest(body, leaf, units, contests)

    def register(self, file):
        raw = self.fetch_register(file["sha256"])
        good = len(raw) == file["bytes"] <= REGISTER_LEN_MAX
        refuse_unless(good and hashlib.sha256(raw).hexdigest() == file["sha256"], "registers")
        return raw

    @staticmethod
    def check_manifest(body):
        roots, levels, stations = body["root_keys"], body["levels"], body["station_kinds"]
        refuse_unless(1 <= len(roots) <= SIGNATURES_MAX, "invalid_root_keys")
        refuse_unless(1 <= body["threshold"] <= len(roots), "invalid_threshold")
        for name in ("levels", "station_kinds", "rounds", "bases"):
            refuse_unless(body[name] and is_set(body[name]), "invalid_" + name)
        refuse_unless(set(stations) <= set(levels), "invalid_station_kinds")
        refuse_unless(set(body["exempt_kinds"]) <= set(stations), "invalid_exempt_kinds")
        ids = [role["id"] for role in body["roles"]]
        refuse_unless(ids and is_set(ids) and "root" not in ids, "invalid_roles")
        for role in body["roles"]:
            kinds = set(role["may_open"]) | set(role["may_revise"])
            good = kinds <= set(levels) and set(role["may_grant"]) <= set(ids)
            refuse_unless(good, "invalid_roles")
        keys = [Key(key["vkey"], 1, 6) for key in body["log_keys"]]
        refuse_unless(keys and all(key.name == body["log"] for key in keys), "invalid_log_keys")
        if "refusal_key" in body:
            key = Key(body["refusal_key"], 1)
            keys += [Key(vkey, 1) for vkey in roots]
            own = all(key.public != other.public for other in keys)
            refuse_unless(own and key.name == body["log"] + "/refusal", "invalid_refusal_key")

    @staticmethod
    def check_levels(body, units):
        rank = {kind: place for place, kind in enumerate(body["levels"])}
        for unit, kind in units.kind.items():
            refuse_unless(kind in rank, "invalid_registers")
            parent = units.parent[unit]
            lower = not parent or rank[units.kind[parent]] < rank[kind]
            leaf = kind not in body["station_kinds"] or unit not in units.has_child
            refuse_unless(lower and leaf, "invalid_registers")

    def take_mandate(self, body, signers, _leaf):
        author = signers[0]
        if author.is_root:
            self.require_root(signers)
        refuse_unless(1 <= len(body["keys"]) <= 400, "invalid_keys")
        granters = [] if author.is_root else signers
        for granted in body["keys"]:
            self.check_grant(granted, granters)
            self.insert(Key(granted["vkey"], 1), granted, granters[0] if granters else None)

    def check_grant(self, granted, granters):
        key, units, contests = Key(granted["vkey"], 1), granted["units"], granted["contests"]
        refuse_unless(0 < len(units) <= 256 and is_rising(units), "invalid_units")
        refuse_unless(all(unit in self.units.kind for unit in units), "invalid_unit")
        refuse_unless(contests is None or contests and is_rising(contests), "invalid_contests")
        known = all(contest in self.contests.options for contest in contests or [])
        refuse_unless(known, "invalid_contest")
        role, _, unit = key.name.partition("/")
        refuse_unless(role == granted["role"] and unit in units, "invalid_name")
        refuse_unless(self.role(role) is not None, "invalid_role")
        for granter in granters:
            rules = self.role(granter.role)
            may = rules and role in rules["may_grant"] and granter.depth < 8
            inside = all(granter.covers_unit(self.units, unit) for unit in units)
            wide = granter.contests is None
            covered = wide if contests is None else all(map(granter.covers_contest, contests))
            refuse_unless(may and inside and covered, "out_of_scope")

    def role(self, name):
        return next((role for role in self.manifest["roles"] if role["id"] == name), None)

    def take_revocation(self, body, signers, _leaf):
        name, _, key_id = body["key"].rpartition("+")
        key = self.keys.get((name, bytes.fromhex(key_id)))
        refuse_unless(key and not key.is_root, "invalid_key")
        above, fallen = [key], False
        while above[-1].granter is not None:
            above.append(above[-1].granter)
            fallen = fallen or self.revoked.get(above[-1].number) is True
        if signers[0].is_root:
            self.require_root(signers)
        else:
            refuse_unless(all(signer in above for signer in signers), "out_of_scope")
        known = self.revoked.get(key.number)
        adds = known is None or (known is False and body["subtree"])
        refuse_unless(adds and not fallen, "duplicate")
        self.revoked[key.number] = body["subtree"]

    def take_freeze(self, _body, signers, _leaf):
        self.require_root(signers)
        self.frozen = True

    def take_tally(self, body, signers, leaf):
        contest, unit, author = body["contest"], body["unit"], signers[0]
        self.check_about(contest, unit)
        self.check_statement(body)
        self.check_scope(signers, contest, unit)
        role, kind = self.role(author.role), self.units.kind[unit]
        refuse_unless(role and body["form"] in role["forms"], "out_of_scope")
        may = role["may_open"] if body["seq"] == 0 else role["may_revise"]
        refuse_unless(kind in may, "out_of_scope")
        owner = None if role["official"] else author.number
        chain = (contest, unit, body["round"], owner)
        seq, prev = self.heads.get(chain, (-1, None))
        follows = body["seq"] == seq + 1 and body["prev"] == (prev.hex() if prev else None)
        refuse_unless(follows, "conflict")
        self.heads[chain] = (body["seq"], leaf)
        self.used.add((contest, body["round"]))
        self.tallies[leaf.hex()] = (contest, unit)
        self.recap.take_tally(body, owner, self.size, leaf)

    def take_attestation(self, body, signers, leaf):
        contest, unit, author = body["contest"], body["unit"], signers[0]
        self.check_about(contest, unit)
        refuse_unless(self.tallies.get(body["leaf"]) == (contest, unit), "invalid_leaf")
        self.check_scope(signers, contest, unit)
        role = self.role(author.role)
        refuse_unless(role and not role["official"], "out_of_scope")
        refuse_unless((body["leaf"], author.number) not in self.attested, "duplicate")
        self.attested.add((body["leaf"], author.number))
        self.recap.take_entry(contest, unit, self.size, leaf)

    def take_state(self, body):
        refuse_unless(self.manifest is not None and self.covered < self.size, "a state too many")
        refuse_unless(body == self.recap.state(self.size), "a state that does not follow")
        self.covered = self.size + 1

    def check_about(self, contest, unit):
        refuse_unless(contest in self.contests.options, "invalid_contest")
        refuse_unless(self.recap.takes_part(contest, unit), "invalid_unit")

    def check_scope(self, signers, contest, unit):
        for signer in signers:
            covers = signer.covers_unit(self.units, unit) and signer.covers_contest(contest)
            refuse_unless(covers and not signer.is_root, "out_of_scope")

    def check_statement(self, body):
        refuse_unless(body["round"] in self.manifest["rounds"], "invalid_round")
        refuse_unless(body["basis"] in self.manifest["bases"], "invalid_basis")
        options = self.contests.options[body["contest"]]
        refuse_unless(set(options) == set(body["votes"]), "invalid_votes")
        pages = [(doc["page"], doc["sha256"]) for doc in body["docs"]]
        good = len(pages) <= 64 and is_rising(pages) and all(page > 0 for page, _ in pages)
        refuse_unless(good, "invalid_docs")
        station = self.units.kind[body["unit"]] in self.manifest["station_kinds"]
        refuse_unless(body["children"] is None or not station, "invalid_children")
        for name in ("prev", "reason", "decision"):
            refuse_unless((body[name] is not None) == (body["seq"] > 0), "invalid_" + name)
        if body["reason"] == "withdrawn":
            sections = {"ballots", "registered", "voters"} & body.keys()
            numbers = [body["valid"], body["invalid"], body["total"], *body["votes"].values()]
            blank = not sections and all(number is None for number in numbers)
            refuse_unless(blank, "invalid_reason")


def is_set(items):
    return len(items) <= 64 and len(set(items)) == len(items)


def is_rising(items):
    return all(a < b for a, b in zip(items, items[1:]))
