//! A place outside that is told things: one URL, and everything that is posted to it.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};

use super::{Answer, client, exchange, signature};
use crate::config::Secret;
use crate::http::request::IDEMPOTENCY_KEY;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Where an outlet leads and how it signs. Has no `Debug`: the URL might carry a password until it is checked.
pub struct OutletSettings<'a> {
    /// Names it in errors, such as "the platform".
    pub what: &'static str,
    /// Where everything is posted to; http or https, without user and fragment.
    pub url: &'a str,
    /// Signs every post, see [`signature::key_of`]; empty: unsigned.
    pub secret: Secret,
    /// Time for one post, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Idle connections that are kept; how many posts are under way is for the caller to bound.
    pub connections_max: usize,
}

/// One URL that takes posts. Has no `Debug`: it knows the key.
pub struct Outlet {
    http: Client,
    url: Url,
    /// Empty: unsigned.
    key: Vec<u8>,
    timeout: Duration,
}

impl Outlet {
    /// Checks the settings; connects to nothing yet.
    ///
    /// # Errors
    /// A setting that cannot work. The text contains neither the URL nor the secret.
    pub fn new(settings: OutletSettings<'_>) -> anyhow::Result<Self> {
        let OutletSettings { what, url, secret, timeout, connections_max } = settings;
        Ok(Self {
            http: client(what, timeout, connections_max, HeaderMap::new())?,
            url: super::url(url, what)?,
            key: signature::key_of(&secret),
            timeout,
        })
    }

    /// Posts once. `id` is the same however often the same is posted, so that the other side can tell.
    ///
    /// # Errors
    /// What went wrong, for operators. The post may have arrived all the same.
    pub async fn post(&self, id: &str, content_type: &'static str, body: Bytes) -> Result<Answer, String> {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(IDEMPOTENCY_KEY, id)
            .header(WEBHOOK_ID, id)
            .header(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if !self.key.is_empty() {
            // Of this attempt: the other side refuses what is old, and an attempt may come hours after the first one.
            let timestamp = Timestamp::now().as_second();
            request = request
                .header(WEBHOOK_TIMESTAMP, timestamp)
                .header(WEBHOOK_SIGNATURE, signature::sign(&self.key, id, timestamp, &body));
        }
        exchange(request.body(body), self.timeout).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::answering::answering;
    use super::*;

    fn settings<'a>(url: &'a str, secret: &str) -> OutletSettings<'a> {
        OutletSettings {
            what: "the test",
            url,
            secret: Secret::new(secret),
            timeout: Duration::from_secs(10),
            connections_max: 1,
        }
    }

    /// What the other side gets: all headers, and the body.
    async fn posted(id: &str, secret: &str, body: &'static str) -> (String, String) {
        let (url, asked) = answering(200, "", b"{}").await;
        let outlet = Outlet::new(settings(&url, secret)).expect("valid");
        let answer = outlet.post(id, "application/json", Bytes::from_static(body.as_bytes())).await;
        assert_eq!(answer, Ok(Answer { status: 200, retry_after: None, body: b"{}".to_vec() }));
        let asked = asked.await.expect("it was asked");
        let (headers, got) = asked.split_once("\r\n\r\n").expect("headers and a body");
        (headers.to_owned(), got.to_owned())
    }

    fn header<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
        headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[tokio::test]
    async fn a_post_carries_its_id_and_a_signature_that_fits() {
        let (headers, got) = posted("17", "hunter2", r#"{"a":1}"#).await;
        assert!(headers.starts_with("POST / HTTP/1.1\r\n"), "{headers}");
        assert_eq!(got, r#"{"a":1}"#);
        assert_eq!(header(&headers, "content-type"), Some("application/json"));
        assert_eq!(header(&headers, "idempotency-key"), Some("17"));
        assert_eq!(header(&headers, "webhook-id"), Some("17"));
        let timestamp: i64 = header(&headers, "webhook-timestamp").and_then(|at| at.parse().ok()).expect("seconds");
        assert!((Timestamp::now().as_second() - timestamp).abs() < 60, "{timestamp}");
        let signed = signature::sign(b"hunter2", "17", timestamp, got.as_bytes());
        assert_eq!(header(&headers, "webhook-signature"), Some(signed.as_str()));
        assert!(!headers.contains("hunter2"), "{headers}");
    }

    #[tokio::test]
    async fn nothing_is_signed_without_a_secret() {
        let (headers, got) = posted("17", "", "[]").await;
        assert_eq!((header(&headers, "idempotency-key"), got.as_str()), (Some("17"), "[]"));
        assert!(
            headers.contains("webhook-id: 17")
                && !headers.contains("webhook-signature")
                && !headers.contains("webhook-timestamp"),
            "{headers}"
        );
    }

    #[tokio::test]
    async fn an_id_that_no_header_carries_is_never_sent() {
        let outlet = Outlet::new(settings("http://127.0.0.1:9/", "")).expect("valid");
        assert!(outlet.post("1\r\n2", "application/json", Bytes::new()).await.is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let error = Outlet::new(settings("http://u:hunter2@h/", "hunter2")).err().expect("refused");
        let error = format!("{error:?}");
        assert!(error.starts_with("the test's URL") && !error.contains("hunter2"), "{error}");
        let none = OutletSettings { timeout: Duration::ZERO, ..settings("http://h/", "") };
        assert!(Outlet::new(none).is_err());
    }
}
