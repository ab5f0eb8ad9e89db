//! A webhook: one URL that takes JSON. A call is one attempt with one outcome.

use metrics::counter;
use serde::Serialize;

use crate::forwarder::sink::Outcome;
use crate::metrics as names;
use crate::outbound::{Answer, Outlet};

const JSON: &str = "application/json";

/// Characters of an error that are kept: it goes into logs and tables.
const ERROR_CHARS_MAX: usize = 200;

/// A webhook, and how its last call ended.
pub(super) struct Webhook<'a> {
    /// What it takes, as metrics label it.
    kind: &'static str,
    outlet: &'a Outlet,
    /// Why it failed the last time, so that one that is away is told once.
    told: String,
}

impl<'a> Webhook<'a> {
    pub(super) fn new(kind: &'static str, outlet: &'a Outlet) -> Self {
        Self { kind, outlet, told: String::new() }
    }

    /// Calls once, with a body that holds `count` notices or alerts.
    pub(super) async fn call(&mut self, id: &str, body: &impl Serialize, count: usize) -> Outcome {
        let body = serde_json::to_vec(body).expect("bodies are plain data");
        let outcome = outcome_of(self.outlet.post(id, JSON, body.into()).await);
        let label = match &outcome {
            Outcome::Delivered => {
                self.told.clear();
                "sent"
            }
            Outcome::Refused(reason) | Outcome::Unavailable { reason, .. } => {
                if *reason != self.told {
                    tracing::warn!(kind = self.kind, reason, "a webhook did not take what was sent");
                    self.told.clone_from(reason);
                }
                "failed"
            }
        };
        counter!(names::NOTICES, "kind" => self.kind, "outcome" => label).increment(count as u64);
        outcome
    }
}

/// What an answer means. Refused is only what blames the body: a wrong path, a redirect or a signature that is not accepted is
/// no fault of what was sent, and must not use up its tries. It is as if nobody were there, until somebody sets it right.
fn outcome_of(answer: Result<Answer, String>) -> Outcome {
    match answer {
        Ok(Answer { status: 200..=299, .. }) => Outcome::Delivered,
        Ok(Answer { status: status @ (400 | 413 | 422), .. }) => Outcome::Refused(format!("HTTP {status}")),
        Ok(Answer { status, retry_after, .. }) => {
            let pause = retry_after.filter(|_| matches!(status, 429 | 503));
            Outcome::Unavailable { reason: format!("HTTP {status}"), pause }
        }
        Err(reason) => {
            let reason = reason.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect();
            Outcome::Unavailable { reason, pause: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_status_has_its_outcome() {
        let pause = Some(Duration::from_secs(7));
        for status in 100..600 {
            let reason = format!("HTTP {status}");
            let expected = match status {
                200..=299 => Outcome::Delivered,
                400 | 413 | 422 => Outcome::Refused(reason),
                429 | 503 => Outcome::Unavailable { reason, pause },
                _ => Outcome::Unavailable { reason, pause: None },
            };
            assert_eq!(outcome_of(Ok(Answer { status, retry_after: pause, body: b"no".to_vec() })), expected);
        }
    }

    #[test]
    fn what_never_answered_is_unavailable_and_its_reason_tame() {
        let reason = format!("a\n\u{0}{}", "ㄱ".repeat(1_000));
        let tame = format!("a{}", "ㄱ".repeat(ERROR_CHARS_MAX - 1));
        assert_eq!(outcome_of(Err(reason)), Outcome::Unavailable { reason: tame, pause: None });
    }
}
