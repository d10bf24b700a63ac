//! What a mirror counts, in the Prometheus text format.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use jejak_proofs::merkle::Hash;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::follow::Followed;
use crate::http::Connections;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Origin {
    origin: String,
}

type Gauges = Family<Origin, Gauge>;

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    size: Gauges,
    agreed: Family<Origin, Gauge<f64, AtomicU64>>,
    written: Gauges,
    trouble: Gauges,
    pub(super) connections: Connections,
}

impl Metrics {
    pub fn new(logs: &BTreeMap<Hash, Arc<Followed>>) -> Self {
        let mut registry = Registry::with_prefix("jejak_mirror");
        let connections = Connections::default();
        let known: Gauge = Gauge::default();
        known.set(i64::try_from(logs.len()).unwrap_or(i64::MAX));
        registry.register("logs", "Logs that are mirrored", known);
        let (size, written, trouble) = <(Gauges, Gauges, Gauges)>::default();
        let agreed = Family::<Origin, Gauge<f64, AtomicU64>>::default();
        registry.register("size", "Entries of the head that is served", size.clone());
        let help = "Seconds since the source last showed a head that the copy follows";
        registry.register("agreed_age_seconds", help, agreed.clone());
        let help = "Files fetched since the start";
        registry.register("files_fetched", help, written.clone());
        let help = "1 if the last look at the source changed nothing because of an error";
        registry.register("trouble", help, trouble.clone());
        connections.register(&mut registry);
        Self { registry, size, agreed, written, trouble, connections }
    }

    pub fn scrape<'a>(
        &self,
        logs: impl Iterator<Item = &'a Arc<Followed>>,
    ) -> Result<String, std::fmt::Error> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for log in logs {
            let origin = Origin { origin: log.origin().to_owned() };
            let size = log.view().map_or(0, |view| view.head().size);
            self.size.get_or_create(&origin).set(number(size));
            let status = log.status();
            if let Some(agreed) = status.agreed {
                self.agreed.get_or_create(&origin).set(agreed.elapsed().as_secs_f64());
            }
            self.written.get_or_create(&origin).set(number(status.written));
            self.trouble.get_or_create(&origin).set(i64::from(status.trouble.is_some()));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).map(|()| text)
    }
}
