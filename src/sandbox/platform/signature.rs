//! Whether a request is signed as Standard Webhooks says.

use hyper::StatusCode;

use crate::outbound::signature::sign;
use crate::sandbox::{Refusal, Request};

/// Header with the id of what is sent.
pub(super) const WEBHOOK_ID: &str = "webhook-id";

/// Seconds that a timestamp may differ from the time here.
const CLOCKS_APART_MAX_S: u64 = 300;

/// Refuses a request that the owner of `key` did not sign just now. `now_s`: seconds since 1970.
pub(super) fn check(request: &Request, key: &[u8], now_s: i64) -> Result<(), Refusal> {
    let refused = |reason: String| Refusal::new(StatusCode::UNAUTHORIZED, reason);
    let header = |name: &str| request.header(name).ok_or_else(|| refused(format!("the header {name} must be there")));
    let (id, timestamp, signatures) = (header(WEBHOOK_ID)?, header("webhook-timestamp")?, header("webhook-signature")?);
    let timestamp_s: i64 = timestamp.parse().map_err(|_| refused("webhook-timestamp must be seconds".to_owned()))?;
    if now_s.abs_diff(timestamp_s) > CLOCKS_APART_MAX_S {
        return Err(refused(format!("webhook-timestamp is more than {CLOCKS_APART_MAX_S} seconds away from {now_s}")));
    }
    let expected = sign(key, id, timestamp_s, &request.body);
    if signatures.split_ascii_whitespace().any(|signature| signature == expected) {
        return Ok(());
    }
    Err(refused("webhook-signature is not of this body, id and timestamp with this key".to_owned()))
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::sandbox::testing;

    const KEY: &[u8] = b"a key";
    const BODY: &str = "[]";
    const NOW_S: i64 = 1_000_000;

    fn checked(id: &str, timestamp: &str, signature: &str) -> Result<(), Refusal> {
        let headers = [(WEBHOOK_ID, id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)];
        check(&testing::request(Method::POST, &headers, BODY), KEY, NOW_S)
    }

    #[test]
    fn one_of_the_signatures_must_be_right() {
        let signature = sign(KEY, "id", NOW_S, BODY.as_bytes());
        for signatures in [signature.clone(), format!("v1,other {signature}"), format!("{signature} v1a,other")] {
            checked("id", "1000000", &signatures).expect("it is signed");
        }
        let (other_key, other_body) =
            (sign(b"another key", "id", NOW_S, BODY.as_bytes()), sign(KEY, "id", NOW_S, b"[{}]"));
        for (id, timestamp, signature) in [
            ("other", "1000000", signature.as_str()),
            ("id", "1000001", signature.as_str()),
            ("id", "now", signature.as_str()),
            ("id", "1000000", signature.trim_start_matches("v1,")),
            ("id", "1000000", ""),
            ("id", "1000000", other_key.as_str()),
            ("id", "1000000", other_body.as_str()),
        ] {
            let refusal = checked(id, timestamp, signature).expect_err("it is not signed");
            assert_eq!(refusal.status, StatusCode::UNAUTHORIZED, "{id} {timestamp} {signature}");
        }
    }

    #[test]
    fn every_header_must_be_there() {
        let signature = sign(KEY, "id", NOW_S, BODY.as_bytes());
        let all = [(WEBHOOK_ID, "id"), ("webhook-timestamp", "1000000"), ("webhook-signature", signature.as_str())];
        for (missing, _) in all {
            let headers: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
            let request = testing::request(Method::POST, &headers, BODY);
            let refusal = check(&request, KEY, NOW_S).expect_err("it is not signed");
            assert!(refusal.reason.contains(missing), "{}", refusal.reason);
        }
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_on_either_side() {
        for (seconds, expected) in [(-301, false), (-300, true), (300, true), (301, false), (i64::MAX - NOW_S, false)] {
            let timestamp = NOW_S + seconds;
            let signature = sign(KEY, "id", timestamp, BODY.as_bytes());
            assert_eq!(checked("id", &timestamp.to_string(), &signature).is_ok(), expected, "{seconds}");
        }
    }
}
