//! The floor: a bare hyper http1 responder. It takes the same requests and answers with a constant order, so it costs
//! what HTTP, the kernel and wrk cost on this machine; what the service costs more is its own.

use std::net::Ipv4Addr;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Bench;
use super::responder::Responder;
use super::wrk::{self, Load};

/// The size of a typical order's answer, address included.
const ANSWER: &str = concat!(
    r#"{"orderId":"17592186044417","status":"CONFIRMED","#,
    r#""items":[{"productId":1,"productName":"Limited sneaker, first edition","unitPrice":129000,"#,
    r#""quantity":1,"discountAmount":0,"amount":129000}],"#,
    r#""couponIds":[],"totalAmount":129000,"discountAmount":0,"finalAmount":129000,"#,
    r#""paymentMethod":"BALANCE","shippingAddress":{"recipient":"Kim Minjun","phone":"+82-10-1234-5678","#,
    r#""line1":"110 Sejong-daero, Jung-gu","line2":"Apartment 1204, Building 3","city":"Seoul","#,
    r#""postalCode":"04524","country":"KR"},"createdAt":"2026-11-20T15:00:00.123Z","#,
    r#""paidAt":"2026-11-20T15:00:00.123Z","remainingBalance":871000}"#,
);

/// Product ids in the requests of the floor: as many as the service gets, and as long.
const PRODUCTS: [u32; 5] = [1, 2, 3, 4, 5];

/// Answers for ever.
pub async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // wrk cuts its connections at the end of a run: no error here.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await);
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    // A server that is asked to POST reads the body, so the floor does too.
    request.into_body().collect().await?;
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Answers per second, with nothing else running.
pub async fn measure(bench: &Bench) -> Result<f64> {
    let responder = Responder::start(bench, "floor").await?;
    let address = responder.address;
    wrk::run(bench, address, Load::Orders(&PRODUCTS), bench.plan.floor_warm_up).await?;
    let load = wrk::run(bench, address, Load::Orders(&PRODUCTS), bench.plan.floor).await?;
    anyhow::ensure!(load.non_2xx == 0 && load.socket_errors == 0, "the floor itself failed: {load:?}");
    Ok(load.accepted_per_s())
}
