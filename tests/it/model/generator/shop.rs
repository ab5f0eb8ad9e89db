//! Products, stock, coupons and carts.

use flashsale::engine::model::{NUMBER_MAX, STOCK_MAX};
use flashsale::engine::op::{
    Change, CouponId, CouponType, DiscountType, ItemStatus, Op, ProductId, PutCart, PutCoupon, PutProduct,
};
use flashsale::engine::user::UserId;
use rand::Rng;

use super::{Generator, Situation};
use crate::support::engine::{DAY_MS, HOUR_MS, adjust, new_product, patch, patch_coupon};

/// Few, so that all of them are hot.
const PRODUCTS_MAX: ProductId = 9;

/// How far back a coupon is looked for: few are in use at a time.
const COUPONS_HOT: CouponId = 6;

const STARTS_FROM_NOW_MS: [i64; 6] = [-HOUR_MS, -HOUR_MS, -1, 0, 1, HOUR_MS];
const ENDS_FROM_NOW_MS: [i64; 8] = [-1, 0, 1, HOUR_MS, 2 * HOUR_MS, DAY_MS, DAY_MS, 2 * DAY_MS];
const PRICES: [u64; 10] = [0, 1, 100, 100, 990, 990, 15_000, 1_000_000, NUMBER_MAX / 2, NUMBER_MAX];
const STOCKS: [u64; 7] = [0, 1, 10, 100, 1_000, STOCK_MAX, STOCK_MAX + 1];

impl Generator {
    pub fn adjust(&mut self, at: Situation<'_>) -> Op {
        let product = self.product(at);
        let signed = |units: u64| i64::try_from(units).expect("it is below 2^53");
        let stock = at.model.stock_of(product);
        let room = signed(STOCK_MAX.saturating_sub(stock));
        let delta = match self.rng.random_range(0..20) {
            0..3 => -signed(stock),
            3 => -signed(stock) - 1,
            4 => room,
            5 => room + 1,
            6 => 0,
            7 | 8 => self.rng.random_range(-5..=-1_i64),
            // Back to something that sells out.
            9..12 if stock > 100_000 => 10 - signed(stock),
            9..13 => self.rng.random_range(1..=6_i64),
            _ => self.rng.random_range(1..=300_i64),
        };
        adjust(product, delta)
    }

    pub fn put(&mut self, at: Situation<'_>) -> PutProduct {
        let (name, price) = (self.pick(&["상품", "a", "\"\\ ]] --"]), self.pick(&PRICES));
        let stock = self.pick(&STOCKS);
        let mut put = if at.model.product_last < PRODUCTS_MAX && self.chance(3) {
            new_product(name, price, stock)
        } else {
            let mut put = patch(self.product(at));
            put.name = self.chance(20).then(|| name.to_owned());
            put.price = self.chance(40).then_some(price);
            // Only a new product takes it.
            put.stock = self.chance(5).then_some(stock);
            put.status = self.chance(50).then(|| self.status());
            if self.chance(40) {
                // On sale again, whatever stood in the way.
                let (status, window) = (Some(ItemStatus::Normal), Some(Change::Clear));
                return PutProduct { status, starts: window, ends: window, ..put };
            }
            put
        };
        if self.chance(30) {
            put.limit =
                Some(if self.chance(60) { Change::Clear } else { Change::Set(self.rng.random_range(0..=100_u64)) });
        }
        // Mostly none, so that something is for sale.
        if self.chance(30) {
            put.starts = Some(self.window_edge(70, at, &STARTS_FROM_NOW_MS));
        }
        if self.chance(30) {
            put.ends = Some(self.window_edge(80, at, &ENDS_FROM_NOW_MS));
        }
        if self.chance(1) {
            put.starts = Some(Change::Set(-1));
        }
        put
    }

    fn status(&mut self) -> ItemStatus {
        if self.rng.random_range(0..12) == 0 { ItemStatus::Deleted } else { ItemStatus::Normal }
    }

    /// An edge of a window near now, or none.
    fn window_edge(&mut self, none_percent: u32, at: Situation<'_>, from_now_ms: &[i64]) -> Change<i64> {
        if self.chance(none_percent) { Change::Clear } else { Change::Set(at.moment.now_ms + self.pick(from_now_ms)) }
    }

    /// One of the last coupons, rarely one that does not exist.
    pub fn coupon_id(&mut self, at: Situation<'_>) -> CouponId {
        let last = at.model.coupon_last;
        let unknown = u32::from(self.chance(3)) * 50;
        self.rng.random_range(last.saturating_sub(COUPONS_HOT - 1).max(1)..=last.max(1)) + unknown
    }

    pub fn coupon(&mut self, at: Situation<'_>) -> PutCoupon {
        let mut put = if at.model.coupon_last < COUPONS_HOT || self.chance(40) {
            self.new_coupon(at)
        } else {
            let mut put = patch_coupon(self.coupon_id(at));
            put.total = self.chance(50).then(|| self.pick(&[1, 2, 5, 10, 1_000]));
            put.status = self.chance(50).then(|| self.status());
            put.name = self.chance(20).then(|| "바뀐 쿠폰".to_owned());
            put.valid_days = self.chance(20).then_some(3);
            // What it is worth stays.
            put.min_order = self.chance(5).then_some(1);
            put
        };
        if self.chance(40) {
            put.starts = Some(self.window_edge(60, at, &STARTS_FROM_NOW_MS));
        }
        if self.chance(40) {
            put.ends = Some(self.window_edge(60, at, &ENDS_FROM_NOW_MS));
        }
        put
    }

    fn new_coupon(&mut self, at: Situation<'_>) -> PutCoupon {
        let kind = self.pick(&[CouponType::Cart, CouponType::CartItem]);
        let discount = self.pick(&[DiscountType::Fixed, DiscountType::Percent]);
        let values = match discount {
            DiscountType::Fixed => [1, 100, 100, 5_000, 5_000, NUMBER_MAX],
            DiscountType::Percent => [1, 7, 33, 50, 100, 101],
        };
        let names_product = (kind == CouponType::CartItem) != self.chance(4);
        let unknown = u32::from(self.chance(15)) * 50;
        let mut put = PutCoupon {
            coupon: None,
            name: Some("쿠폰".to_owned()),
            kind: Some(kind),
            product: names_product.then(|| self.product(at) + unknown),
            discount: Some(discount),
            value: Some(self.pick(&values)),
            max_discount: self.chance(30).then(|| self.pick(&[1, 50, 500, 1_000_000])),
            min_order: self.chance(30).then(|| self.pick(&[0, 1, 1_000, 100_000])),
            total: Some(self.pick(&[1, 2, 3, 5, 8, 100, STOCK_MAX])),
            starts: None,
            ends: None,
            valid_days: Some(self.pick(&[1, 1, 2, 7, 36_500])),
            status: None,
        };
        match self.rng.random_range(0..40) {
            0 => put.name = None,
            1 => put.total = Some(0),
            2 => put.valid_days = Some(36_501),
            3 => put.value = Some(NUMBER_MAX + 1),
            _ => {}
        }
        put
    }

    pub fn cart(&mut self, at: Situation<'_>, user: &UserId) -> PutCart {
        if self.chance(4) {
            return PutCart::default();
        }
        let product = self.product(at);
        let most = at.rules().quantity_max;
        let quantity = match self.rng.random_range(0..12) {
            0 => 0,
            1 => most + 1,
            2..6 => self.rng.random_range(1..=3),
            _ => self.quantity(at, user, product),
        };
        PutCart { product: Some(product), quantity: Some(quantity), add: self.chance(50) }
    }
}
