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
    monitor::{Monitor, Patience, Place, PollError, Sight, Watch},
};

/// Where a log shows heads: the one to follow, which convicts also if no quorum cosigned it, and
/// its newest, sealed or not, which a static copy does not have.
const OF_THE_LOG: [&str; 2] = ["checkpoint", "checkpoint/latest"];

/// A witness that is slow must not keep a monitor from looking at the log.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Connections to the witnesses of the policy that have a URL.
pub fn witnesses(policy: &Policy) -> Result<Vec<(String, Fetch)>, Failure> {
    let limits = FetchLimits {
        connect_time_max: ANSWER_TIME_MAX,
        answer_time_max: ANSWER_TIME_MAX,
        body_time_max: ANSWER_TIME_MAX,
        ..FetchLimits::default()
    };
    let lines = policy.witnesses().filter_map(|line| Some((&line.name, line.url.as_deref()?)));
    let connections = lines.map(|(name, url)| match Fetch::new(url, &limits) {
        Ok(fetch) => Ok((format!("witness {name}"), fetch)),
        Err(error) => Err(Failure::config(format!("the policy's URL of witness {name}: {error}"))),
    });
    connections.collect()
}

/// What the log itself and its mirrors show, and what its witnesses last cosigned.
pub fn places<'a>(
    copies: &'a Copies,
    witnesses: &'a [(String, Fetch)],
    origin: &str,
) -> Vec<Place<'a>> {
    let id = sha256(origin.as_bytes());
    let log = copies.log();
    let own = OF_THE_LOG.map(|path| Place { name: path.into(), source: log, path: path.into() });
    let mirrors = copies.mirrors().iter().map(|mirror| Place {
        name: format!("mirror {}", mirror.base()),
        source: mirror,
        path: "checkpoint".to_owned(),
    });
    let cosigned = witnesses.iter().map(|(name, fetch)| Place {
        name: name.clone(),
        source: fetch,
        path: format!("{id}/checkpoint"),
    });
    own.into_iter().chain(mirrors).chain(cosigned).collect()
}

/// Looks at these places after each look at the log.
pub struct Around<'a> {
    args: &'a MonitorArgs,
    places: &'a [Place<'a>],
    sights: Vec<Sight>,
}

impl<'a> Around<'a> {
    pub fn new(args: &'a MonitorArgs, places: &'a [Place<'a>]) -> Self {
        Self { args, places, sights: Vec::new() }
    }

    /// Compares, says which places gave no head since the look before, and with which exit code a
    /// monitor would end now, if by the log itself it were `exit`.
    pub fn look<S: Source>(
        &mut self,
        monitor: &mut Monitor<'_, S>,
        answered: bool,
        exit: Option<Exit>,
        watch: &Watch<'_>,
        output: &Output,
    ) -> Result<Option<Exit>, Failure> {
        if watch.stop.load(Ordering::Relaxed) {
            return Ok(exit);
        }
        let patience =
            Patience { unserved: self.args.unserved_after, silent: self.args.silent_after };
        let now = clock::now_ms() / 1_000;
        let sights = match monitor.compare(self.places, answered, patience, now, watch) {
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
