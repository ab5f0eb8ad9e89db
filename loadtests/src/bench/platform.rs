//! A data platform that costs as little as one can: it reads the id of every event, remembers which it has seen, and says how
//! many there were. What forwarding costs beyond it is the service's own.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::shared::http;

/// Largest id that is remembered, a bit each: far more than any run makes.
const IDS_MAX: usize = 200_000_000;

/// One of our events, as far as it matters here.
#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
}

/// What the platform was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Requests.
    pub requests: u64,
    /// Events, each as often as it came.
    pub events: u64,
    /// Different ones.
    pub distinct: u64,
}

#[derive(Default)]
struct Seen {
    told: Told,
    /// A bit per id.
    bits: Vec<u64>,
}

impl Seen {
    /// Takes a batch, all of it or nothing.
    fn take(&mut self, body: &[u8]) -> Result<usize> {
        let events: Vec<Event<'_>> = match serde_json::from_slice(body) {
            Ok(events) => events,
            Err(_) => vec![serde_json::from_slice(body)?],
        };
        for Event { id } in &events {
            let id: usize = id.parse().ok().filter(|id| *id < IDS_MAX).context("no id")?;
            let (word, bit) = (id / 64, 1 << (id % 64));
            if self.bits.len() <= word {
                self.bits.resize(2 * word + 1, 0);
            }
            self.told.distinct += u64::from(self.bits[word] & bit == 0);
            self.bits[word] |= bit;
        }
        self.told.requests += 1;
        self.told.events += events.len() as u64;
        Ok(events.len())
    }
}

/// Answers for ever: `POST` takes events, `GET` says what came.
pub async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let seen = seen.clone();
        let service = service_fn(move |request| answer(seen.clone(), request));
        // A connection that breaks off is the other side's affair.
        tokio::spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) });
    }
}

async fn answer(seen: Arc<Mutex<Seen>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_post = request.method() == Method::POST;
    let Ok(body) = request.into_body().collect().await else { return Ok(json(StatusCode::BAD_REQUEST, "{}".into())) };
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_post {
        return Ok(json(StatusCode::OK, serde_json::to_string(&seen.told).expect("plain data")));
    }
    Ok(match seen.take(&body.to_bytes()) {
        Ok(accepted) => json(StatusCode::OK, format!(r#"{{"accepted":{accepted}}}"#)),
        Err(_) => json(StatusCode::UNPROCESSABLE_ENTITY, "{}".into()),
    })
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What it was told so far.
pub async fn told(address: SocketAddr) -> Result<Told> {
    let answer = http::get(address, "/").await?.expect(StatusCode::OK)?;
    Ok(serde_json::from_value(answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_comes_twice_is_one() {
        let mut seen = Seen::default();
        assert_eq!(seen.take(br#"[{"id":"7","data":{}},{"id":"1000"}]"#).expect("events"), 2);
        assert_eq!(seen.take(br#"{"id":"7"}"#).expect("an event"), 1);
        assert_eq!(seen.told, Told { requests: 2, events: 3, distinct: 2 });
        assert!(
            seen.take(b"[{}]").is_err() && seen.take(br#"[{"id":"x"}]"#).is_err() && seen.take(b"nonsense").is_err()
        );
    }
}
