//! A running shop: the real binary as a child process, and a client of it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use flashsale::config::Secret;
use flashsale::http::auth::Minter;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

pub const JWT_SECRET: &str = "a test secret of more than 32 bytes, for tests only";

const READY_TIMEOUT: Duration = Duration::from_secs(30);

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
    settings: Vec<(String, String)>,
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
        let client = Client {
            http: reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client"),
            url: format!("http://127.0.0.1:{port}"),
            ops_url: format!("http://127.0.0.1:{ops_port}"),
        };
        Self { child: spawn(&all), settings: all, client, backends }
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a child to kill");
    }

    /// Starts the same service again on the same ports.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.settings);
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

    /// Every invariant between Redis and PostgreSQL, once everything is written: stock, balances, ledger, orders.
    pub async fn check_books(&self) {
        self.wait_written().await;
        let database = self.database().await;
        let redis = redis::connect(&self.backends.redis_url).await;
        let key = |name: &str| format!("{}:{{c0}}:{name}", self.backends.namespace);
        let broken = |sql: &'static str| {
            let database = &database;
            async move {
                let rows = database.query(sql, &[]).await.expect(sql);
                assert!(rows.is_empty(), "{} row(s) break: {sql}", rows.len());
            }
        };
        broken(
            "SELECT s.product_id FROM stock s LEFT JOIN (SELECT product_id, sum(quantity) AS sold FROM order_items \
             GROUP BY 1) i USING (product_id) WHERE coalesce(i.sold, 0) <> s.sold OR s.available < 0",
        )
        .await;
        broken(
            "SELECT s.product_id FROM stock s JOIN (SELECT product_id, sum(delta) AS brought FROM stock_movements \
             GROUP BY 1) m USING (product_id) WHERE m.brought <> s.available + s.sold",
        )
        .await;
        broken(
            "SELECT user_id FROM (SELECT user_id, sum(CASE type WHEN 'CHARGE' THEN amount ELSE -amount END) AS s \
             FROM balance_transactions GROUP BY 1) l JOIN accounts a USING (user_id) WHERE l.s <> a.balance",
        )
        .await;
        broken(
            "SELECT order_id FROM orders o WHERE final_amount <> (SELECT sum(unit_price * quantity - discount_amount) \
             FROM order_items i WHERE i.order_id = o.order_id) OR NOT EXISTS (SELECT 1 FROM payments p WHERE \
             p.order_id = o.order_id AND p.amount = o.final_amount) OR NOT EXISTS (SELECT 1 FROM balance_transactions \
             t WHERE t.order_id = o.order_id AND t.amount = o.final_amount)",
        )
        .await;
        broken(
            "SELECT product_id FROM stock s LEFT JOIN (SELECT product_id, sum(quantity) AS q FROM product_sales \
             GROUP BY 1) p USING (product_id) WHERE coalesce(p.q, 0) <> s.sold",
        )
        .await;
        for row in database.query("SELECT product_id, available FROM stock", &[]).await.expect("stock") {
            let (product, available): (i32, i64) = (row.get(0), row.get(1));
            let in_redis: i64 = redis::hget(&redis, &key("stock"), &product.to_string()).await;
            assert_eq!(in_redis, available, "stock of product {product}");
        }
        let balances = redis::accounts(&redis, &key("accounts")).await;
        let rows = database.query("SELECT user_id, balance, used_total FROM accounts", &[]).await.expect("accounts");
        assert_eq!(rows.len(), balances.len(), "accounts");
        for row in rows {
            let (user, balance, total): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
            assert_eq!(balances.get(&user), Some(&(balance, total)), "account of {user}");
        }
    }
}

fn spawn(settings: &[(String, String)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_flashsale"))
        .arg("serve")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,fred=error".to_owned()))
        .stdin(Stdio::null())
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
    use std::collections::HashMap;

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

    /// Balance and used total of every account.
    pub async fn accounts(client: &Client, key: &str) -> HashMap<String, (i64, i64)> {
        #[derive(serde::Deserialize)]
        struct Account {
            balance: i64,
            used: i64,
        }
        let all: HashMap<String, bytes::Bytes> = client.hgetall(key).await.expect("Redis answers");
        let decode = |(user, packed): (String, bytes::Bytes)| {
            let account: Account = rmp_serde::from_slice(&packed).expect("a packed account");
            (user, (account.balance, account.used))
        };
        all.into_iter().map(decode).collect()
    }
}
