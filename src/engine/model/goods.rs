//! What an order takes and what it gives back: units, limits, coupons, the cart, the ranking.

use serde_json::json;

use super::{Model, Moment, NUMBER_MAX, invalid, missing_units, products, refusal};
use crate::engine::event::OrderLine;
use crate::engine::op::{CouponId, PlaceOrder, ProductId};
use crate::engine::refusal::{Refusal, Refused};
use crate::engine::user::UserId;

/// An order that could be placed, as far as who pays how does not matter.
pub(super) struct Draft {
    pub lines: Vec<OrderLine>,
    pub total: u64,
    pub discount: u64,
    /// As events name them.
    pub coupons: Option<Vec<CouponId>>,
}

impl Model {
    /// What an order would cost after discounts, if it could be placed now.
    pub fn price_of(&self, at: Moment<'_>, user: &UserId, order: &PlaceOrder) -> Option<u64> {
        self.draft(at, user, order).ok().map(|draft| draft.total - draft.discount)
    }

    /// Everything that an order must pass, whoever pays how.
    pub(super) fn draft(&self, at: Moment<'_>, user: &UserId, order: &PlaceOrder) -> Result<Draft, Refusal> {
        let items = match &order.items {
            Some(items) if items.is_empty() => return Err(invalid("an order needs items")),
            Some(items) => items,
            None => self.carts.get(user).ok_or_else(|| refusal(Refused::CartEmpty, json!({})))?,
        };
        let (mut lines, mut short) = (Vec::<OrderLine>::new(), Vec::new());
        let mut total: u128 = 0;
        for item in items {
            let (id, quantity) = (item.product, item.quantity);
            if lines.iter().any(|line| line.product == id) {
                return Err(invalid("a product appears twice"));
            }
            if quantity == 0 {
                return Err(invalid("a quantity is below 1"));
            }
            let product = self.sellable(id)?;
            products::check_window(at, id, product)?;
            self.check_limit(user, id, product, quantity)?;
            if self.stock_of(id) < u64::from(quantity) {
                short.push(missing_units(id, product, quantity.into(), self.stock_of(id)));
            }
            total += u128::from(product.price) * u128::from(quantity);
            lines.push(OrderLine {
                product: id,
                name: product.name.clone(),
                price: product.price,
                quantity,
                discount: 0,
                counted: product.limit.is_some().then_some(true),
            });
        }
        if !short.is_empty() {
            return Err(refusal(Refused::InsufficientStock, json!({ "insufficientItems": short })));
        }
        let total = u64::try_from(total).ok().filter(|total| *total <= NUMBER_MAX);
        let total = total.ok_or_else(|| invalid("the amount is too large"))?;
        let discount = self.apply_coupons(at, user, &order.coupons, &mut lines, total)?;
        if order.final_amount.is_some_and(|seen| seen != total - discount) {
            return Err(refusal(Refused::AmountMismatch, json!({ "finalAmount": total - discount })));
        }
        let coupons = (!order.coupons.is_empty()).then(|| order.coupons.clone());
        Ok(Draft { lines, total, discount, coupons })
    }

    /// Takes what a draft names. `id`: of the order to be.
    pub(super) fn take_goods(&mut self, user: &UserId, order: &PlaceOrder, lines: &[OrderLine], id: u64) {
        for line in lines {
            let quantity = u64::from(line.quantity);
            *self.stock.entry(line.product).or_default() -= quantity;
            if line.counted == Some(true) {
                *self.bought.entry((user.clone(), line.product)).or_default() += quantity;
            }
        }
        self.mark_coupons(user, &order.coupons, Some(id));
        if order.items.is_none() {
            self.carts.remove(user);
        }
    }

    /// Gives back what an order took. Returns the products that are back in stock by that, if there are any.
    pub(super) fn give_back(
        &mut self,
        at: Moment<'_>,
        user: &UserId,
        lines: &[OrderLine],
        coupons: Option<&[CouponId]>,
    ) -> Option<Vec<ProductId>> {
        let mut restocked = Vec::new();
        for line in lines {
            let quantity = u64::from(line.quantity);
            if self.add_stock(at, line.product, quantity) {
                restocked.push(line.product);
            }
            if line.counted == Some(true) {
                let left = self.bought_by(user, line.product).saturating_sub(quantity);
                if left == 0 {
                    self.bought.remove(&(user.clone(), line.product));
                } else {
                    self.bought.insert((user.clone(), line.product), left);
                }
            }
        }
        self.mark_coupons(user, coupons.unwrap_or_default(), None);
        (!restocked.is_empty()).then_some(restocked)
    }

    /// Today's ranking counts these units.
    pub(super) fn count_sales(&mut self, at: Moment<'_>, lines: &[OrderLine]) {
        let sales = self.sales.entry(at.business_day.to_owned()).or_default();
        for line in lines {
            *sales.entry(line.product).or_default() += u64::from(line.quantity);
        }
    }

    /// The ranking of the day of their sale does not count these units any more.
    pub(super) fn count_refund(&mut self, day: &str, lines: &[OrderLine]) {
        let sales = self.sales.entry(day.to_owned()).or_default();
        for line in lines {
            *sales.entry(line.product).or_default() -= u64::from(line.quantity);
        }
        sales.retain(|_, units| *units > 0);
    }
}
