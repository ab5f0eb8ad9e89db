//! The route table: every endpoint of both listeners, once.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_LANGUAGE, AUTHORIZATION};
use hyper::{HeaderMap, Method, Response, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

use super::access_log::AccessLog;
use super::admin::{
    coupons as admin_coupons, dead_letters as admin_dead_letters, orders as admin_orders, products as admin_products,
    verify as admin_verify,
};
use super::app::App;
use super::auth::Identity;
use super::problem::{Code, Language, Problem};
use super::reply::Body;
use super::request::{IDEMPOTENCY_KEY, Request};
use super::{balance, cart, coupons, find_order, live, openapi, operations, orders, pages, payments, products};
use crate::metrics as names;
use crate::trace::context::Context;
use crate::trace::{Trace, X_REQUEST_ID};

/// Which socket a route lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The public one.
    Public,
    /// Metrics, health and admin.
    Operations,
}

impl Listener {
    /// As metrics label it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Operations => "operations",
        }
    }
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Anybody with a token.
    User,
    /// Tokens with the role `admin`.
    Admin,
}

type Handler = fn(Arc<App>, Request) -> BoxFuture<'static, Result<Response<Body>, Problem>>;

/// One endpoint.
pub struct Route {
    /// Its socket.
    pub listener: Listener,
    /// Method and pattern, such as `GET /api/orders/{id}`; also its label in metrics.
    pub name: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it refuses of its own, beside what follows from its access, its input and its method: see [`openapi`].
    pub refusals: &'static [Code],
    handler: Handler,
}

impl Route {
    /// Method and pattern apart.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once(' ').expect("a route is named METHOD PATTERN")
    }
}

macro_rules! routes {
    (
        $($listener:ident $access:ident $name:literal => $module:ident::$handler:ident
            $(refuses [$($code:ident),+])?;)+
    ) => {
        /// Every endpoint.
        pub const ROUTES: &[Route] = &[$(Route {
            listener: Listener::$listener,
            name: $name,
            access: Access::$access,
            refusals: &[$($(Code::$code),+)?],
            handler: |app, request| {
                Box::pin(async move { $module::$handler(app, request).await.map(|response| response.map(Body::from)) })
            },
        },)+];
    };
}

routes! {
    Public Open "GET /api/products" => products::list;
    Public Open "GET /api/products/popular" => products::popular;
    Public Open "GET /api/products/{id}" => products::get refuses [ProductNotFound];
    Public Open "GET /api/products/{id}/stock" => products::stock refuses [ProductNotFound];
    Public User "POST /api/products/{id}/restock-notifications" => products::request_restock refuses [ProductNotFound];
    Public User "GET /api/cart" => cart::get;
    Public User "DELETE /api/cart" => cart::clear;
    Public User "POST /api/cart/items" => cart::add
        refuses [ProductNotFound, ExceededLimitedQuantity, InsufficientStock];
    Public User "PUT /api/cart/items/{productId}" => cart::set
        refuses [ProductNotFound, ExceededLimitedQuantity, InsufficientStock];
    Public User "DELETE /api/cart/items/{productId}" => cart::remove refuses [ProductNotFound];
    Public User "GET /api/users/me/balance" => balance::get;
    Public User "POST /api/users/me/balance/charge" => balance::charge refuses [InvalidAmount, PaymentDeclined];
    Public User "GET /api/users/me/balance/transactions" => balance::transactions;
    Public Open "GET /api/coupons" => coupons::list;
    Public User "POST /api/coupons/validate" => coupons::validate refuses [ProductNotFound, InvalidCoupon];
    Public User "POST /api/coupons/{couponId}/issue" => coupons::issue
        refuses [CouponNotFound, CouponNotOpen, CouponSoldOut, AlreadyIssued];
    Public User "GET /api/users/me/coupons" => coupons::mine;
    Public User "POST /api/orders" => orders::place
        refuses [CartEmpty, ProductNotFound, SaleNotOpen, SaleClosed, ExceededLimitedQuantity, InsufficientStock,
            InvalidCoupon, AmountMismatch, InsufficientBalance, TooManyOpenOrders];
    Public User "GET /api/orders" => find_order::list;
    Public User "GET /api/orders/{id}" => find_order::get refuses [OrderNotFound];
    Public User "POST /api/orders/{id}/cancel" => orders::cancel refuses [OrderNotFound, InvalidOrderState];
    Public User "POST /api/payments" => payments::pay
        refuses [OrderNotFound, InvalidOrderState, AmountMismatch, InsufficientBalance, PaymentDeclined];
    Public Open "GET /" => pages::page;
    Public Open "GET /shop/{file}" => pages::file;
    Public Open "POST /dev/session" => pages::session;
    Public Open "GET /openapi.json" => openapi::public_document;
    Public Open "GET /docs" => openapi::page;
    Public Open "GET /docs/{*file}" => openapi::asset;
    Operations Open "GET /metrics" => operations::metrics;
    Operations Open "GET /healthz" => operations::healthz;
    Operations Open "GET /readyz" => operations::readyz;
    Operations Admin "POST /admin/products" => admin_products::create_product;
    Operations Admin "PATCH /admin/products/{id}" => admin_products::change_product refuses [ProductNotFound];
    Operations Admin "POST /admin/products/{id}/stock" => admin_products::adjust_stock
        refuses [ProductNotFound, InsufficientStock];
    Operations Admin "POST /admin/coupons" => admin_coupons::create refuses [ProductNotFound];
    Operations Admin "PATCH /admin/coupons/{id}" => admin_coupons::update refuses [CouponNotFound];
    Operations Admin "POST /admin/orders/{id}/settle" => admin_orders::settle
        refuses [OrderNotFound, InvalidOrderState];
    Operations Admin "GET /admin/dead-letters" => admin_dead_letters::list;
    Operations Admin "POST /admin/dead-letters/replay" => admin_dead_letters::replay_all;
    Operations Admin "POST /admin/dead-letters/{id}/replay" => admin_dead_letters::replay_one
        refuses [DeadLetterNotFound];
    Operations Admin "GET /admin/verify" => admin_verify::report;
    Operations Open "GET /" => live::home;
    Operations Open "GET /live" => live::page;
    Operations Open "GET /live/{file}" => live::file;
    Operations Open "GET /live/events" => live::events;
    Operations Open "POST /live/rush" => live::rush refuses [ProductNotFound];
    Operations Open "POST /live/restock" => live::restock refuses [ProductNotFound];
    Operations Open "GET /openapi.json" => openapi::operations_document;
    Operations Open "GET /docs" => openapi::page;
    Operations Open "GET /docs/{*file}" => openapi::asset;
}

/// Metrics of one route, with handles made once.
struct RouteMetrics {
    listener: Listener,
    name: &'static str,
    seconds: Histogram,
    /// By status from 100 to 599.
    requests: Vec<OnceLock<Counter>>,
}

impl RouteMetrics {
    fn new(listener: Listener, name: &'static str) -> Self {
        let seconds = histogram!(names::HTTP_SECONDS, "listener" => listener.name(), "route" => name);
        Self { listener, name, seconds, requests: (0..500).map(|_| OnceLock::new()).collect() }
    }

    fn count(&self, status: u16, started: Instant) {
        self.seconds.record(started.elapsed());
        let labels = || {
            counter!(names::HTTP_REQUESTS, "listener" => self.listener.name(), "route" => self.name,
                "status" => status.to_string())
        };
        if let Some(slot) = self.requests.get(usize::from(status.saturating_sub(100))) {
            slot.get_or_init(labels).increment(1);
        }
    }
}

/// The routes of one listener, ready to match.
pub struct Router {
    app: Arc<App>,
    patterns: matchit::Router<HashMap<Method, (&'static Route, Arc<RouteMetrics>)>>,
    log: AccessLog,
    /// For requests that match no route.
    unmatched: RouteMetrics,
}

impl Router {
    /// The routes of `listener`.
    pub fn new(app: Arc<App>, listener: Listener) -> Self {
        let mut by_pattern: HashMap<&'static str, HashMap<Method, _>> = HashMap::new();
        for route in ROUTES.iter().filter(|route| route.listener == listener) {
            let (method, pattern) = route.parts();
            let method = Method::from_bytes(method.as_bytes()).expect("the table names methods");
            let metrics = Arc::new(RouteMetrics::new(listener, route.name));
            by_pattern.entry(pattern).or_default().insert(method, (route, metrics));
        }
        let mut patterns = matchit::Router::new();
        for (pattern, methods) in by_pattern {
            patterns.insert(pattern, methods).expect("patterns do not contradict each other");
        }
        let log = AccessLog::new(app.config.slow_order_ms);
        Self { app, patterns, log, unmatched: RouteMetrics::new(listener, "none") }
    }

    /// Answers one request; every failure becomes a problem document.
    pub async fn answer(&self, request: hyper::Request<Incoming>) -> Response<Body> {
        let is_trusted = self.app.config.http_traceparent_trusted;
        let trace = Trace::begin(is_trusted.then(|| Context::of(request.headers())).flatten());
        let mut response = trace.clone().scope(self.answer_traced(request, &trace)).await;
        response.headers_mut().insert(X_REQUEST_ID, trace.header());
        response
    }

    async fn answer_traced(&self, request: hyper::Request<Incoming>, trace: &Trace) -> Response<Body> {
        let mut ending = Ending {
            log: &self.log,
            metrics: &self.unmatched,
            trace,
            #[cfg(feature = "otel")]
            method: request.method().clone(),
            status: client_gone(),
        };
        let response = self.decide(request, &mut ending).await;
        ending.status = response.status();
        response
    }

    async fn decide<'a>(&'a self, request: hyper::Request<Incoming>, ending: &mut Ending<'a>) -> Response<Body> {
        let language = Language::from_accept(request.headers().get(ACCEPT_LANGUAGE));
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let Ok(matched) = self.patterns.at(path) else {
            return Problem::new(Code::NotFound).into_response(language).map(Body::from);
        };
        let Some((route, metrics)) = matched.value.get(&parts.method) else {
            let mut allowed: Vec<_> = matched.value.keys().map(Method::as_str).collect();
            allowed.sort_unstable();
            let problem = Problem::new(Code::MethodNotAllowed).allow(allowed.join(", "));
            return problem.into_response(language).map(Body::from);
        };
        ending.metrics = metrics;
        let params = matched.params.iter().map(|(_, value)| value.to_owned()).collect();
        match self.admit(route, parts.headers.get(AUTHORIZATION)) {
            Err(problem) => {
                ending.trace.matched(route.name, None);
                problem.into_response(language).map(Body::from)
            }
            Ok(identity) => {
                ending.trace.matched(route.name, identity.as_ref().map(|identity| identity.pseudonym));
                let request = Request {
                    route: route.name,
                    path: path.to_owned(),
                    params,
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    made_key: made_key(route, &parts.headers),
                    headers: parts.headers,
                    identity,
                    body,
                };
                self.handle(route, request, language).await
            }
        }
    }

    fn admit(
        &self,
        route: &Route,
        authorization: Option<&hyper::header::HeaderValue>,
    ) -> Result<Option<Identity>, Problem> {
        if route.access == Access::Open {
            return Ok(None);
        }
        let identity = self.app.tokens.verify(authorization)?;
        if route.access == Access::Admin && !identity.admin {
            return Err(Problem::new(Code::Forbidden));
        }
        self.app.check_rate(&identity.user)?;
        Ok(Some(identity))
    }

    async fn handle(&self, route: &Route, request: Request, language: Language) -> Response<Body> {
        let writes = writes(route);
        let key = request.idempotency_key().ok().flatten().or_else(|| request.made_key.clone());
        let answer = AssertUnwindSafe((route.handler)(self.app.clone(), request)).catch_unwind();
        let answer = match tokio::time::timeout(self.app.config.http_handler_timeout_ms, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Problem::new(Code::InternalError)),
            // What changes something may have done so; a read has not.
            Err(_) if writes => {
                let problem = Problem::new(Code::OutcomeUnknown);
                Err(match key {
                    Some(key) => problem.with("idempotencyKey", key.as_str()).named(key),
                    None => problem,
                })
            }
            Err(_) => Err(Problem::new(Code::Unavailable)),
        };
        answer.unwrap_or_else(|problem| problem.into_response(language).map(Body::from))
    }
}

/// Tells of a request when it has ended, also when its client has gone and the rest of the work is dropped.
struct Ending<'a> {
    log: &'a AccessLog,
    metrics: &'a RouteMetrics,
    trace: &'a Trace,
    #[cfg(feature = "otel")]
    method: Method,
    status: StatusCode,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.metrics.count(self.status.as_u16(), self.trace.started());
        self.log.ended(self.metrics.name, self.trace, self.status);
        #[cfg(feature = "otel")]
        self.trace.export(&self.method, self.status);
    }
}

/// 499, as nginx has it: nobody was there any more to be answered.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).expect("a number of three digits")
}

/// Whether a route may change something.
fn writes(route: &Route) -> bool {
    !route.name.starts_with("GET ")
}

/// A fresh key for a request that may change something and names none, so that whatever happens it can be told.
fn made_key(route: &Route, headers: &HeaderMap) -> Option<String> {
    (writes(route) && !headers.contains_key(IDEMPOTENCY_KEY)).then(|| uuid::Uuid::new_v4().to_string())
}
