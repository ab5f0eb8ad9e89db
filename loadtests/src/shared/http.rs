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

/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One connection.
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
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends when `sender` is dropped; what goes wrong shows up at the next request.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: address.to_string() })
    }

    /// GET without a token.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        let request = Request::builder().uri(path).header(HOST, &self.host).body(Full::default())?;
        self.send(request).await.with_context(|| format!("GET {path}"))
    }

    /// POST of a JSON body under a key of its own.
    pub async fn post(&mut self, path: &str, token: &str, body: &Value) -> Result<Answer> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", format!("bench-{:032x}", rand::random::<u128>()))
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

/// GET over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    Http::open(address).await?.get(path).await
}
