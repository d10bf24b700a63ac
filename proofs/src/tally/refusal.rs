//! Why the log does not take an entry, each with the stable code of SPEC.md, "Errors".

use super::chains::ChainHead;

/// Why an entry is not taken. A refusal changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not an entry; says which rule of the format they break.
    #[error("not an entry: {0}")]
    Malformed(&'static str),
    /// More than 65,535 bytes.
    #[error("an entry has at most 65,535 bytes")]
    TooLarge,
    /// A signature line does not verify.
    #[error("a signature does not verify")]
    BadSignature,
    /// A signature line is of a key that nobody mandated.
    #[error("a signature line is of a key without a mandate")]
    UnknownKey,
    /// A signature line is of a key that was revoked or, for a root key, replaced.
    #[error("a signature line is of a key that is no longer in force")]
    KeyRevoked,
    /// The key may not say this: role, unit, contest, form or power to grant.
    #[error("the key's mandate does not cover this")]
    OutOfScope,
    /// `seq` and `prev` do not extend the chain, whose head is given.
    #[error("`seq` and `prev` do not extend the head of the chain")]
    Conflict {
        /// The head; `None` for a chain without one.
        head: Option<ChainHead>,
    },
    /// The log holds this statement, this key or this revocation already.
    #[error("the log already holds this")]
    Duplicate,
    /// The log has ended.
    #[error("the log is frozen")]
    Frozen,
    /// A state entry that does not follow from the entries before it, or that a submitter sent.
    #[error("a state entry is the log's own, and follows from the entries before it")]
    State,
    /// A well-formed field has a value that the manifest in force does not know or allow.
    #[error("{} is not acceptable here", .0.name())]
    Invalid(Field),
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $meaning:literal,)*) => {
        /// A field that [`Refusal::Invalid`] names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Field { $($(#[$doc])* $variant,)* }

        impl Field {
            /// Every field that a refusal can name.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, as in the JSON of the entry.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The stable code: `invalid_` and the name.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => concat!("invalid_", $name),)* }
            }

            /// What the code means, as SPEC.md, "Errors", has it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

fields! {
    /// Not one of the manifest's bases.
    Basis = "basis" => "not one of the manifest's bases",
    /// Empty, too long, or with doubles.
    Bases = "bases" => "empty, too long, or with doubles",
    /// Present at a polling station, which has no children.
    Children = "children" => "not null at a station",
    /// Not a contest of the register.
    Contest = "contest" => "not in the contest register",
    /// An unknown contest in a mandate, or not ascending.
    Contests = "contests" => "of a mandate: empty, too many, or not ascending",
    /// Missing where a revision needs one, or present where there is none.
    Decision = "decision" =>
        "null where a revision or a new manifest needs one, or not null where there is none to \
         name",
    /// More than [`DOCS_MAX`](super::DOCS_MAX), not ascending by page, or page 0.
    Docs = "docs" => "too many, not ascending, or a page 0",
    /// Another election.
    Election = "election" => "another election",
    /// Not a subset of the station kinds.
    ExemptKinds = "exempt_kinds" => "not a set of station kinds",
    /// Another genesis, or a log whose entry 0 was no manifest.
    Genesis = "genesis" => "another genesis, or an entry 0 that is no manifest",
    /// A weak or malformed key in a mandate; an unknown one in a revocation.
    Key = "key" =>
        "weak, malformed or of another type in a mandate; unknown, or a root key, in a \
         revocation",
    /// No key or too many in a mandate.
    Keys = "keys" => "none or too many in a mandate",
    /// Not the leaf hash of a tally that is logged about this contest in this unit.
    Leaf = "leaf" =>
        "of an attestation: not that of a tally that is logged about the contest and the unit",
    /// Empty or with doubles.
    Levels = "levels" => "empty or with doubles",
    /// Another log, or an origin that looks like the first line of an entry or a cosignature.
    Log = "log" => "another log, or an origin that is kept for other messages",
    /// Malformed, of a type that signs no checkpoints, or not named as the log.
    LogKeys = "log_keys" =>
        "none, too many, malformed, of another type, not named as the log, or valid for no size",
    /// A key's name is not `<role>/<unit>` with its own role and one of its units.
    Name = "name" => "the key's name is not `<role>/<code>` with its own role and one of its units",
    /// Present where `seq` is 0, or missing where it is not.
    Prev = "prev" => "not null in an opening, or null in a revision",
    /// Not the manifest in force.
    Previous = "previous" => "not the manifest in force",
    /// Missing, out of place, or a withdrawal with numbers.
    Reason = "reason" =>
        "null where a revision or a new manifest needs one, or not null where there is none to \
         name; or a withdrawal with numbers",
    /// Malformed, weak, of another type, misnamed, or a key that signs something else too.
    RefusalKey = "refusal_key" =>
        "malformed, weak, not of type 0x01, not named `<origin>/refusal`, or the log's or a root's",
    /// Not at the server, or not fitting the manifest or the tallies that exist.
    Registers = "registers" =>
        "not at the server, or not fitting the manifest or the tallies that are logged",
    /// Not a role of the manifest.
    Role = "role" => "not a role of the manifest",
    /// Doubles, unknown kinds or roles, or the reserved name `root`.
    Roles = "roles" => "doubles, unknown kinds or roles, or a role `root`",
    /// None, too many, malformed, weak, doubled or not ascending.
    RootKeys = "root_keys" =>
        "none, too many, malformed, weak, doubled, not ascending, or misnamed",
    /// Not a round of the manifest.
    Round = "round" => "not a round of the manifest",
    /// Empty, doubled, or not the rounds in use in their order.
    Rounds = "rounds" => "empty, with doubles, or not the rounds with a tally in their order",
    /// Not a subset of the levels.
    StationKinds = "station_kinds" => "empty, or not a set of levels",
    /// Not between 1 and the number of root keys.
    Threshold = "threshold" => "not between 1 and the number of root keys",
    /// Not in the register, or not in the contest's scope.
    Unit = "unit" => "not in the unit register, or not taking part in the contest",
    /// An unknown unit in a mandate, or not ascending.
    Units = "units" => "of a mandate: none, too many, or not ascending",
    /// Not one more than the version in force.
    Version = "version" => "not one more than the version in force",
    /// Not every option of the contest exactly once.
    Votes = "votes" => "not every option of the contest exactly once",
}

impl Refusal {
    /// The stable code of SPEC.md, "Errors".
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLarge => "too_large",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::KeyRevoked => "key_revoked",
            Self::OutOfScope | Self::State => "out_of_scope",
            Self::Conflict { .. } => "conflict",
            Self::Duplicate => "duplicate",
            Self::Frozen => "log_frozen",
            Self::Invalid(field) => field.code(),
        }
    }
}
