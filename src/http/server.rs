//! Sockets: accepting, limits per connection, and an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use metrics::gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::routes::{Listener, Router};
use crate::config::Config;
use crate::metrics as names;

/// Pause after an accept that failed (usually for want of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that does not accept yet.
pub struct Server {
    socket: TcpListener,
    listener: Listener,
}

impl Server {
    /// Binds.
    pub async fn bind(address: SocketAddr, listener: Listener) -> anyhow::Result<Self> {
        let socket =
            TcpListener::bind(address).await.map_err(|e| anyhow::anyhow!("cannot listen on {address}: {e}"))?;
        Ok(Self { socket, listener })
    }

    /// Where it is bound.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Serves until told to stop; then lets open requests end, within the configured time.
    pub async fn run(self, app: Arc<App>, stop: CancellationToken) {
        let config = app.config.clone();
        let router = Arc::new(Router::new(app, self.listener));
        let http = builder(&config);
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(config.http_connections_max));
        let open = gauge!(names::HTTP_CONNECTIONS, "listener" => self.listener.name());
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
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
            // Answers are small and written at once.
            let _ = stream.set_nodelay(true);
            let router = router.clone();
            let service = service_fn(move |request| {
                let router = router.clone();
                async move { Ok::<_, Infallible>(router.answer(request).await) }
            });
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            let open = open.clone();
            tokio::spawn(async move {
                open.increment(1.0);
                // Errors here are the client's: timeouts, resets, garbage.
                let _ = connection.await;
                open.decrement(1.0);
                drop(slot);
            });
        }
        drop(self.socket);
        if tokio::time::timeout(config.shutdown_timeout_ms, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not end in time");
        }
    }
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = socket.accept().await?;
    Ok((stream, slot))
}

fn builder(config: &Config) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Without a timer the header timeout does nothing.
    http.timer(TokioTimer::new())
        .header_read_timeout(config.http_header_timeout_ms)
        .max_buf_size(config.http_header_bytes_max)
        .max_headers(config.http_headers_max);
    http
}
