//! The gateway's HTTP client: one call, one attempt, one verdict.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Call, PaymentRequest, Verdict, is_key, verdict};
use crate::config::Secret;
use crate::http::request::IDEMPOTENCY_KEY;
use crate::metrics as names;
use crate::outbound::{client, exchange, plain_url};
use crate::trace::{self, Step};

/// Names it in errors.
const OWNER: &str = "the gateway";

/// Where the gateway is and how much of it may be used.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// What `/payments` is appended to; http or https, without user, query and fragment.
    pub url: String,
    /// Sent as `Authorization: Bearer …`; empty: no such header.
    pub api_key: Secret,
    /// Time for one call, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Calls in flight (and idle connections) at most, if every caller takes a slot first.
    pub in_flight_max: usize,
}

/// The gateway as the service uses it. Clones share their connections and slots.
///
/// A call is sent once and never again: whether, when and under which key to ask again after [`Verdict::Unclear`] is
/// for the caller to decide, who alone knows what he has written down. Nothing is logged here: the verdict says it all.
#[derive(Clone)]
pub struct Gateway {
    http: Client,
    /// `{url}/payments`.
    payments: Url,
    timeout: Duration,
    slots: Arc<Semaphore>,
}

impl Gateway {
    /// Checks the settings; connects to nothing yet.
    ///
    /// # Errors
    /// A setting that cannot work. The text never contains the URL (it might carry a password) or the API key.
    pub fn new(settings: GatewaySettings) -> anyhow::Result<Self> {
        let GatewaySettings { url, api_key, timeout, in_flight_max } = settings;
        anyhow::ensure!(
            (1..=Semaphore::MAX_PERMITS).contains(&in_flight_max),
            "the gateway's calls in flight must be from 1 to {}",
            Semaphore::MAX_PERMITS
        );
        let http = client(OWNER, timeout, in_flight_max, default_headers(&api_key)?)?;
        Ok(Self { http, payments: payments_url(&url)?, timeout, slots: Arc::new(Semaphore::new(in_flight_max)) })
    }

    /// The right to have one call in flight, until it is dropped. `None`: all slots are taken; nothing was sent, so the
    /// caller answers 503 before he has written anything down.
    pub fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }

    /// Takes the money, once per key: approved, declined, or unclear.
    pub async fn charge(&self, request: &PaymentRequest<'_>) -> Verdict {
        let http = self.http.post(self.payments.clone()).header(IDEMPOTENCY_KEY, request.key);
        self.ask(Call::Charge, request.key, request.amount, json(http, request)).await
    }

    /// What became of `key`, which was to be charged `amount` minor units: any verdict. Not found is no decline.
    pub async fn find(&self, key: &str, amount: u64) -> Verdict {
        self.ask(Call::Find, key, amount, self.http.get(self.payment_url(&[key]))).await
    }

    /// Gives the whole payment back, once however often it is asked: refunded, not found, unclear, or the state that
    /// stands in the way (approved: the gateway does not give it back now).
    pub async fn refund(&self, key: &str, amount: u64) -> Verdict {
        #[derive(Serialize)]
        struct Refund {
            amount: u64,
        }
        let url = self.payment_url(&[key, "refund"]);
        let http = self.http.post(url).header(IDEMPOTENCY_KEY, format!("{key}:refund"));
        self.ask(Call::Refund, key, amount, json(http, &Refund { amount })).await
    }

    /// Makes sure that `key`, which was to be charged `amount` minor units, is never charged: voided (a charge that is
    /// still on its way will be declined), unclear, or the state that was there before and stays.
    pub async fn void(&self, key: &str, amount: u64) -> Verdict {
        self.ask(Call::Void, key, amount, self.http.post(self.payment_url(&[key, "void"]))).await
    }

    fn payment_url(&self, segments: &[&str]) -> Url {
        let mut url = self.payments.clone();
        url.path_segments_mut().expect("http and https URLs have a path").extend(segments);
        url
    }

    /// One attempt, within the timeout.
    async fn ask(&self, call: Call, key: &str, amount: u64, request: RequestBuilder) -> Verdict {
        // Another text could change the path that it stands in.
        if !is_key(key) {
            return Verdict::Unclear("never sent: this cannot be a key".to_owned());
        }
        let started = Instant::now();
        let verdict = match trace::awaited(Step::Gateway, exchange(request, self.timeout)).await {
            Ok(answer) => verdict(call, key, amount, answer.status, &answer.body),
            Err(reason) => Verdict::Unclear(reason),
        };
        histogram!(names::GATEWAY_SECONDS, "call" => call.name()).record(started.elapsed());
        counter!(names::GATEWAY_CALLS, "call" => call.name(), "verdict" => verdict.name()).increment(1);
        verdict
    }
}

fn payments_url(url: &str) -> anyhow::Result<Url> {
    let mut url = plain_url(url, OWNER)?;
    url.path_segments_mut().expect("http and https URLs have a path").pop_if_empty().push("payments");
    Ok(url)
}

fn default_headers(api_key: &Secret) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if !api_key.expose().is_empty() {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", api_key.expose()))
            .map_err(|_| anyhow::anyhow!("the gateway's API key has characters that a header cannot carry"))?;
        // Keeps it out of every debug output.
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn json(request: RequestBuilder, body: &impl Serialize) -> RequestBuilder {
    let body = serde_json::to_vec(body).expect("requests are plain data");
    request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, api_key: &str) -> GatewaySettings {
        GatewaySettings {
            url: url.to_owned(),
            api_key: Secret::new(api_key),
            timeout: Duration::from_secs(1),
            in_flight_max: 2,
        }
    }

    #[test]
    fn paths_are_appended_to_the_url_with_or_without_its_last_slash() {
        for url in ["http://127.0.0.1:9/gateway", "http://127.0.0.1:9/gateway/"] {
            let gateway = Gateway::new(settings(url, "")).expect("valid");
            let refund = gateway.payment_url(&["order:1_2.3-Z", "refund"]);
            assert_eq!(refund.as_str(), "http://127.0.0.1:9/gateway/payments/order:1_2.3-Z/refund");
        }
        let gateway = Gateway::new(settings("https://pay.example", "")).expect("valid");
        assert_eq!(gateway.payments.as_str(), "https://pay.example/payments");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_without_showing_secrets() {
        for url in [
            "",
            "nowhere",
            "ftp://h/",
            "http://u:hunter2@h/",
            "http://hunter2@h/",
            "http://h/?hunter2",
            "http://h/#hunter2",
        ] {
            let error = Gateway::new(settings(url, "")).err().expect("refused");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let error = Gateway::new(settings("http://h/", "hunter2\n")).err().expect("refused");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let mut none = settings("http://h/", "");
        none.in_flight_max = 0;
        assert!(Gateway::new(none).is_err());
    }

    #[test]
    fn the_api_key_is_sent_only_if_there_is_one_and_never_printed() {
        assert!(default_headers(&Secret::new("")).expect("valid").is_empty());
        let headers = default_headers(&Secret::new("hunter2")).expect("valid");
        assert_eq!(headers[AUTHORIZATION], "Bearer hunter2");
        assert!(!format!("{headers:?}").contains("hunter2"));
    }

    #[test]
    fn slots_are_shared_by_clones_and_come_back() {
        let gateway = Gateway::new(settings("http://h/", "")).expect("valid");
        let (first, second) = (gateway.try_slot(), gateway.clone().try_slot());
        assert!(first.is_some() && second.is_some() && gateway.try_slot().is_none());
        drop(second);
        assert!(gateway.try_slot().is_some());
    }

    #[tokio::test]
    async fn what_cannot_be_a_key_is_never_sent() {
        let gateway = Gateway::new(settings("http://127.0.0.1:9/", "")).expect("valid");
        let Verdict::Unclear(reason) = gateway.find("..", 1).await else { panic!("unclear") };
        assert!(reason.starts_with("never sent"), "{reason}");
    }
}
