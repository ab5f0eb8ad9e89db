//! The gateway at its worst, and the service killed meanwhile: in the end its book and the ledger say the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{join, join_all};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::gateway::{PlayedGateway, QUICK};
use crate::support::seed;
use crate::support::shop::{Client, Reply, Shop, eventually, later, payment, unique};

const USERS: usize = 200;

/// Fewer units than the users want, so that some orders are refused.
const STOCK: u64 = 240;

const PRICE: u64 = 700;

/// Repeats of a request before its user is sure that something is wrong.
const REPEATS_MAX: usize = 600;

const MODES: [&str; 7] = ["approve", "decline", "slow", "lost_answer", "lost_request", "error", "garbage"];

/// What was seen on the way, so that a test that tests nothing fails.
#[derive(Default)]
struct Seen {
    /// Answers that a user took for the last word.
    finals: AtomicUsize,
    held: AtomicUsize,
    unavailable: AtomicUsize,
    cut: AtomicUsize,
}

impl Seen {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for so many last words.
    async fn finals(&self, count: usize) {
        let what = format!("{count} final answers");
        eventually(&what, async || (self.finals.load(Ordering::SeqCst) >= count).then_some(())).await;
    }
}

/// A user with his own dice.
struct User {
    name: String,
    client: Client,
    seen: Arc<Seen>,
    rng: StdRng,
    /// Walks away from a 202; the service has to find out alone.
    gives_up: bool,
    /// Comes when so many faults have been switched on, so that every fault meets somebody.
    comes_at: usize,
    switched: watch::Receiver<usize>,
}

/// What a user was told in the end.
#[derive(Debug)]
struct Told {
    user: String,
    charge: u16,
    /// Id of the order, and what its payment came to; `None`: there was no stock.
    order: Option<(String, u16)>,
}

impl User {
    /// Repeats a request under one key until there is a last word (or, for who gives up, a 202).
    async fn ask(&mut self, path: &str, body: &Value) -> Reply {
        let key = unique("key");
        for _ in 0..REPEATS_MAX {
            match self.client.try_post(path, &self.name, &key, body).await {
                Ok(reply) => match reply.status.as_u16() {
                    202 if self.gives_up => return reply,
                    202 => Seen::count(&self.seen.held),
                    503 | 504 => Seen::count(&self.seen.unavailable),
                    409 if reply.code() == "REQUEST_IN_PROGRESS" => {}
                    _ => {
                        Seen::count(&self.seen.finals);
                        return reply;
                    }
                },
                // The service was killed: no answer at all.
                Err(_) => Seen::count(&self.seen.cut),
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(20..100))).await;
        }
        panic!("{}: {path} has no end", self.name);
    }

    /// Charges, reserves and pays by card.
    async fn go_shopping(mut self, product: u64) -> Told {
        let comes_at = self.comes_at;
        self.switched.wait_for(|switched| *switched >= comes_at).await.expect("somebody makes trouble");
        let amount: u64 = 100 * self.rng.random_range(1..=9);
        let charge = self.ask("/api/users/me/balance/charge", &json!({"amount": amount})).await;
        assert!([200, 202, 402].contains(&charge.status.as_u16()), "{}: {}", self.name, charge.body);
        let quantity: u64 = self.rng.random_range(1..=2);
        let reserved = self.ask("/api/orders", &later(product, quantity)).await;
        let mut order = None;
        if reserved.status == 201 {
            let id = reserved.text("orderId");
            let paid = self.ask("/api/payments", &payment(&id, "CARD", PRICE * quantity)).await;
            assert!([200, 202, 402].contains(&paid.status.as_u16()), "{}: {}", self.name, paid.body);
            order = Some((id, paid.status.as_u16()));
        } else {
            reserved.expect_problem(400, "INSUFFICIENT_STOCK");
        }
        Told { user: self.name, charge: charge.status.as_u16(), order }
    }
}

/// Switches one fault after the other on, until told to stop.
async fn make_trouble(
    gateway: &PlayedGateway,
    calls: &[&str],
    rng: &mut StdRng,
    stop: &AtomicBool,
    switched: &watch::Sender<usize>,
) {
    let mut modes = MODES;
    while !stop.load(Ordering::SeqCst) {
        modes.shuffle(rng);
        for mode in modes {
            let (percent, seed) = (rng.random_range(50..=100_u32), rng.random::<u32>());
            let fault = json!({"mode": mode, "percent": percent, "delayMs": 500, "calls": calls, "seed": seed});
            gateway.faults(&fault).await;
            switched.send_modify(|count| *count += 1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A payment as the book or PostgreSQL has it, by `order` or `charge` and the id: user, amount, and whether the money was
/// taken.
type Payments = BTreeMap<(String, String), (String, u64, bool)>;

/// The gateway's book. Whatever was approved was charged once, whatever was declined never.
async fn in_the_book(gateway: &PlayedGateway, shop: &Shop) -> Payments {
    let mut payments = Payments::new();
    for payment in gateway.book().await {
        let text = |member: &str| payment[member].as_str().expect("a text").to_owned();
        let is_approved = match text("status").as_str() {
            "APPROVED" => true,
            "DECLINED" => false,
            status => panic!("nobody asked for {status}"),
        };
        assert_eq!(
            (&payment["charges"], &payment["refunds"]),
            (&json!(u64::from(is_approved)), &json!(0)),
            "{payment}"
        );
        let key = text("key");
        let own = key.strip_prefix(shop.backends.namespace.as_str()).and_then(|key| key.strip_prefix(':'));
        let (kind, id) = own.and_then(|key| key.split_once(':')).expect("a key of this shop");
        let amount = payment["amount"].as_u64().expect("an amount");
        let twice = payments.insert((kind.to_owned(), id.to_owned()), (text("user"), amount, is_approved));
        assert!(twice.is_none(), "{key} stands in the book twice");
    }
    payments
}

/// What PostgreSQL has of orders and charges; nothing is open any more.
async fn in_the_ledger(shop: &Shop) -> Payments {
    let sql = "SELECT 'order', order_id::text, user_id, final_amount, status FROM orders UNION ALL \
               SELECT 'charge', charge_id::text, user_id, amount, status FROM charges";
    let mut payments = Payments::new();
    for row in shop.database().await.query(sql, &[]).await.expect("payments") {
        let is_taken = match row.get::<_, &str>(4) {
            "CONFIRMED" | "COMPLETED" => true,
            "PAYMENT_FAILED" | "FAILED" => false,
            status => panic!("{status} is no end"),
        };
        let amount = u64::try_from(row.get::<_, i64>(3)).expect("not negative");
        payments.insert((row.get(0), row.get(1)), (row.get(2), amount, is_taken));
    }
    payments
}

/// Waits until PostgreSQL has nothing that is still open.
async fn nothing_is_open(shop: &Shop) {
    let open = "SELECT (SELECT count(*) FROM orders WHERE status IN ('HELD', 'PENDING_PAYMENT') OR refund = 'PENDING') \
                + (SELECT count(*) FROM charges WHERE status = 'PENDING')";
    eventually("nothing is open", async || (shop.count(open).await == 0).then_some(())).await;
}

/// Nobody was told anything that is not in the ledger.
fn check_told(told: &[Told], ledger: &Payments) {
    let charges: BTreeMap<&str, bool> = ledger
        .iter()
        .filter(|((kind, _), _)| kind == "charge")
        .map(|(_, (user, _, taken))| (user.as_str(), *taken))
        .collect();
    let count = |of: &str| ledger.keys().filter(|(kind, _)| kind == of).count();
    assert_eq!((charges.len(), count("charge")), (told.len(), told.len()), "one charge for each user");
    let agrees = |status: u16, is_taken: bool| status == 202 || (status == 200) == is_taken;
    for told in told {
        assert!(agrees(told.charge, charges[told.user.as_str()]), "{told:?}");
        if let Some((id, status)) = &told.order {
            let (user, _, is_taken) = &ledger[&("order".to_owned(), id.clone())];
            assert!(*user == told.user && agrees(*status, *is_taken), "{told:?}");
        }
    }
    let with_order = told.iter().filter(|told| told.order.is_some()).count();
    assert_eq!(count("order"), with_order, "orders that nobody was told of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_book_equals_the_ledger_after_every_fault_and_two_crashes() {
    let mut dice = StdRng::seed_from_u64(seed("gateway-faults"));
    let gateway = PlayedGateway::start().await;
    let mut settings = QUICK.to_vec();
    // Too few for all users at once: some get 503.
    settings.push(("GATEWAY_IN_FLIGHT_MAX", "96"));
    let mut shop = gateway.shop("gateway-faults", &settings).await;
    let product = shop.client.product("Hot", PRICE, STOCK).await;
    let seen = Arc::new(Seen::default());
    let (switching, switched) = watch::channel(0);
    let users: Vec<_> = (0..USERS)
        .map(|i| {
            let user = User {
                name: format!("user-{i}"),
                client: shop.client.clone(),
                seen: seen.clone(),
                rng: StdRng::seed_from_u64(dice.random()),
                gives_up: i % 5 == 0,
                comes_at: 1 + i * MODES.len() / USERS,
                switched: switched.clone(),
            };
            tokio::spawn(user.go_shopping(product))
        })
        .collect();

    let enough = AtomicBool::new(false);
    let crash = async {
        for count in [USERS / 2, USERS] {
            seen.finals(count).await;
            shop.kill().await;
            shop.restart().await;
        }
        seen.finals(2 * USERS).await;
        enough.store(true, Ordering::SeqCst);
    };
    let calls = ["charge", "find", "refund", "void"];
    join(make_trouble(&gateway, &calls, &mut dice, &enough, &switching), crash).await;
    gateway.fault("approve").await;
    let told: Vec<Told> = join_all(users).await.into_iter().map(|told| told.expect("a user comes home")).collect();

    nothing_is_open(&shop).await;
    shop.check_books().await;
    let (book, ledger) = (in_the_book(&gateway, &shop).await, in_the_ledger(&shop).await);
    assert_eq!(book, ledger);
    check_told(&told, &ledger);
    // Only what was sold is missing in stock, and only charges are in the balances.
    let sold = "SELECT coalesce(sum(quantity), 0)::bigint FROM order_items JOIN orders USING (order_id) \
                WHERE status = 'CONFIRMED'";
    assert_eq!(shop.count(sold).await + shop.stock(product).await, i64::try_from(STOCK).expect("small"));
    let credited = "SELECT count(*) FROM charges LEFT JOIN accounts USING (user_id) WHERE coalesce(balance, 0) <> \
                    CASE charges.status WHEN 'COMPLETED' THEN amount ELSE 0 END OR coalesce(used_total, 0) <> 0";
    assert_eq!(shop.count(credited).await, 0);
    let taken = ledger.values().filter(|(_, _, is_taken)| *is_taken).count();
    let (held, cut) = (seen.held.load(Ordering::SeqCst), seen.cut.load(Ordering::SeqCst));
    eprintln!(
        "{taken} of {} payments were approved; {held} answers of 202, {} of 503 and 504, {cut} connections cut",
        ledger.len(),
        seen.unavailable.load(Ordering::SeqCst)
    );
    assert!(taken > 0 && taken < ledger.len() && held > 0 && cut > 0, "nothing went wrong: this tests nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_card_is_refunded_once_after_every_fault_and_a_crash() {
    let mut dice = StdRng::seed_from_u64(seed("refund-faults"));
    let gateway = PlayedGateway::start().await;
    let mut shop = gateway.shop("refund-faults", &QUICK).await;
    let product = shop.client.product("Hot", PRICE, 40).await;
    let client = shop.client.clone();
    let client = &client;
    let buy = |i: usize| async move {
        let user = format!("user-{i}");
        let order = client.reserve(&user, product, 1).await;
        client.pay(&user, "pay", &order, "CARD", PRICE).await;
        client.becomes(&user, &order, "CONFIRMED").await;
        (user, order)
    };
    let orders = join_all((0..40).map(buy)).await;
    assert_eq!(shop.stock(product).await, 0);

    let enough = AtomicBool::new(false);
    let give_up = async {
        let (early, late) = orders.split_at(20);
        for half in [early, late] {
            let cancels = half.iter().map(|(user, order)| client.cancel(user, "cancel", order));
            for reply in join_all(cancels).await {
                // The buyer need not wait for the gateway.
                assert_eq!(reply.expect(200).body["status"], "REFUNDED");
            }
            shop.kill().await;
            shop.restart().await;
        }
        enough.store(true, Ordering::SeqCst);
    };
    let (switching, _) = watch::channel(0);
    join(make_trouble(&gateway, &["refund"], &mut dice, &enough, &switching), give_up).await;
    gateway.fault("approve").await;
    nothing_is_open(&shop).await;
    assert_eq!(shop.stock(product).await, 40);
    for payment in gateway.book().await {
        let told = (&payment["status"], &payment["charges"], &payment["refunds"]);
        assert_eq!(told, (&json!("REFUNDED"), &json!(1), &json!(1)), "{payment}");
    }
    shop.check_books().await;
    assert_eq!(shop.count("SELECT count(*) FROM payments WHERE status = 'REFUNDED'").await, 40);
}
