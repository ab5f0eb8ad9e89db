//! A small HTTP client for what this program asks for itself; the load comes from wrk and goose.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Longest time for one answer: a comparison of a big shop is waited for.
const TIMEOUT: Duration = Duration::from_mins(1);

/// One connection. The service ends one that is idle for a while, so it is opened when it is needed.
pub struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, for parsing and for errors.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, when the status is the expected one.
    pub fn expect(&self, status: StatusCode) -> Result<Value> {
        ensure!(self.status == status, "expected {status}, got {}: {}", self.status, self.text());
        Ok(serde_json::from_slice(&self.body)?)
    }
}

impl Http {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens at {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends when `sender` is dropped; what goes wrong shows up at the next request.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: address.to_string() })
    }

    /// GET, with a token or without.
    pub async fn get(&mut self, path: &str, token: Option<&str>) -> Result<Answer> {
        let mut request = Request::builder().uri(path).header(HOST, &self.host);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Full::default())?).await.with_context(|| format!("GET {path}"))
    }

    /// POST of a JSON body under a key of its own.
    pub async fn post(&mut self, path: &str, token: &str, body: &Value) -> Result<Answer> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", format!("loadtests-{:032x}", rand::random::<u128>()))
            .body(Full::from(body.to_string()))?;
        self.send(request).await.with_context(|| format!("POST {path}"))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Answer { status, body })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.context("no answer in time")?
    }
}

/// GET without a token, over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    Http::open(address).await?.get(path, None).await
}

/// Where `http://HOST:PORT` is.
pub async fn address_of(url: &str) -> Result<SocketAddr> {
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let host = host.with_context(|| format!("{url}: expected http://HOST:PORT"))?;
    ensure!(!host.contains('/'), "{url}: expected http://HOST:PORT, without a path");
    let found = tokio::net::lookup_host(host).await.with_context(|| format!("{url} is nowhere"))?.next();
    found.with_context(|| format!("{url} is nowhere"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_is_a_host_and_a_port() {
        let expected: SocketAddr = ([127, 0, 0, 1], 8080).into();
        for url in ["http://127.0.0.1:8080", "http://127.0.0.1:8080/"] {
            assert_eq!(address_of(url).await.expect("an address"), expected);
        }
        for url in ["127.0.0.1:8080", "https://127.0.0.1:8080", "http://127.0.0.1", "http://127.0.0.1:8080/shop"] {
            assert!(address_of(url).await.is_err(), "{url}");
        }
    }
}
