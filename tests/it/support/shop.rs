//! A running shop: the real binary as a child process, and a client of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use flashsale::config::Secret;
use flashsale::http::auth::Minter;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

pub const JWT_SECRET: &str = "a test secret of more than 32 bytes, for tests only";

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for something that must come: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at something that is waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Where a shop's data is.
#[derive(Clone, Debug)]
pub struct Backends {
    pub redis_url: String,
    pub namespace: String,
    pub database_url: String,
}

impl Backends {
    /// A namespace and a database of one's own on the shared servers.
    pub async fn shared(test: &str) -> Self {
        Self {
            redis_url: super::shared_redis_url().expose().to_owned(),
            namespace: super::namespace(test),
            database_url: super::fresh_database().await,
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or_default())
    }

    /// Whether it is an earlier answer again.
    pub fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == "true"
    }

    /// A member of the body that is a text, such as an id.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member}: {}", self.body)).to_owned()
    }

    /// Panics unless the status is as expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    /// Panics unless it is a problem with this status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        self
    }
}

/// A client of one shop. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub url: String,
    pub ops_url: String,
}

impl Client {
    /// Sends a request; an error when no answer came.
    pub async fn try_send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Reply> {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        Ok(Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }

    pub async fn get(&self, path: &str, user: Option<&str>) -> Reply {
        let token = user.map(|user| bearer(user, false));
        let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
        self.try_send(Method::GET, &format!("{}{path}", self.url), &headers, None).await.expect("an answer")
    }

    pub async fn try_post(&self, path: &str, user: &str, key: &str, body: &Value) -> reqwest::Result<Reply> {
        let token = bearer(user, false);
        let headers = [("authorization", token.as_str()), ("idempotency-key", key)];
        self.try_send(Method::POST, &format!("{}{path}", self.url), &headers, Some(body)).await
    }

    pub async fn post(&self, path: &str, user: &str, key: &str, body: &Value) -> Reply {
        self.try_post(path, user, key, body).await.expect("an answer")
    }

    pub async fn admin(&self, method: Method, path: &str, key: &str, body: &Value) -> Reply {
        let token = bearer("admin", true);
        let headers = [("authorization", token.as_str()), ("idempotency-key", key)];
        self.try_send(method, &format!("{}{path}", self.ops_url), &headers, Some(body)).await.expect("an answer")
    }

    /// A request of an operator's without a body.
    pub async fn admin_empty(&self, method: Method, path: &str, key: &str) -> Reply {
        let token = bearer("admin", true);
        let headers = [("authorization", token.as_str()), ("idempotency-key", key)];
        self.try_send(method, &format!("{}{path}", self.ops_url), &headers, None).await.expect("an answer")
    }

    /// Creates a product and returns its id.
    pub async fn product(&self, name: &str, price: u64, stock: u64) -> u64 {
        let body = json!({"name": name, "price": price, "stock": stock});
        let reply = self.admin(Method::POST, "/admin/products", &unique("product"), &body).await.expect(201);
        reply.body["productId"].as_u64().expect("an id")
    }

    /// Charges a balance.
    pub async fn charge(&self, user: &str, amount: u64) {
        let body = json!({"amount": amount});
        self.post("/api/users/me/balance/charge", user, &unique("charge"), &body).await.expect(200);
    }

    /// Orders `quantity` of one product.
    pub async fn order(&self, user: &str, key: &str, product: u64, quantity: u64) -> Reply {
        self.post("/api/orders", user, key, &one_item(product, quantity)).await
    }

    async fn keyed(&self, method: Method, path: &str, user: &str, key: &str, body: Option<&Value>) -> Reply {
        let token = bearer(user, false);
        let headers = [("authorization", token.as_str()), ("idempotency-key", key)];
        self.try_send(method, &format!("{}{path}", self.url), &headers, body).await.expect("an answer")
    }

    pub async fn post_empty(&self, path: &str, user: &str, key: &str) -> Reply {
        self.keyed(Method::POST, path, user, key, None).await
    }

    pub async fn put(&self, path: &str, user: &str, key: &str, body: &Value) -> Reply {
        self.keyed(Method::PUT, path, user, key, Some(body)).await
    }

    pub async fn delete(&self, path: &str, user: &str, key: &str) -> Reply {
        self.keyed(Method::DELETE, path, user, key, None).await
    }

    /// Creates a product that one user may buy `limit` units of, and returns its id.
    pub async fn limited_product(&self, price: u64, stock: u64, limit: u64) -> u64 {
        let body = json!({"name": "Limited", "price": price, "stock": stock, "limitPerUser": limit});
        let reply = self.admin(Method::POST, "/admin/products", &unique("product"), &body).await.expect(201);
        reply.body["productId"].as_u64().expect("an id")
    }

    /// Brings units of a product, or takes them away.
    pub async fn add_stock(&self, product: u64, delta: i64) {
        let path = format!("/admin/products/{product}/stock");
        self.admin(Method::POST, &path, &unique("stock"), &json!({"delta": delta})).await.expect(200);
    }

    /// Creates a coupon and returns its id: ten of 100 off an order, unless `terms` says otherwise.
    pub async fn coupon(&self, terms: &Value) -> u64 {
        let mut body = json!({"name": "Coupon", "type": "CART", "discountType": "FIXED", "discountValue": 100,
            "totalQuantity": 10, "validDays": 30});
        for (member, value) in terms.as_object().expect("an object") {
            body[member] = value.clone();
        }
        let reply = self.admin(Method::POST, "/admin/coupons", &unique("coupon"), &body).await.expect(201);
        reply.body["couponId"].as_u64().expect("an id")
    }

    /// Gives a user a coupon, and returns the id that it has in his hands.
    pub async fn issue(&self, user: &str, coupon: u64) -> String {
        let path = format!("/api/coupons/{coupon}/issue");
        self.post_empty(&path, user, &unique("issue")).await.expect(201).text("userCouponId")
    }

    /// Reserves units of one product, to be paid for later, and returns the order's id.
    pub async fn reserve(&self, user: &str, product: u64, quantity: u64) -> String {
        self.post("/api/orders", user, &unique("reserve"), &later(product, quantity)).await.expect(201).text("orderId")
    }

    /// Pays for a reserved order.
    pub async fn pay(&self, user: &str, key: &str, order: &str, method: &str, amount: u64) -> Reply {
        self.post("/api/payments", user, key, &payment(order, method, amount)).await
    }

    pub async fn cancel(&self, user: &str, key: &str, order: &str) -> Reply {
        self.post_empty(&format!("/api/orders/{order}/cancel"), user, key).await
    }

    /// An order as its buyer sees it.
    pub async fn order_of(&self, user: &str, order: &str) -> Value {
        self.get(&format!("/api/orders/{order}"), Some(user)).await.expect(200).body
    }

    /// Waits until an order has a status, and returns it.
    pub async fn becomes(&self, user: &str, order: &str, status: &str) -> Value {
        let what = format!("order {order} is {status}");
        eventually(&what, async || Some(self.order_of(user, order).await).filter(|o| o["status"] == status)).await
    }

    /// A user's balance and used total.
    pub async fn balance(&self, user: &str) -> (u64, u64) {
        let body = self.get("/api/users/me/balance", Some(user)).await.expect(200).body;
        let amount = |member: &str| body[member].as_u64().expect("an amount");
        (amount("balance"), amount("usedTotal"))
    }

    /// A user's coupons of one status, by the number of the coupon.
    pub async fn coupons_of(&self, user: &str, status: &str) -> Vec<u64> {
        let path = format!("/api/users/me/coupons?status={status}");
        let body = self.get(&path, Some(user)).await.expect(200).body;
        let held = body["coupons"].as_array().expect("a list").iter();
        let mut ids: Vec<u64> = held.map(|coupon| coupon["couponId"].as_u64().expect("an id")).collect();
        ids.sort_unstable();
        ids
    }

    pub async fn readyz(&self) -> Option<Reply> {
        self.try_send(Method::GET, &format!("{}/readyz", self.ops_url), &[], None).await.ok()
    }

    /// Waits until the service says that it is ready.
    #[track_caller]
    pub fn wait_ready(&self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let started = Instant::now();
            let mut last = String::new();
            while started.elapsed() < READY_TIMEOUT {
                match self.readyz().await {
                    Some(reply) if reply.status == 200 => return,
                    Some(reply) => last = reply.body.to_string(),
                    None => "no answer".clone_into(&mut last),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("{caller}: not ready: {last}");
        }
    }
}

/// Body of an order of one product.
pub fn one_item(product: u64, quantity: u64) -> Value {
    json!({"items": [{"productId": product, "quantity": quantity}]})
}

/// Body of a reservation of one product.
pub fn later(product: u64, quantity: u64) -> Value {
    json!({"items": [{"productId": product, "quantity": quantity}], "payment": "LATER"})
}

/// Body of a payment.
pub fn payment(order: &str, method: &str, amount: u64) -> Value {
    json!({"orderId": order, "paymentMethod": method, "amount": amount})
}

/// Which answers came how often, such as `1 x 201, 63 x 409 COUPON_SOLD_OUT`.
pub fn tally(replies: &[Reply]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for reply in replies {
        let answer = format!("{} {}", reply.status.as_u16(), reply.code());
        *counts.entry(answer.trim_end().to_owned()).or_insert(0) += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(answer, count)| format!("{count} x {answer}")).collect();
    parts.join(", ")
}

/// Looks again and again until there is something to see; panics when that takes too long.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}

/// The same, for what takes longer.
pub async fn within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < patience, "waited in vain: {what}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// A key that no other request has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::random::<u64>())
}

/// The Authorization header of a user.
pub fn bearer(user: &str, admin: bool) -> String {
    let minter = Minter::new(&Secret::new(JWT_SECRET), "flashsale", "flashsale").expect("a long secret");
    format!("Bearer {}", minter.mint(user, admin, 3600).expect("a valid user id"))
}

/// A running service; killed when dropped.
pub struct Shop {
    child: Child,
    /// Its environment, and where its log goes.
    settings: Vec<(String, String)>,
    log: Option<PathBuf>,
    pub client: Client,
    pub backends: Backends,
}

impl Shop {
    /// Starts a shop on the shared servers and waits until it is ready.
    pub async fn start(test: &str) -> Self {
        Self::start_on(Backends::shared(test).await, &[]).await
    }

    /// Starts a shop with some settings and waits until it is ready.
    pub async fn start_on(backends: Backends, settings: &[(&str, &str)]) -> Self {
        let shop = Self::spawn(backends, settings);
        shop.client.wait_ready().await;
        shop
    }

    /// Starts a shop and does not wait.
    pub fn spawn(backends: Backends, settings: &[(&str, &str)]) -> Self {
        Self::spawn_logging(backends, settings, &[], None)
    }

    /// Starts a shop with some variables of the environment that are no settings, its log in a file, and does not wait.
    pub fn spawn_logging(
        backends: Backends,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
        log: Option<PathBuf>,
    ) -> Self {
        let (port, ops_port) = (free_port(), free_port());
        let mut all: Vec<(String, String)> = [
            ("LISTEN", format!("127.0.0.1:{port}")),
            ("OPS_LISTEN", format!("127.0.0.1:{ops_port}")),
            ("REDIS_URL", backends.redis_url.clone()),
            ("REDIS_NAMESPACE", backends.namespace.clone()),
            ("DATABASE_URL", backends.database_url.clone()),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
            ("HTTP_USER_REQUESTS_PER_S_MAX", "0".to_owned()),
        ]
        .map(|(name, value)| (format!("FLASHSALE_{name}"), value))
        .into();
        all.extend(settings.iter().map(|(name, value)| (format!("FLASHSALE_{name}"), (*value).to_owned())));
        all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let client = Client {
            http: reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client"),
            url: format!("http://127.0.0.1:{port}"),
            ops_url: format!("http://127.0.0.1:{ops_port}"),
        };
        Self { child: spawn(&all, log.as_deref()), settings: all, log, client, backends }
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a child to kill");
    }

    /// Starts the same service again on the same ports.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.settings, self.log.as_deref());
        self.client.wait_ready().await;
    }

    /// SIGTERM, and its exit status within 20 s.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = self.child.id().expect("a running child").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs");
        assert!(sent.success());
        tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await.expect("it ends").expect("a status")
    }

    /// A connection to its database.
    pub async fn database(&self) -> tokio_postgres::Client {
        super::connect(&self.backends.database_url).await
    }

    /// A value of one of its metrics (the sum over those whose labels contain every part of `labels`, split at `&`).
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let url = format!("{}/metrics", self.client.ops_url);
        let text = self.client.http.get(url).send().await.expect("metrics").text().await.expect("text");
        let line = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let matches =
                (rest.starts_with('{') || rest.starts_with(' ')) && labels.split('&').all(|l| rest.contains(l));
            matches.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        text.lines().filter_map(line).sum()
    }

    /// The same for what is counted.
    #[expect(clippy::cast_possible_truncation, reason = "a count, far below 2^53")]
    pub async fn metric_count(&self, name: &str, labels: &str) -> i64 {
        self.metric(name, labels).await.round() as i64
    }

    /// Units of a product that can be sold now.
    pub async fn stock(&self, product: u64) -> i64 {
        let redis = redis::connect(&self.backends.redis_url).await;
        redis::hget(&redis, &format!("{}:{{c0}}:stock", self.backends.namespace), &product.to_string()).await
    }

    /// A number from PostgreSQL, once it has everything. `sql` asks for one `bigint`.
    pub async fn count(&self, sql: &str) -> i64 {
        self.wait_written().await;
        self.database().await.query_one(sql, &[]).await.expect(sql).get(0)
    }

    /// Waits until a product's units sold in the last days, as everybody sees them, are so many.
    pub async fn ranked(&self, product: u64, sold: u64) {
        let what = format!("{sold} units of product {product} in the ranking");
        eventually(&what, async || {
            let body = self.client.get("/api/products/popular?limit=100", None).await.expect(200).body;
            let mut places = body["products"].as_array().expect("a list").iter();
            let place = places.find(|place| place["productId"] == product);
            (place.map_or(0, |place| place["soldQuantity"].as_u64().expect("units")) == sold).then_some(())
        })
        .await;
    }

    /// Waits until PostgreSQL has everything that Redis has logged.
    pub async fn wait_written(&self) {
        let database = self.database().await;
        let redis = redis::connect(&self.backends.redis_url).await;
        let meta = format!("{}:{{c0}}:meta", self.backends.namespace);
        let started = Instant::now();
        loop {
            let seq: i64 = redis::hget(&redis, &meta, "seq").await;
            let row = database.query_opt("SELECT seq FROM writer_cursor WHERE cell = 0", &[]).await.expect("a cursor");
            let written: i64 = row.map_or(0, |row| row.get(0));
            if written >= seq {
                return;
            }
            assert!(started.elapsed() < Duration::from_mins(1), "PostgreSQL is at {written}, Redis at {seq}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything between Redis and PostgreSQL, and in each of them, once everything is written: the service's own comparison,
    /// whose every finding has a test of its own in `verify/`.
    #[track_caller]
    pub fn check_books(&self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            self.wait_written().await;
            let asked_at = jiff::Timestamp::now();
            loop {
                let token = bearer("auditor", true);
                let url = format!("{}/admin/verify", self.client.ops_url);
                let headers = [("authorization", token.as_str())];
                let reply = self.client.try_send(Method::GET, &url, &headers, None).await.expect("an answer");
                let report = reply.expect(200).body;
                let started_at: jiff::Timestamp =
                    report["startedAt"].as_str().and_then(|at| at.parse().ok()).expect("a time");
                // One that was under way already may have missed the last event.
                if started_at >= asked_at {
                    assert_eq!(report["differencesTotal"], 0, "{caller}: {report:#}");
                    assert_eq!(report["busy"], 0, "{caller}: nothing changes any more");
                    return;
                }
            }
        }
    }
}

fn spawn(settings: &[(String, String)], log: Option<&Path>) -> Child {
    let append = |path| std::fs::File::options().create(true).append(true).open(path).expect("a file for the log");
    Command::new(env!("CARGO_BIN_EXE_flashsale"))
        .arg("serve")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        // A name with the prefix of settings, but the tests' own.
        .env_remove("FLASHSALE_TEST_SEED")
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,fred=error".to_owned()))
        .stdin(Stdio::null())
        .stderr(log.map_or_else(Stdio::inherit, |path| append(path).into()))
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("an address").port()
}

/// Plain reads of Redis.
pub mod redis {
    use fred::clients::Client;
    use fred::interfaces::{ClientLike, HashesInterface};
    use fred::types::config::Config;

    pub async fn connect(url: &str) -> Client {
        let client = Client::new(Config::from_url(url).expect("a URL"), None, None, None);
        client.init().await.expect("Redis answers");
        client
    }

    pub async fn hget(client: &Client, key: &str, field: &str) -> i64 {
        client.hget::<Option<i64>, _, _>(key, field).await.expect("Redis answers").unwrap_or_default()
    }
}
