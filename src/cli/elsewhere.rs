//! Where `jejak monitor` looks beside the log, and what it says of that.

use std::{sync::atomic::Ordering, time::Duration};

use jejak_proofs::{merkle::sha256, note::Policy};
use serde_json::{Map, Value, json};

use super::{
    exit::{Exit, Failure},
    monitor::{MonitorArgs, state_failure},
    output::Output,
};
use crate::{
    client::{Copies, Fetch, FetchLimits, source::Source},
    clock,
    monitor::{Heard, Monitor, Patience, Place, PollError, Sight, Watch},
};

/// Where a log shows heads: the one to follow, which convicts also if no quorum cosigned it, and
/// its newest, sealed or not, which a static copy does not have.
const OF_THE_LOG: [&str; 2] = ["checkpoint", "checkpoint/latest"];

/// A witness that is slow must not keep a monitor from looking at the log.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Connections of their own to whoever may show a head: they give up soon.
pub struct Connections {
    log: Fetch,
    mirrors: Vec<Fetch>,
    witnesses: Vec<(String, Fetch)>,
}

impl Connections {
    /// To the log, its mirrors, and the witnesses of the policy that have a URL.
    pub fn new(policy: &Policy, copies: &Copies) -> Result<Self, Failure> {
        let limits = FetchLimits {
            connect_time_max: ANSWER_TIME_MAX,
            answer_time_max: ANSWER_TIME_MAX,
            body_time_max: ANSWER_TIME_MAX,
            ..FetchLimits::default()
        };
        let to = |what: &str, url: &str| {
            Fetch::new(url, &limits)
                .map_err(|error| Failure::config(format!("the URL of {what}: {error}")))
        };
        let lines = policy.witnesses().filter_map(|line| Some((&line.name, line.url.as_deref()?)));
        let witnesses = lines.map(|(name, url)| {
            let name = format!("witness {name}");
            to(&name, url).map(|fetch| (name, fetch))
        });
        let mirrors = copies.mirrors().iter().map(|mirror| to("a mirror", mirror.base()));
        Ok(Self {
            log: to("the log", copies.log().base())?,
            mirrors: mirrors.collect::<Result<_, _>>()?,
            witnesses: witnesses.collect::<Result<_, _>>()?,
        })
    }

    /// What the log itself and its mirrors show, and what its witnesses last cosigned.
    pub fn places(&self, origin: &str) -> Vec<Place<'_>> {
        let id = sha256(origin.as_bytes());
        let place = |name: &str, source, path: &str| Place {
            name: name.to_owned(),
            source,
            path: path.to_owned(),
        };
        let own = OF_THE_LOG.map(|path| place(path, &self.log, path));
        let mirrors = self.mirrors.iter();
        let mirrors =
            mirrors.map(|mirror| place(&format!("mirror {}", mirror.base()), mirror, "checkpoint"));
        let cosigned = format!("{id}/checkpoint");
        let witnesses = self.witnesses.iter().map(|(name, fetch)| place(name, fetch, &cosigned));
        own.into_iter().chain(mirrors).chain(witnesses).collect()
    }
}

/// Looks at these places after each look at the log.
pub struct Around<'a> {
    args: &'a MonitorArgs,
    connections: &'a Connections,
    places: &'a [Place<'a>],
    sights: Vec<Sight>,
}

impl<'a> Around<'a> {
    pub fn new(
        args: &'a MonitorArgs,
        connections: &'a Connections,
        places: &'a [Place<'a>],
    ) -> Self {
        Self { args, connections, places, sights: Vec::new() }
    }

    /// Compares, says which places gave no head since the look before, and with which exit code a
    /// monitor would end now, if by the log itself it were `exit`.
    pub fn look<S: Source>(
        &mut self,
        monitor: &mut Monitor<'_, S>,
        heard: Heard,
        exit: Option<Exit>,
        watch: &Watch<'_>,
        output: &Output,
    ) -> Result<Option<Exit>, Failure> {
        if watch.stop.load(Ordering::Relaxed) {
            return Ok(exit);
        }
        let sights = match self.compare(monitor, heard, watch) {
            Ok(sights) => sights,
            Err(PollError::State(error)) => return Err(state_failure(&self.args.state, &error)),
            // Shown when it was found.
            Err(_) => return Ok(Some(Exit::Fork)),
        };
        for sight in &sights {
            let Err(why) = &sight.shown else { continue };
            // Of the log itself the poll has spoken.
            if !OF_THE_LOG.contains(&&*sight.name) && !self.sights.contains(sight) {
                output.text(format!("{}: {why}", sight.name));
            }
        }
        self.sights = sights;
        Ok(exit)
    }

    fn compare<S: Source>(
        &self,
        monitor: &mut Monitor<'_, S>,
        heard: Heard,
        watch: &Watch<'_>,
    ) -> Result<Vec<Sight>, PollError> {
        let patience =
            Patience { unserved: self.args.unserved_after, silent: self.args.silent_after };
        let now = clock::now_ms() / 1_000;
        monitor.compare(&self.connections.log, self.places, (heard, now), patience, watch)
    }

    /// What each place showed last: size and root, or why there is none.
    pub fn json(&self) -> Value {
        let shown = self.sights.iter().map(|sight| {
            let shown = match &sight.shown {
                Ok(head) => json!({"root": head.root, "size": head.size}),
                Err(why) => json!({"problem": why}),
            };
            (sight.name.clone(), shown)
        });
        Value::Object(shown.collect::<Map<_, _>>())
    }
}
