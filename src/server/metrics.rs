//! Metrics in the Prometheus text format, for the operator's own listener.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet, text::encode},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::{
    Server,
    problem::{Code, Problem},
};
use crate::{
    http::{Connections, METRICS_TYPE},
    log::{Log, Status},
};

/// Upper bounds of the latency buckets, in seconds: a cached tile to a full pool.
const LATENCY_BOUNDS_S: [f64; 14] =
    [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Named {
    log: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Witness {
    log: String,
    witness: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    log: String,
    witness: String,
    outcome: &'static str,
}

type LatencyFamily = Family<Route, Histogram, fn() -> Histogram>;

/// What the process counts about itself.
pub(super) struct Metrics {
    registry: Registry,
    latency: LatencyFamily,
    refusals: Family<Refusal, Counter>,
    connections: Connections,
}

impl Metrics {
    pub(super) fn new(logs: &[Log]) -> Self {
        let latency = LatencyFamily::new_with_constructor(|| Histogram::new(LATENCY_BOUNDS_S));
        let refusals = Family::default();
        let connections = Connections::default();
        let mut registry = Registry::with_prefix("jejak");
        registry.register_with_unit(
            "request",
            "Time to the head of the answer, by route",
            Unit::Seconds,
            latency.clone(),
        );
        registry.register(
            "refusals",
            "Refused requests and batch items, by code",
            refusals.clone(),
        );
        connections.register(&mut registry);
        registry.register_collector(Box::new(Logs(logs.to_vec())));
        Self { registry, latency, refusals, connections }
    }

    pub(super) fn answered(&self, route: &str, elapsed: Duration) {
        let label = Route { route: route.to_owned() };
        self.latency.get_or_create(&label).observe(elapsed.as_secs_f64());
    }

    pub(super) fn refused(&self, code: Code) {
        self.refusals.get_or_create(&Refusal { code: code.as_str() }).inc();
    }

    /// What sockets count.
    pub(super) fn connections(&self) -> Connections {
        self.connections.clone()
    }
}

/// `GET /metrics`
pub(super) async fn scrape(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    let mut text = String::new();
    encode(&mut text, &server.metrics.registry).map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}

/// Asks every log for its status when it is scraped, so nothing has to be kept in step.
struct Logs(Vec<Log>);

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(Log::origin)).finish()
    }
}

impl Collector for Logs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all: Vec<(Named, Status)> = self.0.iter().map(status).collect();
        let mut gauge = |name, help, unit: Option<&Unit>, value: fn(&Status) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            all.iter().try_for_each(|(named, status)| {
                ConstGauge::new(value(status)).encode(family.encode_family(named)?)
            })
        };
        // A gauge is a float: exact up to 2^53 entries.
        gauge("tree_size", "Entries under the newest checkpoint.", None, |s| s.size as f64)?;
        let sealed = |s: &Status| s.sealed as f64;
        gauge("sealed_size", "Entries under the newest sealed checkpoint.", None, sealed)?;
        let age = |s: &Status| s.checkpoint_age_ms as f64 / 1e3;
        gauge("checkpoint_age", "Age of the checkpoint.", Some(&Unit::Seconds), age)?;
        let served = |s: &Status| s.served as f64;
        gauge("served_size", "Entries under the checkpoint that is served.", None, served)?;
        let vouched = |s: &Status| s.vouched_age_ms.map_or(f64::INFINITY, |age| age as f64 / 1e3);
        let help = "Age of what a quorum, or without one the log, vouches for.";
        gauge("vouched_age", help, Some(&Unit::Seconds), vouched)?;
        gauge("queue", "Entries that wait for a batch.", None, |s| s.queue as f64)?;
        gauge("accepting", "1 if entries are taken.", None, |s| f64::from(u8::from(s.accepting)))?;

        witnesses(&mut encoder, &all)?;
        let help = "Entries of a batch.";
        let mut family =
            encoder.encode_descriptor("batch_entries", help, None, MetricType::Histogram)?;
        all.iter().try_for_each(|(named, status)| {
            let buckets: Vec<(f64, u64)> = status.batch_sizes.iter().map(bucket).collect();
            let count = buckets.iter().map(|(_, batches)| batches).sum();
            let mut metric = family.encode_family(named)?;
            metric.encode_histogram::<NoLabelSet>(status.batched as f64, count, &buckets, None)
        })
    }
}

/// What each witness of each log did.
fn witnesses(
    encoder: &mut DescriptorEncoder<'_>,
    all: &[(Named, Status)],
) -> Result<(), fmt::Error> {
    let each = || {
        all.iter().flat_map(|(Named { log }, status)| {
            status.witnesses.iter().map(move |(witness, standing)| {
                (Witness { log: log.clone(), witness: witness.clone() }, standing)
            })
        })
    };
    let help = "Entries of the largest head that a witness cosigned.";
    let mut family = encoder.encode_descriptor("witness_size", help, None, MetricType::Gauge)?;
    each().try_for_each(|(witness, standing)| {
        ConstGauge::new(standing.size as f64).encode(family.encode_family(&witness)?)
    })?;
    let help = "When a witness last cosigned, in seconds since 1970; 0 if it has not.";
    let unit = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor("witness_time", help, unit, MetricType::Gauge)?;
    each().try_for_each(|(witness, standing)| {
        ConstGauge::new(standing.time as f64).encode(family.encode_family(&witness)?)
    })?;
    let help = "Heads that a witness was asked to cosign, by what became of them.";
    let mut family = encoder.encode_descriptor("witness_asked", help, None, MetricType::Counter)?;
    each().try_for_each(|(Witness { log, witness }, standing)| {
        let asked = [("cosigned", standing.cosigned), ("failed", standing.failed)];
        asked.into_iter().try_for_each(|(outcome, count)| {
            let label = Asked { log: log.clone(), witness: witness.clone(), outcome };
            ConstCounter::new(count).encode(family.encode_family(&label)?)
        })
    })
}

fn status(log: &Log) -> (Named, Status) {
    (Named { log: log.name().to_owned() }, log.status())
}

/// The last bucket has no bound: the format writes `+Inf`.
fn bucket(&(bound, batches): &(u64, u64)) -> (f64, u64) {
    (if bound == u64::MAX { f64::INFINITY } else { bound as f64 }, batches)
}
