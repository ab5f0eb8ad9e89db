//! What the two documents are read through: JSON, and Swagger UI with files of its own only.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use utoipa_swagger_ui::Config;

use crate::http::app::App;
use crate::http::problem::{Code, Problem};
use crate::http::reply::Answer;
use crate::http::request::Request;
use crate::http::routes::Listener;

static PUBLIC: LazyLock<Bytes> = LazyLock::new(|| json(Listener::Public));

static OPERATIONS: LazyLock<Bytes> = LazyLock::new(|| json(Listener::Operations));

/// The page: its addresses are relative, so it works behind a prefix too.
const PAGE: &str = include_str!("docs.html");

/// Starts Swagger UI.
const START: &str = include_str!("start.js");

/// The files of Swagger UI that the page uses.
const ASSETS: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// Has browsers refuse whatever would come from elsewhere. Swagger UI sets styles from its script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// GET /openapi.json of the public listener
pub async fn public_document(_: Arc<App>, _: Request) -> Answer {
    Ok(file("application/json", PUBLIC.clone()))
}

/// GET /openapi.json of the operations listener
pub async fn operations_document(_: Arc<App>, _: Request) -> Answer {
    Ok(file("application/json", OPERATIONS.clone()))
}

/// GET /docs
pub async fn page(_: Arc<App>, _: Request) -> Answer {
    let mut response = file("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

/// GET /docs/{*file}
pub async fn asset(_: Arc<App>, request: Request) -> Answer {
    let not_found = || Problem::new(Code::NotFound);
    let name = request.params.first().map_or("", String::as_str);
    if name == "start.js" {
        return Ok(file("text/javascript", Bytes::from_static(START.as_bytes())));
    }
    if !ASSETS.contains(&name) {
        return Err(not_found());
    }
    let config: Arc<Config<'static>> = Arc::new(Config::from("openapi.json"));
    let Ok(Some(asset)) = utoipa_swagger_ui::serve(name, config) else { return Err(not_found()) };
    let bytes = match asset.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Ok(file(&asset.content_type, bytes))
}

fn json(listener: Listener) -> Bytes {
    Bytes::from(serde_json::to_vec(&super::document(listener)).expect("a document is plain data"))
}

fn file(content_type: &str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).expect("a content type is visible ASCII"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Another version has other files at the same addresses.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
