//! Makes ops up: few users, few products, few coupons, so that all of them are hot, and mostly near a bound.

mod orders;
mod shop;

use std::collections::BTreeMap;

use flashsale::engine::batch::Rules;
use flashsale::engine::call::{Call, Fingerprint};
use flashsale::engine::event::{Event, OrderStatus};
use flashsale::engine::model::{Model, Moment};
use flashsale::engine::op::{
    CancelOrder, IssueCoupon, Op, OpenCharge, PaidOrder, ProductId, RequestRestock, ReserveOrder, Verdict,
};
use flashsale::engine::user::UserId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::orders::{is_unpaid, open_orders};
use crate::support::engine::{DAY_MS, HOUR_MS, call, charge, expire, paid, settle, settle_charge, user};

/// Business days of the default zone end at 15:00 UTC.
const BUSINESS_DAY_ENDS_MS: i64 = 15 * HOUR_MS;

/// What a new op may look at, so that it comes near the bounds.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    pub model: &'a Model,
    pub moment: Moment<'a>,
}

impl Situation<'_> {
    pub fn rules(&self) -> &Rules {
        self.moment.rules
    }
}

/// Makes ops up.
pub struct Generator {
    pub rng: StdRng,
    users: Vec<UserId>,
    history: Vec<Call>,
    /// Every order, open or not.
    orders: Vec<(UserId, u64)>,
    /// Every charge over the gateway.
    charges: Vec<(UserId, u64)>,
    /// Every order that was ever confirmed, as it was then.
    pub confirmed: Vec<(UserId, u64, PaidOrder)>,
    /// Order or charge → whether the gateway approves. It makes up its mind once.
    pub gateway: BTreeMap<u64, bool>,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        let longest = "x".repeat(64);
        let users = ["a", "b", "7", "auth0|7", "kakao:1", "a.b@c-d_e", "admin", &longest].map(user).to_vec();
        Self {
            rng: StdRng::seed_from_u64(seed),
            users,
            history: Vec::new(),
            orders: Vec::new(),
            charges: Vec::new(),
            confirmed: Vec::new(),
            gateway: BTreeMap::new(),
        }
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100_u32) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    pub fn user(&mut self) -> UserId {
        self.users[self.rng.random_range(0..self.users.len())].clone()
    }

    /// One of a list, mostly one of the last.
    pub fn recent<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let reach = self.pick(&[3, 20, 300]);
        let oldest = from.len().saturating_sub(reach);
        (oldest < from.len()).then(|| from[self.rng.random_range(oldest..from.len())].clone())
    }

    /// A product, rarely one that does not exist.
    pub fn product(&mut self, at: Situation<'_>) -> ProductId {
        let unknown = u32::from(self.chance(3)) * 50;
        self.rng.random_range(1..=at.model.product_last) + unknown
    }

    /// The next moment: often soon, sometimes at the very edge of a day or of what is due, sometimes days later.
    pub fn later(&mut self, model: &Model, rules: &Rules, now_ms: i64) -> i64 {
        let edge = |offset: i64| ((now_ms - offset).div_euclid(DAY_MS) + 1) * DAY_MS + offset;
        let around = self.rng.random_range(-1..=1_i64);
        let next = match self.rng.random_range(0..24) {
            0..11 => now_ms + self.rng.random_range(0..2_000_i64),
            11..14 => now_ms + self.rng.random_range(0..HOUR_MS),
            14 => now_ms + self.rng.random_range(0..DAY_MS),
            15 | 16 => edge(0) + around,
            17 => edge(BUSINESS_DAY_ENDS_MS) + around,
            18 => now_ms + DAY_MS * self.rng.random_range(1..=3_i64),
            19 => now_ms + rules.reservation_ttl_ms + around,
            20 => now_ms + rules.cancel_window_ms + around,
            _ => model.due.values().filter(|due| **due > now_ms).min().map_or(now_ms, |due| due + around),
        };
        next.max(now_ms)
    }

    /// The sender's clock is usually right, sometimes almost a day off.
    pub fn skew(&mut self) -> i64 {
        if self.chance(80) { 0 } else { self.rng.random_range(-23 * HOUR_MS..=23 * HOUR_MS) }
    }

    /// Takes note of what happened, to come back to it.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::OrderConfirmed(order) => {
                self.orders.push((order.user.clone(), order.seq));
                self.confirmed.push((order.user.clone(), order.seq, paid(event)));
            }
            Event::OrderChanged(order) if order.status == OrderStatus::PendingPayment => {
                self.orders.push((order.user.clone(), order.order));
            }
            Event::OrderChanged(order) if order.status == OrderStatus::Confirmed => {
                self.confirmed.push((order.user.clone(), order.order, paid(event)));
            }
            Event::ChargeOpened(charge) => self.charges.push((charge.user.clone(), charge.seq)),
            _ => {}
        }
    }

    pub fn next_call(&mut self, at: Situation<'_>) -> Call {
        if !self.history.is_empty() && self.chance(12) {
            return self.repeat();
        }
        let (user, op) = self.next_op(at);
        // Visible characters that mean something to Redis or to Lua must mean nothing here.
        let prefix = self.pick(&["k", "k", "{c9}:", "~!@#$%^&*()[]?\\\"'", "%d--", "order/1"]);
        let call = call(user.as_str(), &format!("{prefix}{}", self.history.len()), op);
        self.history.push(again(&call));
        call
    }

    fn next_op(&mut self, at: Situation<'_>) -> (UserId, Op) {
        let user = self.user();
        let choice = match self.rng.random_range(0..100) {
            // Nothing there to be paid for, given up or expired: something is reserved instead.
            31..41 | 49..63 if self.chance(60) && open_orders(at, is_unpaid).is_empty() => 17,
            choice => choice,
        };
        let op = match choice {
            0..17 => Op::PlaceOrder(self.order(at, &user)),
            17..31 => Op::ReserveOrder(ReserveOrder(self.order(at, &user))),
            31..41 => return self.pay(at),
            41..49 => return self.settle_order(at),
            49..59 => return self.cancel(at),
            59..63 => return self.expire(at),
            63..67 => charge(self.amount(at, &user)),
            67..71 => {
                let amount = self.amount(at, &user);
                Op::OpenCharge(OpenCharge { amount, method: self.chance(50).then(|| "카드 \"1\"".to_owned()) })
            }
            71..75 => return self.settle_charge(at),
            75..78 => Op::PutCoupon(self.coupon(at)),
            78..83 => Op::IssueCoupon(IssueCoupon { coupon: self.coupon_id(at) }),
            83..89 => Op::PutCart(self.cart(at, &user)),
            89..91 => {
                let email = self.pick(&["a@b.kr", "홍길동@example.com"]).to_owned();
                Op::RequestRestock(RequestRestock { product: self.product(at), email })
            }
            91..96 => self.adjust(at),
            _ => Op::PutProduct(self.put(at)),
        };
        (user, op)
    }

    /// A key that was used before: as it was, with another fingerprint, or by another user.
    fn repeat(&mut self) -> Call {
        let reach = if self.chance(80) { 300 } else { usize::MAX };
        let oldest = self.history.len().saturating_sub(reach);
        let index = self.rng.random_range(oldest..self.history.len());
        let mut call = again(&self.history[index]);
        // Whoever brings an order as it was paid has made sure that it is this user's.
        let is_own = matches!(call.op, Op::CancelOrder(CancelOrder { paid: Some(_), .. }));
        match self.rng.random_range(0..8) {
            0 => call.fingerprint = Fingerprint::new("another", "/", &call.op),
            1 if !is_own => call.user = self.user(),
            _ => {}
        }
        call
    }

    /// What the gateway says about an order or a charge, whenever and however often it is asked.
    pub fn gateway_says(&mut self, id: u64) -> Verdict {
        let approves = self.chance(65);
        if *self.gateway.entry(id).or_insert(approves) { Verdict::Approved } else { Verdict::Declined }
    }

    /// A verdict that the gateway can have given. About what is settled for good anybody may say anything.
    pub fn verdict(&mut self, at: Situation<'_>, id: u64) -> Verdict {
        if id <= at.model.seq && !at.model.open.contains_key(&id) {
            self.pick(&[Verdict::Approved, Verdict::Declined])
        } else {
            self.gateway_says(id)
        }
    }

    /// The id of one of `open`, of something that was open, or of anything; with its user, or rarely with another.
    pub fn entity(&mut self, at: Situation<'_>, open: &[(UserId, u64)], ever: &[(UserId, u64)]) -> (UserId, u64) {
        let found = if !open.is_empty() && self.chance(80) {
            Some(open[self.rng.random_range(0..open.len())].clone())
        } else if self.chance(80) {
            self.recent(ever)
        } else {
            None
        };
        let (owner, id) =
            found.unwrap_or_else(|| (self.user(), self.rng.random_range(1..=at.model.seq.saturating_add(20))));
        let user = if self.chance(5) { self.user() } else { owner };
        (user, id)
    }

    fn settle_charge(&mut self, at: Situation<'_>) -> (UserId, Op) {
        let of = |event: &Event| match event {
            Event::ChargeOpened(charge) => Some((charge.user.clone(), charge.seq)),
            _ => None,
        };
        let open: Vec<(UserId, u64)> = at.model.open.values().filter_map(of).collect();
        let ever = std::mem::take(&mut self.charges);
        let (user, id) = self.entity(at, &open, &ever);
        self.charges = ever;
        (user, settle_charge(id, self.verdict(at, id)))
    }

    fn amount(&mut self, at: Situation<'_>, user: &UserId) -> i64 {
        let Rules { charge_unit: unit, charge_max: max, balance_max, .. } = *at.rules();
        let account = at.model.account_of(user);
        let room = balance_max.saturating_sub(account.balance + account.pending);
        let fits = room - room % unit;
        let amount = |amount: u64| i64::try_from(amount).expect("it is below 2^63");
        match self.rng.random_range(0..14) {
            0 => -amount(unit),
            1 => 0,
            2 => amount(max),
            3 => amount(max + unit),
            4 => amount(unit + 1),
            5 => amount(fits),
            6 => amount(fits + unit),
            _ => amount(unit * self.rng.random_range(1..=(max / unit).min(2_000))),
        }
    }

    /// The op that ends what `event` left open, when its time is over.
    pub fn end(&mut self, event: &Event) -> Call {
        let (user, id, op) = match event {
            Event::OrderChanged(order) => {
                let id = order.order;
                let op = match order.status {
                    OrderStatus::PendingPayment => expire(id),
                    _ if order.refund.is_some() => settle(id, Verdict::Refunded),
                    _ => settle(id, self.gateway_says(id)),
                };
                (&order.user, id, op)
            }
            Event::ChargeOpened(charge) => {
                (&charge.user, charge.seq, settle_charge(charge.seq, self.gateway_says(charge.seq)))
            }
            other => panic!("that is not open: {other:?}"),
        };
        call(user.as_str(), &format!("end-{id}"), op)
    }
}

fn again(call: &Call) -> Call {
    Call { user: call.user.clone(), key: call.key.clone(), fingerprint: call.fingerprint.clone(), op: call.op.clone() }
}
