//! Orders, from made up to given up.

use flashsale::engine::event::{Event, OrderChanged, OrderStatus};
use flashsale::engine::model::Product;
use flashsale::engine::op::{CouponId, Op, PaymentMethod, PlaceOrder, ProductId, ShippingAddress, Verdict};
use flashsale::engine::user::UserId;
use rand::Rng;
use rand::seq::SliceRandom;

use super::{Generator, Situation};
use crate::support::engine::{cancel, expire, order, pay, settle};

impl Generator {
    pub fn order(&mut self, at: Situation<'_>, user: &UserId) -> PlaceOrder {
        let lines = if self.chance(60) { 1 } else { self.rng.random_range(1..=6) };
        let mut products: Vec<ProductId> = (1..=at.model.product_last).collect();
        products.shuffle(&mut self.rng);
        products.truncate(lines);
        if self.chance(3) {
            products.push(at.model.product_last + 50);
        }
        if self.chance(3) {
            products.push(products[0]);
        }
        if self.chance(1) {
            products.clear();
        }
        let items: Vec<_> = products.iter().map(|product| (*product, self.quantity(at, user, *product))).collect();
        let mut order = order(&items);
        if self.chance(15) {
            order.items = None;
            products = at.model.carts.get(user).into_iter().flatten().map(|item| item.product).collect();
        }
        if self.chance(40) {
            order.coupons = self.coupons(at, user, &products);
        }
        order.address = self.chance(20).then(|| self.address());
        let price = at.model.price_of(at.moment, user, &order).unwrap_or(1_000);
        order.final_amount = match self.rng.random_range(0..10) {
            0..4 => Some(price),
            4 => Some(price ^ 1),
            _ => None,
        };
        order
    }

    pub fn quantity(&mut self, at: Situation<'_>, user: &UserId, product: ProductId) -> u32 {
        let stock = at.model.stock_of(product);
        let limit = at.model.catalog.get(&product).and_then(|product: &Product| product.limit);
        let left = limit.map(|limit| limit.saturating_sub(at.model.bought_by(user, product)));
        let quantity = match (self.rng.random_range(0..20), left) {
            (0, Some(left)) => left,
            (1, Some(left)) => left + 1,
            (2, _) => stock,
            (3, _) => stock + 1,
            (4, _) => self.rng.random_range(1..=1_000_u64),
            _ => self.rng.random_range(1..=3_u64),
        };
        u32::try_from(quantity.clamp(1, 1_000)).expect("at most 1,000")
    }

    /// One to three coupons: mostly such as this user may use for these products, sometimes any.
    fn coupons(&mut self, at: Situation<'_>, user: &UserId, products: &[ProductId]) -> Vec<CouponId> {
        let fits =
            |coupon: CouponId| at.model.coupons[&coupon].product.is_none_or(|product| products.contains(&product));
        let held = at.model.wallets.get(user).into_iter().flatten();
        let free =
            held.filter(|(coupon, held)| held.order.is_none() && at.moment.now_ms < held.expires && fits(**coupon));
        let mut coupons: Vec<CouponId> = free.map(|(coupon, _)| *coupon).collect();
        coupons.shuffle(&mut self.rng);
        coupons.truncate(self.rng.random_range(1..=3));
        if coupons.is_empty() && self.chance(80) {
            return coupons;
        }
        if coupons.is_empty() || self.chance(10) {
            coupons.push(self.coupon_id(at));
        }
        if self.chance(4) {
            coupons.push(coupons[0]);
        }
        coupons
    }

    fn address(&mut self) -> ShippingAddress {
        let text = |text: &str| text.to_owned();
        ShippingAddress {
            recipient: text("홍길동"),
            phone: text("010-0000-0000"),
            line1: text("세종대로 1 \"\\\n"),
            line2: self.chance(50).then(|| text("")),
            city: self.chance(50).then(|| text("서울")),
            postal_code: text("04524"),
            country: text("KR"),
        }
    }

    /// An order, mostly an open one of these.
    fn order_of(&mut self, at: Situation<'_>, is_wanted: impl Fn(&OrderChanged) -> bool) -> (UserId, u64) {
        let ever = std::mem::take(&mut self.orders);
        let found = self.entity(at, &open_orders(at, is_wanted), &ever);
        self.orders = ever;
        found
    }

    pub fn pay(&mut self, at: Situation<'_>) -> (UserId, Op) {
        let (user, id) = self.order_of(at, is_unpaid);
        let price = match at.model.open.get(&id) {
            Some(Event::OrderChanged(order)) => order.final_amount,
            _ => 1_000,
        };
        let amount = if self.chance(8) { price ^ 1 } else { price };
        (user, pay(id, self.pick(&[PaymentMethod::Balance, PaymentMethod::Card]), amount))
    }

    pub fn settle_order(&mut self, at: Situation<'_>) -> (UserId, Op) {
        let is_waiting = |order: &OrderChanged| order.status == OrderStatus::Held || order.refund.is_some();
        let (user, id) = self.order_of(at, is_waiting);
        let is_refund = match at.model.open.get(&id) {
            Some(Event::OrderChanged(order)) => order.refund.is_some(),
            _ => false,
        };
        let says_refunded = self.chance(if is_refund { 85 } else { 10 });
        let verdict = match (says_refunded, self.chance(10)) {
            (true, _) => Verdict::Refunded,
            (false, true) => Verdict::Abandoned,
            (false, false) => self.verdict(at, id),
        };
        (user, settle(id, verdict))
    }

    pub fn cancel(&mut self, at: Situation<'_>) -> (UserId, Op) {
        if self.chance(45) {
            let (user, id) = self.order_of(at, is_unpaid);
            return (user, cancel(id, None));
        }
        let confirmed = std::mem::take(&mut self.confirmed);
        let found = self.recent(&confirmed);
        self.confirmed = confirmed;
        match found {
            Some((user, id, mut paid)) => {
                if self.chance(3) {
                    // A day that no batch brings.
                    "1999-12-31".clone_into(&mut paid.day);
                }
                (user, cancel(id, Some(paid)))
            }
            None => (self.user(), cancel(at.model.seq + 1, None)),
        }
    }

    pub fn expire(&mut self, at: Situation<'_>) -> (UserId, Op) {
        let is_over =
            |order: &OrderChanged| is_unpaid(order) && order.expires.is_some_and(|expires| expires <= at.moment.now_ms);
        let has_some = !open_orders(at, is_over).is_empty();
        let (user, id) = self.order_of(at, |order| is_over(order) || !has_some);
        (user, expire(id))
    }
}

pub fn is_unpaid(order: &OrderChanged) -> bool {
    order.status == OrderStatus::PendingPayment
}

/// Such orders among those that are open, and their users.
pub fn open_orders(at: Situation<'_>, is_wanted: impl Fn(&OrderChanged) -> bool) -> Vec<(UserId, u64)> {
    let of = |event: &Event| match event {
        Event::OrderChanged(order) if is_wanted(order) => Some((order.user.clone(), order.order)),
        _ => None,
    };
    at.model.open.values().filter_map(of).collect()
}
