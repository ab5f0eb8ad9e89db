//! HTTP to the outside: what all our clients share, and [`Outlet`] for those that only post.
//!
//! A request is sent once, to the URL that the settings name and nowhere else: whether to send it again is for the
//! caller to decide. Nothing is logged here, and no error shows a URL: it might carry a password.

#[cfg(test)]
mod answering;
mod outlet;
pub mod signature;

use std::error::Error;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url};

use crate::trace;

pub use outlet::{Outlet, OutletSettings};

/// Bytes of an answer's body that are read at most: what we wait for is far smaller.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest time for a connection to stand, if the timeout is not shorter still: who does not even take a connection
/// will not answer in time.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// An idle connection is closed before the other side is likely to do so: a request that meets a closing connection has
/// an unclear outcome for nothing.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// How long the other side wants to be left alone (`Retry-After`); `None` when it does not say so, or not legibly.
    pub retry_after: Option<Duration>,
    /// All of the body.
    pub body: Vec<u8>,
}

/// The client for one place. `owner` (such as "the gateway") names it in errors, `connections_max` is how many idle
/// connections are kept, `headers` go with every request.
///
/// # Errors
/// A setting that cannot work.
pub fn client(owner: &str, timeout: Duration, connections_max: usize, headers: HeaderMap) -> anyhow::Result<Client> {
    anyhow::ensure!(!timeout.is_zero(), "{owner}'s timeout must be above 0");
    Client::builder()
        .default_headers(headers)
        .connect_timeout(timeout.min(CONNECT_TIMEOUT_MAX))
        .pool_max_idle_per_host(connections_max)
        .pool_idle_timeout(IDLE_MAX)
        // A request goes where the settings say, and nowhere else.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .build()
        .with_context(|| format!("{owner}'s HTTP client"))
}

/// Reads the URL of `owner`: http or https, without user and fragment.
///
/// # Errors
/// Anything else. The text never contains the URL.
pub fn url(text: &str, owner: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("{owner}'s URL"))?;
    let allowed = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    anyhow::ensure!(allowed, "{owner}'s URL must be http or https, without user and fragment");
    Ok(url)
}

/// As [`url`], for one that paths are appended to: without a query.
///
/// # Errors
/// Anything else. The text never contains the URL.
pub fn plain_url(text: &str, owner: &str) -> anyhow::Result<Url> {
    let url = url(text, owner)?;
    anyhow::ensure!(url.query().is_none(), "{owner}'s URL must have no query");
    Ok(url)
}

/// One attempt, from connecting to the last byte of the answer within `timeout`.
///
/// # Errors
/// What went wrong, for operators. The request may have arrived all the same.
pub async fn exchange(request: RequestBuilder, timeout: Duration) -> Result<Answer, String> {
    tokio::time::timeout(timeout, send(request))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} ms", timeout.as_millis())))
}

async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let mut headers = HeaderMap::new();
    trace::hand_on(&mut headers);
    let request = request.headers(headers);
    let mut response = request.send().await.map_err(described)?;
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| pause(value, SystemTime::now()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(described)? {
        append(&mut body, &chunk)?;
    }
    Ok(Answer { status: response.status().as_u16(), retry_after, body })
}

fn append(body: &mut Vec<u8>, chunk: &Bytes) -> Result<(), String> {
    if body.len() + chunk.len() > ANSWER_BYTES_MAX {
        return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
    }
    body.extend_from_slice(chunk);
    Ok(())
}

/// Reads a `Retry-After`: seconds or an HTTP date. A date that is over asks for nothing any more.
fn pause(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    if value.bytes().all(|b| b.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// The error with its causes, without the URL.
fn described(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tokio::net::TcpListener;

    use super::answering::answering;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn any_client() -> Client {
        client("the test", TIMEOUT, 1, HeaderMap::new()).expect("valid")
    }

    async fn ask(status: u16, headers: &str, body: &[u8]) -> Result<Answer, String> {
        let (url, asked) = answering(status, headers, body).await;
        let answer = exchange(any_client().get(url), TIMEOUT).await;
        asked.await.expect("it was asked");
        answer
    }

    #[test]
    fn a_url_is_plain_or_refused_without_being_shown() {
        assert_eq!(plain_url("https://h/a/", "the test").expect("plain").as_str(), "https://h/a/");
        for url in [
            "",
            "hunter2",
            "ftp://hunter2/",
            "http://u:hunter2@h/",
            "http://hunter2@h/",
            "http://h/?hunter2",
            "http://h/#hunter2",
        ] {
            let error = format!("{:?}", plain_url(url, "the test").expect_err("refused"));
            assert!(error.starts_with("the test's URL") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_timeout_of_nothing_is_refused() {
        let error = client("the test", Duration::ZERO, 1, HeaderMap::new()).expect_err("refused");
        assert_eq!(error.to_string(), "the test's timeout must be above 0");
    }

    #[test]
    fn an_answer_is_read_up_to_its_limit() {
        let mut body = Vec::new();
        append(&mut body, &Bytes::from(vec![b' '; ANSWER_BYTES_MAX])).expect("fits");
        assert!(append(&mut body, &Bytes::from_static(b" ")).is_err());
        assert_eq!(body.len(), ANSWER_BYTES_MAX);
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |value| pause(&HeaderValue::from_static(value), now).map(|pause| pause.as_secs());
        for (value, seconds) in [
            ("0", 0),
            ("120", 120),
            (" 7 ", 7),
            ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
            ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
            ("Sun Nov  6 08:50:37 1994", 60),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:36 GMT", 0),
        ] {
            assert_eq!(read(value), Some(seconds), "{value}");
        }
        for value in
            ["", " ", "soon", "-1", "+1", "1.5", "1e3", "99999999999999999999", "Sun, 07 Nov 1994 08:50:37 GMT"]
        {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[tokio::test]
    async fn an_answer_comes_with_its_status_its_pause_and_its_body() {
        let busy = Answer { status: 503, retry_after: Some(Duration::from_secs(7)), body: b"busy".to_vec() };
        assert_eq!(ask(503, "retry-after: 7\r\n", b"busy").await, Ok(busy));
        let plain = Answer { status: 204, retry_after: None, body: Vec::new() };
        assert_eq!(ask(204, "retry-after: soon\r\n", b"").await, Ok(plain));
    }

    #[tokio::test]
    async fn who_is_asked_learns_which_trace_it_is_for() {
        let (url, asked) = answering(200, "", b"").await;
        let mut came = HeaderMap::new();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        came.insert("traceparent", HeaderValue::from_static(parent));
        let trace = trace::Trace::begin(trace::context::Context::of(&came));
        let exchanged = trace.clone().scope(exchange(any_client().get(url), TIMEOUT)).await;
        assert_eq!(exchanged.map(|answer| answer.status), Ok(200));
        let asked = asked.await.expect("it was asked");
        assert!(asked.contains(&format!("\r\ntraceparent: {parent}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn nobody_is_sent_elsewhere() {
        let answer = ask(307, "location: /elsewhere\r\n", b"").await.expect("an answer");
        assert_eq!(answer.status, 307);
    }

    #[tokio::test]
    async fn what_is_too_large_is_no_answer() {
        let body = " ".repeat(ANSWER_BYTES_MAX + 1).into_bytes();
        assert!(ask(200, "", &body[1..]).await.is_ok());
        let error = ask(200, "", &body).await.expect_err("too large");
        assert_eq!(error, "the answer is larger than 65536 bytes");
    }

    #[tokio::test]
    async fn silence_ends_with_the_timeout_and_no_error_shows_the_url() {
        // Nobody accepts, but the kernel lets the connection stand.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hunter2", listener.local_addr().expect("it is bound"));
        let silence = exchange(any_client().get(url.as_str()), Duration::from_millis(50)).await;
        assert_eq!(silence, Err("no answer within 50 ms".to_owned()));
        drop(listener);
        let error = exchange(any_client().get(url.as_str()), TIMEOUT).await.expect_err("nobody is there");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
