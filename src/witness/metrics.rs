//! What a witness counts, in the Prometheus text format.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    Answer,
    judge::{Kept, Refusal},
};
use crate::http::Connections;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

pub(super) struct Metrics {
    registry: Registry,
    answers: Family<Outcome, Counter>,
    kept: Family<Kind, Counter>,
    pub(super) connections: Connections,
}

impl Metrics {
    pub(super) fn new(logs: usize) -> Self {
        let mut registry = Registry::with_prefix("jejak_witness");
        let (answers, kept) = (Family::default(), Family::default());
        let connections = Connections::default();
        let known: Gauge = Gauge::default();
        known.set(i64::try_from(logs).unwrap_or(i64::MAX));
        registry.register("logs", "Logs that the witness knows", known);
        let help = "Requests for a cosignature, by what was answered";
        registry.register("answers", help, answers.clone());
        let help = "Log-signed heads that were refused and may convict, by kind";
        registry.register("suspicions", help, kept.clone());
        connections.register(&mut registry);
        Self { registry, answers, kept, connections }
    }

    pub(super) fn answered(&self, answer: &Answer) {
        let outcome = match answer {
            Answer::Cosigned(_) => "cosigned",
            Answer::Malformed(_) => "malformed",
            Answer::UnknownOrigin => "unknown_origin",
            Answer::NotRight(_) => "not_recounted",
            Answer::Replaying(_) => "replaying",
            Answer::TooMany => "rate_limited",
            Answer::Failed => "failed",
            Answer::Refused(refusal) => match refusal {
                Refusal::Unsigned | Refusal::BadSignature => "signature",
                Refusal::OldAboveSize | Refusal::TextTooLong => "malformed",
                Refusal::Conflict { .. } => "conflict",
                Refusal::Inconsistent(_) | Refusal::EmptyRoot => "inconsistent",
                Refusal::Clock => "clock",
            },
        };
        self.answers.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn kept(&self, kept: &Kept) {
        let kind = match kept {
            Kept::Evidence(_) => "evidence",
            Kept::Report(suspicion) => suspicion.word(),
        };
        self.kept.get_or_create(&Kind { kind }).inc();
    }

    pub(super) fn scrape(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry).map(|()| text)
    }
}
