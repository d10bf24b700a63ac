//! Preferences of a client (RFC 7240): a receipt under a witnessed checkpoint, and for how long to
//! wait for one.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

/// The preference for a witnessed receipt.
pub(super) const WITNESSED: &str = "witnessed";
/// Says that a preference was honoured.
pub(super) const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long is waited for a witnessed receipt if the client does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
/// How long at most: the whole request has 30 s.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// How long to wait for a witnessed receipt; `None` if the client does not prefer one.
///
/// Whatever else stands in the fields is ignored, as the RFC demands.
pub(super) fn witnessed(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all("prefer").iter().filter_map(|field| field.to_str().ok());
    let mut wait = None;
    let mut wanted = false;
    for preference in fields.flat_map(|field| field.split(',')) {
        // A preference may have parameters; ours have none.
        let token = preference.split(';').next().unwrap_or_default();
        let (name, value) = token.split_once('=').unwrap_or((token, ""));
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        wanted |= name.eq_ignore_ascii_case(WITNESSED) && value.is_empty();
        // The first one counts.
        if name.eq_ignore_ascii_case("wait") && wait.is_none() {
            wait = value.parse().ok().map(Duration::from_secs);
        }
    }
    wanted.then(|| wait.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_wait_for_witnesses() {
        let seconds = |fields: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("prefer", field.parse().unwrap());
            }
            witnessed(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(seconds(&["witnessed, wait=3"]), Some(3));
        assert_eq!(seconds(&["wait=3", "Witnessed"]), Some(3));
        assert_eq!(seconds(&["witnessed"]), Some(10));
        assert_eq!(seconds(&["witnessed; x=1, wait=\"0\", wait=7"]), Some(0));
        assert_eq!(seconds(&["witnessed, wait=86400"]), Some(20));
        assert_eq!(seconds(&["witnessed, wait=-1"]), Some(10));
        for none in [&[][..], &["wait=3"], &["witnessed=0"], &["respond-async"], &["xwitnessed"]] {
            assert_eq!(seconds(none), None, "{none:?}");
        }
    }
}
