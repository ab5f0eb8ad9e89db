//! What came and went, from the events of the log alone: nothing may appear or vanish in between.

use std::collections::{BTreeMap, BTreeSet};

use flashsale::engine::event::{
    CartLine, ChargeOpened, ChargeStatus, Event, OrderChanged, OrderConfirmed, OrderLine, OrderStatus, RefundStatus,
};
use flashsale::engine::op::{CouponId, OrderItem, PaymentMethod, ProductId};
use flashsale::engine::reads::{Account, HeldCoupon};
use flashsale::engine::user::UserId;

use super::columns::{Packed, Stored, Text, as_text, packed_account, packed_cart, packed_wallet, same};

/// An order as its last event says.
struct Order {
    user: UserId,
    status: OrderStatus,
    method: Option<PaymentMethod>,
    amount: u64,
    refund: Option<RefundStatus>,
    day: Option<String>,
    coupons: Vec<CouponId>,
    lines: Vec<OrderLine>,
}

impl Order {
    /// Whether it has what it took: units, coupons, limits.
    fn is_live(&self) -> bool {
        matches!(self.status, OrderStatus::PendingPayment | OrderStatus::Held | OrderStatus::Confirmed)
    }

    fn is_unpaid(&self) -> bool {
        matches!(self.status, OrderStatus::PendingPayment | OrderStatus::Held)
    }

    /// What it has from whom, as long as it is paid.
    fn paid(&self, method: PaymentMethod) -> u64 {
        if self.status == OrderStatus::Confirmed && self.method == Some(method) { self.amount } else { 0 }
    }
}

/// A charge over the gateway, and how it ended.
struct Charge {
    opened: ChargeOpened,
    status: Option<ChargeStatus>,
}

/// The sums.
#[derive(Default)]
pub struct Ledger {
    /// Units that operators brought, less those that they took away.
    brought: BTreeMap<ProductId, i128>,
    /// Everybody who charged, ordered or got a coupon.
    users: BTreeSet<UserId>,
    /// Credited at once.
    credited: BTreeMap<UserId, u64>,
    charges: BTreeMap<u64, Charge>,
    orders: BTreeMap<u64, Order>,
    /// Units of each kind of coupon that were issued.
    issued: BTreeMap<CouponId, u64>,
    wallets: BTreeMap<UserId, BTreeMap<CouponId, HeldCoupon>>,
    carts: BTreeMap<UserId, Vec<CartLine>>,
    /// What the gateway was asked to take: order or charge → amount.
    asked: BTreeMap<u64, u64>,
    /// What the gateway gave back.
    returned: u128,
}

impl Ledger {
    /// Takes the next event of the log.
    pub fn add(&mut self, place: &str, event: &Event) {
        match event {
            Event::OrderConfirmed(order) => self.add_confirmed(order),
            Event::OrderChanged(order) => self.add_changed(place, order),
            Event::BalanceCharged(charge) => {
                self.users.insert(charge.user.clone());
                *self.credited.entry(charge.user.clone()).or_default() += charge.amount;
            }
            Event::ChargeOpened(opened) => {
                self.users.insert(opened.user.clone());
                self.asked.insert(opened.seq, opened.amount);
                self.charges.insert(opened.seq, Charge { opened: opened.clone(), status: None });
            }
            Event::ChargeSettled(settled) => {
                let charge = self.charges.get_mut(&settled.charge).expect("it was opened");
                let before = charge.status.replace(settled.status);
                assert_eq!(before, None, "{place}: charge {} was settled twice", settled.charge);
                let opened = &charge.opened;
                assert_eq!((&settled.user, settled.amount), (&opened.user, opened.amount), "{place}: {settled:?}");
            }
            Event::CouponPut(coupon) => {
                self.issued.entry(coupon.coupon).or_default();
            }
            Event::CouponIssued(issued) => {
                self.users.insert(issued.user.clone());
                *self.issued.entry(issued.coupon).or_default() += 1;
                let held = HeldCoupon { id: issued.seq, issued: issued.at, expires: issued.expires, order: None };
                let before = self.wallets.entry(issued.user.clone()).or_default().insert(issued.coupon, held);
                assert_eq!(before, None, "{place}: {} got coupon {} twice", issued.user, issued.coupon);
            }
            Event::CartPut(cart) => {
                self.carts.insert(cart.user.clone(), cart.items.clone());
            }
            Event::StockAdjusted(adjustment) => {
                *self.brought.entry(adjustment.product).or_default() += i128::from(adjustment.delta);
            }
            Event::ProductPut(product) if product.created => {
                self.brought.insert(product.product, product.stock.into());
            }
            Event::ProductPut(_) | Event::RestockRequested(_) => {}
        }
    }

    fn add_confirmed(&mut self, order: &OrderConfirmed) {
        self.users.insert(order.user.clone());
        if order.cart == Some(true) {
            self.carts.remove(&order.user);
        }
        let placed = Order {
            user: order.user.clone(),
            status: OrderStatus::Confirmed,
            method: Some(order.method),
            amount: order.final_amount,
            refund: None,
            day: Some(order.day.clone()),
            coupons: order.coupons.clone().unwrap_or_default(),
            lines: order.items.clone(),
        };
        self.orders.insert(order.seq, placed);
    }

    fn add_changed(&mut self, place: &str, order: &OrderChanged) {
        use OrderStatus::{Cancelled, Confirmed, Expired, Held, PaymentFailed, PendingPayment, Refunded};
        self.users.insert(order.user.clone());
        if order.cart == Some(true) {
            self.carts.remove(&order.user);
        }
        let coupons = order.coupons.clone().unwrap_or_default();
        let now = Order {
            user: order.user.clone(),
            status: order.status,
            method: order.method,
            amount: order.final_amount,
            refund: order.refund,
            day: order.day.clone(),
            coupons: coupons.clone(),
            lines: order.items.clone(),
        };
        let before = self.orders.insert(order.order, now);
        let (from, refund) = before.as_ref().map_or((None, None), |before| (Some(before.status), before.refund));
        let is_allowed = match (from, order.status) {
            (None, PendingPayment) => order.order == order.seq,
            (Some(PendingPayment), Held | Confirmed | Cancelled | Expired)
            | (Some(Held), Confirmed | PaymentFailed)
            | (Some(Confirmed), Refunded) => true,
            (Some(Refunded), Refunded) | (Some(PaymentFailed), PaymentFailed) => {
                (refund, order.refund) == (Some(RefundStatus::Pending), Some(RefundStatus::Done))
            }
            _ => false,
        };
        assert!(is_allowed, "{place}: order {} went from {from:?} to {:?}", order.order, order.status);
        if let Some(before) = before {
            let units =
                |lines: &[OrderLine]| lines.iter().map(|line| (line.product, line.quantity)).collect::<Vec<_>>();
            let was = (&before.user, before.amount, &before.coupons, units(&before.lines));
            let is = (&order.user, order.final_amount, &coupons, units(&order.items));
            assert_eq!(was, is, "{place}: order {} is another than before", order.order);
        }
        if order.status == Held {
            self.asked.insert(order.order, order.final_amount);
        }
        if order.refund == Some(RefundStatus::Done) && order.method == Some(PaymentMethod::Card) {
            self.returned += u128::from(order.final_amount);
        }
    }

    /// Holds the columns against the sums.
    pub fn check(&self, place: &str, stored: &Stored) {
        same(place, "accounts by the log", &stored.accounts, &self.accounts());
        same(place, "stock by the log", &stored.stock, &self.stock());
        same(place, "bought by the log", &stored.bought, &self.bought());
        same(place, "wallets by the log", &stored.wallets, &self.wallets(place));
        same(place, "carts by the log", &stored.carts, &self.carts());
        let mut sales = stored.sales.clone();
        sales.retain(|_, sold| !sold.is_empty());
        same(place, "sales by the log", &sales, &self.sales());

        for (coupon, packed) in &stored.coupons {
            let number = |name: &str| packed[name].as_u64().expect("a number");
            let issued = self.issued[&coupon.parse::<CouponId>().expect("a number")];
            assert_eq!(
                issued + number("remaining"),
                number("total"),
                "{place}: issued + remaining = total of {coupon}"
            );
        }
        let open: BTreeSet<String> = self.open().iter().map(u64::to_string).collect();
        assert!(stored.open.keys().eq(&open), "{place}: open are {:?}, must be {open:?}", stored.open.keys());
        assert!(stored.due.keys().eq(&open), "{place}: due are {:?}, must be {open:?}", stored.due.keys());
    }

    /// Once everything is settled: the gateway has taken what it approved less what it gave back, and that is what
    /// orders and balances got.
    pub fn check_gateway(&self, place: &str, approves: &BTreeMap<u64, bool>) {
        let mut taken = 0;
        for (id, amount) in &self.asked {
            // What was given up without a clear word may have been charged: then it was given back.
            let is_abandoned =
                self.orders.get(id).is_some_and(|o| o.status == OrderStatus::PaymentFailed && o.refund.is_some());
            let is_yes = is_abandoned || approves[id];
            let is_consistent = match (self.orders.get(id), self.charges.get(id)) {
                (Some(order), _) if is_yes => {
                    is_abandoned || matches!(order.status, OrderStatus::Confirmed | OrderStatus::Refunded)
                }
                (Some(order), _) => order.status == OrderStatus::PaymentFailed,
                (None, Some(charge)) => (charge.status == Some(ChargeStatus::Completed)) == is_yes,
                (None, None) => false,
            };
            assert!(is_consistent, "{place}: the gateway's answer about {id} was approved={is_yes}");
            taken += if is_yes { u128::from(*amount) } else { 0 };
        }
        let orders: u128 = self.orders.values().map(|order| u128::from(order.paid(PaymentMethod::Card))).sum();
        let charges: u128 = self.charges.values().map(|charge| u128::from(charge.credit())).sum();
        assert_eq!(taken - self.returned, orders + charges, "{place}: gateway - refunds = card orders + charges");
        assert!(self.open().is_empty(), "{place}: nothing is open");
    }

    /// Unpaid and held orders, card refunds and charges that the gateway has not answered.
    fn open(&self) -> BTreeSet<u64> {
        let is_open = |order: &Order| order.is_unpaid() || order.refund == Some(RefundStatus::Pending);
        let orders = self.orders.iter().filter(|(_, order)| is_open(order)).map(|(id, _)| *id);
        let charges = self.charges.iter().filter(|(_, charge)| charge.status.is_none()).map(|(id, _)| *id);
        orders.chain(charges).collect()
    }

    /// Balance = credits + charges - payments + refunds; used = payments - refunds; what is open is counted.
    fn accounts(&self) -> Packed {
        let mut credits = self.credited.clone();
        let mut accounts: BTreeMap<&UserId, Account> =
            self.users.iter().map(|user| (user, Account::default())).collect();
        for charge in self.charges.values() {
            let account = accounts.get_mut(&charge.opened.user).expect("a user");
            if charge.status.is_none() {
                account.pending += charge.opened.amount;
                account.charges += 1;
            }
            *credits.entry(charge.opened.user.clone()).or_default() += charge.credit();
        }
        for order in self.orders.values() {
            let account = accounts.get_mut(&order.user).expect("a user");
            account.used += order.paid(PaymentMethod::Balance);
            account.open += u32::from(order.is_unpaid());
        }
        for (user, account) in &mut accounts {
            let credit = credits.get(*user).copied().unwrap_or(0);
            account.balance = credit.checked_sub(account.used).expect("nobody pays more than he has");
        }
        accounts.iter().map(|(user, account)| (user.to_string(), packed_account(account))).collect()
    }

    /// Available = brought - reserved - sold.
    fn stock(&self) -> Text {
        let mut stock = self.brought.clone();
        for line in self.live_orders().flat_map(|(_, order)| &order.lines) {
            *stock.entry(line.product).or_default() -= i128::from(line.quantity);
        }
        stock.iter().map(|(product, units)| (product.to_string(), units.to_string())).collect()
    }

    /// Units of live orders that were taken while the product had a limit.
    fn bought(&self) -> Text {
        let mut bought = BTreeMap::<String, u64>::new();
        for (_, order) in self.live_orders() {
            for line in order.lines.iter().filter(|line| line.counted == Some(true)) {
                *bought.entry(format!("{} {}", order.user, line.product)).or_default() += u64::from(line.quantity);
            }
        }
        bought.into_iter().map(|(field, units)| (field, units.to_string())).collect()
    }

    /// What was issued, marked by the one live order that uses it.
    fn wallets(&self, place: &str) -> Packed {
        let mut wallets = self.wallets.clone();
        for (id, order) in self.live_orders() {
            for coupon in &order.coupons {
                let held = wallets.get_mut(&order.user).and_then(|wallet| wallet.get_mut(coupon));
                let before = held.expect("a held coupon").order.replace(*id);
                assert_eq!(before, None, "{place}: coupon {coupon} is in two orders of {}", order.user);
            }
        }
        wallets.iter().map(|(user, wallet)| (user.to_string(), packed_wallet(wallet))).collect()
    }

    fn carts(&self) -> Packed {
        let item = |line: &CartLine| OrderItem { product: line.product, quantity: line.quantity };
        let items = |lines: &Vec<CartLine>| lines.iter().map(item).collect::<Vec<OrderItem>>();
        let full = self.carts.iter().filter(|(_, lines)| !lines.is_empty());
        full.map(|(user, lines)| (user.to_string(), packed_cart(&items(lines)))).collect()
    }

    /// Units of confirmed orders on the day of their sale.
    fn sales(&self) -> BTreeMap<String, Text> {
        let mut sales = BTreeMap::<String, BTreeMap<ProductId, u64>>::new();
        for order in self.orders.values().filter(|order| order.status == OrderStatus::Confirmed) {
            let sold = sales.entry(order.day.clone().expect("it was sold on a day")).or_default();
            for line in &order.lines {
                *sold.entry(line.product).or_default() += u64::from(line.quantity);
            }
        }
        sales.iter().map(|(day, sold)| (day.clone(), as_text(sold))).collect()
    }

    fn live_orders(&self) -> impl Iterator<Item = (&u64, &Order)> {
        self.orders.iter().filter(|(_, order)| order.is_live())
    }
}

impl Charge {
    /// What it brought.
    fn credit(&self) -> u64 {
        if self.status == Some(ChargeStatus::Completed) { self.opened.amount } else { 0 }
    }
}
