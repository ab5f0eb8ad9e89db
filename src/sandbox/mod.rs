//! `flashsale sandbox`: plays the other side for development and tests, with faults to switch on. On loopback only, and
//! in memory only: everything is forgotten when it ends.
//!
//! | path | what answers |
//! |---|---|
//! | `/gateway/…` | a payment gateway, as [`crate::gateway`] describes it, and its switches; see `gateway/mod.rs` |
//! | `/platform/…` | a data platform that takes orders and balances, notices and alerts; see `platform/mod.rs` |

mod gateway;
mod odds;
mod platform;
#[cfg(test)]
mod testing;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Either, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{print_line, stop_signal};
use crate::http::object::Object;
use crate::http::reply;
use gateway::PlayedGateway;
use platform::PlayedPlatform;

/// Open connections; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 4_096;

/// Time for a request's head to arrive, and for an idle connection to live: longer than clients keep theirs.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head (and of the read buffer).
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a request's body (413 beyond).
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The same for the data platform, which takes many events at once: more than its protocol allows, so that it is the
/// platform that says so.
const PLATFORM_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Time for a request's body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after an accept that failed (usually for want of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Options of `flashsale sandbox`.
#[derive(Debug, clap::Args)]
pub struct SandboxOptions {
    /// Port on loopback; 0: any free one.
    #[arg(long, default_value_t = 8082)]
    pub port: u16,
    /// Address and port in place of loopback, as a container needs it. Whoever reaches it can switch faults on.
    #[arg(long, conflicts_with = "port")]
    pub listen: Option<SocketAddr>,
}

/// Runs until SIGINT or SIGTERM. Prints one line, `sandbox http://127.0.0.1:PORT`, as soon as it can be called.
pub async fn run(options: SandboxOptions) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let sandbox = match options.listen {
        Some(address) => Sandbox::bind_to(address).await?,
        None => Sandbox::bind(options.port).await?,
    };
    print_line(&format!("sandbox http://{}", sandbox.address()));
    sandbox.run(stop).await;
    Ok(())
}

/// A bound socket on loopback that does not accept yet.
pub struct Sandbox {
    socket: TcpListener,
    address: SocketAddr,
}

impl Sandbox {
    /// Binds to a port of 127.0.0.1; 0: any free one.
    pub async fn bind(port: u16) -> anyhow::Result<Self> {
        Self::bind_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
    }

    /// Binds to any address.
    pub async fn bind_to(asked: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(asked).await.map_err(|e| anyhow::anyhow!("cannot listen on {asked}: {e}"))?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop. Then it is gone at once, with everything it knew: what is open gets no answer.
    pub async fn run(self, stop: CancellationToken) {
        let sides = Arc::new(Sides { gateway: PlayedGateway::new(), platform: PlayedPlatform::new() });
        let mut http = http1::Builder::new();
        // Without a timer the header timeout does nothing.
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES_MAX);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // Dropped at the end, which ends the connections.
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                // Forgets connections that ended.
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.socket, &slots) => accepted,
            };
            let (stream, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Answers are written at once.
            let _ = stream.set_nodelay(true);
            let sides = sides.clone();
            let service = service_fn(move |request| {
                let sides = sides.clone();
                async move { sides.answer(request).await }
            });
            let connection = http.serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
                // Errors here are the client's, or a fault that was asked for.
                let _ = connection.await;
                drop(slot);
            });
        }
    }
}

async fn accept(socket: &TcpListener, slots: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = socket.accept().await?;
    Ok((stream, slot))
}

/// Everybody whom the sandbox plays, each under the first part of the path.
struct Sides {
    gateway: PlayedGateway,
    platform: PlayedPlatform,
}

/// The body of an answer: all of it, or one that breaks off.
type AnswerBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, HangUp>>;

impl Sides {
    /// Answers, or ends the connection without an answer, which is what an error means to hyper.
    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<Response<AnswerBody>, HangUp> {
        let (head, body) = request.into_parts();
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let body = match read_body(body, body_bytes_max(&path)).await {
            Ok(body) => body,
            Err(refusal) => return Ok(refusal.into_response().map(Either::Left)),
        };
        let request = Request { method: head.method, headers: head.headers, body };
        let reply = match path.as_slice() {
            ["gateway", rest @ ..] => self.gateway.answer(&request, rest),
            ["platform", rest @ ..] => self.platform.answer(&request, rest),
            _ => Refusal::unknown_path().into(),
        };
        match reply {
            Reply::Now(response) => Ok(response.map(Either::Left)),
            Reply::After(delay, response) => {
                tokio::time::sleep(delay).await;
                Ok(response.map(Either::Left))
            }
            Reply::Cut(response) => Ok(cut(response)),
            Reply::HangUp => Err(HangUp),
        }
    }
}

fn body_bytes_max(path: &[&str]) -> usize {
    match path {
        ["platform", ..] => PLATFORM_BODY_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

async fn read_body(body: Incoming, bytes_max: usize) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let reason = format!("the body must not be larger than {bytes_max} bytes");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason))
        }
        Ok(Err(_)) => Err(Refusal::invalid("the body could not be read")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

/// A request that has arrived as a whole. Whoever answers it does so without waiting: what a client who goes away
/// leaves behind is a request that was not begun, or one that was done.
struct Request {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// The body, which must be JSON.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| Refusal::invalid(format!("the body is not valid: {error}")))
    }

    /// The body, which must be a JSON object.
    fn object<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        self.json().map(|Object(body)| body)
    }

    /// A header that is there and is text.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What becomes of a request.
enum Reply {
    Now(Response<Full<Bytes>>),
    After(Duration, Response<Full<Bytes>>),
    /// The answer promises more than it has, and the connection ends after what it has.
    Cut(Response<Full<Bytes>>),
    /// The connection ends without an answer.
    HangUp,
}

/// No to a request that is not of the protocol: `{error}`, a sentence for people.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "the sandbox has no such path")
    }

    fn unknown_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
    }

    /// By a fault that was switched on.
    fn asked_for(status: StatusCode) -> Self {
        Self::new(status, "a fault that was asked for")
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        reply::json(self.status, &json!({"error": self.reason}))
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Now(refusal.into_response())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("told to end the connection")]
struct HangUp;

/// An answer that claims to be JSON, whatever it is.
fn claimed_json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Sends the whole body behind the promise of one byte more, and then ends the connection.
fn cut(mut response: Response<Full<Bytes>>) -> Response<AnswerBody> {
    let promised = response.body().size_hint().lower() + 1;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(promised));
    response.map(|whole| {
        let sent = BodyStream::new(whole.map_err(|never| -> HangUp { match never {} }));
        let end = stream::once(async {
            // Lets hyper send what it has: at an error it throws that away.
            tokio::task::yield_now().await;
            Err(HangUp)
        });
        Either::Right(StreamBody::new(sent.chain(end)).boxed_unsync())
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_answer_promises_more_than_it_sends() {
        let (mut client, server) = tokio::io::duplex(HEADER_BYTES_MAX);
        let service = service_fn(|_: hyper::Request<Incoming>| async {
            Ok::<_, HangUp>(cut(reply::json(StatusCode::OK, &json!({"accepted": 1}))))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        client.write_all(b"GET / HTTP/1.1\r\nhost: sandbox\r\n\r\n").await.expect("there is room");
        let mut answer = String::new();
        let (ended, read) = tokio::join!(connection, client.read_to_string(&mut answer));
        assert!(ended.is_err() && read.is_ok(), "{answer}");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 15\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n{\"accepted\":1}"), "{answer}");
    }

    #[test]
    fn only_the_platform_takes_large_bodies() {
        assert_eq!(body_bytes_max(&["platform", "events"]), PLATFORM_BODY_BYTES_MAX);
        for path in [&["gateway", "payments"][..], &["events", "platform"][..], &[""][..]] {
            assert_eq!(body_bytes_max(path), BODY_BYTES_MAX, "{path:?}");
        }
    }
}
