//! Whom traces are sent to: takes OTLP as JSON over HTTP and keeps the spans.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running collector.
pub struct Collector {
    pub url: String,
    spans: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let spans = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, spans.clone()));
        Self { url, spans, task }
    }

    /// Every span so far, as OTLP writes it.
    pub fn spans(&self) -> Vec<Value> {
        self.spans.lock().expect("nobody panics while holding it").clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, spans: Arc<Mutex<Vec<Value>>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let spans = spans.clone();
        let service = service_fn(move |request| take(request, spans.clone()));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn take(request: Request<Incoming>, spans: Arc<Mutex<Vec<Value>>>) -> hyper::Result<Response<Full<Bytes>>> {
    assert_eq!(request.uri().path(), "/v1/traces");
    let body = request.into_body().collect().await?.to_bytes();
    let sent: Value = serde_json::from_slice(&body).expect("OTLP as JSON");
    for resource in sent["resourceSpans"].as_array().expect("resources") {
        for scope in resource["scopeSpans"].as_array().expect("scopes") {
            let of_scope = scope["spans"].as_array().expect("spans").iter().cloned();
            let with_resource = of_scope.map(|mut span| {
                span["resource"] = resource["resource"].clone();
                span
            });
            spans.lock().expect("nobody panics while holding it").extend(with_resource);
        }
    }
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}
