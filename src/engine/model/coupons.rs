//! Coupons, who holds them, and what they take off an order.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    DAY_MS, Model, Moment, NUMBER_MAX, STOCK_MAX, changed, check_time, invalid, out_of_range, product_not_found,
    refusal,
};
use crate::engine::event::{CouponIssued, CouponPut, Event, OrderLine};
use crate::engine::op::{CouponId, CouponType, DiscountType, ItemStatus, ProductId, PutCoupon};
use crate::engine::reads::HeldCoupon;
use crate::engine::refusal::{Refusal, Refused};
use crate::engine::user::UserId;

/// Longest validity of an issued coupon, in days.
const VALID_DAYS_MAX: u64 = 36_500;

/// Coupons on the whole order in one.
const CART_COUPONS_MAX: usize = 2;

/// A coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// Display name.
    pub name: String,
    /// What it is applied to.
    pub kind: CouponType,
    /// The product of a `CART_ITEM` coupon.
    pub product: Option<ProductId>,
    /// How `value` counts.
    pub discount: DiscountType,
    /// Minor units, or percent.
    pub value: u64,
    /// Most that it takes off.
    pub max_discount: Option<u64>,
    /// Least total of the order, before discounts.
    pub min_order: Option<u64>,
    /// How many there are in all.
    pub total: u64,
    /// How many can still be issued.
    pub remaining: u64,
    /// First ms of the issue window.
    pub starts: Option<i64>,
    /// First ms after the issue window.
    pub ends: Option<i64>,
    /// Days from issue to expiry.
    pub valid_days: u32,
    /// Whether it can be issued.
    pub status: ItemStatus,
    /// 1 when created, one more with every change.
    pub version: u32,
}

impl Coupon {
    /// What it takes off an amount: never more than that.
    fn takes_off(&self, amount: u64) -> u64 {
        let discount = match self.discount {
            DiscountType::Fixed => self.value,
            DiscountType::Percent => {
                let hundredfold = u128::from(amount) * u128::from(self.value);
                u64::try_from(hundredfold / 100).expect("a percentage is at most 100")
            }
        };
        discount.min(self.max_discount.unwrap_or(u64::MAX)).min(amount)
    }
}

impl Model {
    pub(super) fn put_coupon(&mut self, at: Moment<'_>, operator: &UserId, put: &PutCoupon) -> Result<Event, Refusal> {
        let coupon = match put.coupon {
            None => self.new_coupon(put)?,
            Some(id) => {
                let old = self.coupons.get(&id).ok_or_else(|| coupon_not_found(id))?;
                changed_coupon(old, put)?
            }
        };

        let id = put.coupon.unwrap_or(self.coupon_last + 1);
        self.coupon_last = self.coupon_last.max(id);
        self.coupons.insert(id, coupon.clone());
        Ok(Event::CouponPut(CouponPut {
            seq: self.seq + 1,
            at: at.now_ms,
            coupon: id,
            name: coupon.name,
            kind: coupon.kind,
            product: coupon.product,
            discount: coupon.discount,
            value: coupon.value,
            max_discount: coupon.max_discount,
            min_order: coupon.min_order,
            total: coupon.total,
            remaining: coupon.remaining,
            starts: coupon.starts,
            ends: coupon.ends,
            valid_days: coupon.valid_days,
            status: coupon.status,
            version: coupon.version,
            created: put.coupon.is_none(),
            by: operator.clone(),
        }))
    }

    fn new_coupon(&self, put: &PutCoupon) -> Result<Coupon, Refusal> {
        let needs = |member: &str| invalid(&format!("a new coupon needs {member}"));
        let name = put.name.clone().ok_or_else(|| needs("name"))?;
        let kind = put.kind.ok_or_else(|| needs("type"))?;
        let discount = put.discount.ok_or_else(|| needs("discount"))?;
        let value = put.value.ok_or_else(|| needs("value"))?;
        let total = put.total.ok_or_else(|| needs("total"))?;
        let valid_days = put.valid_days.ok_or_else(|| needs("valid_days"))?;
        check_ranges(put)?;
        if discount == DiscountType::Percent && value > 100 {
            return Err(invalid("a percentage is above 100"));
        }
        if (kind == CouponType::CartItem) != put.product.is_some() {
            return Err(invalid("exactly the type CART_ITEM names a product"));
        }
        if let Some(product) = put.product
            && self.sellable(product).is_err()
        {
            return Err(product_not_found(product));
        }
        let (starts, ends) = (changed(put.starts, None), changed(put.ends, None));
        check_issue_window(starts, ends)?;
        Ok(Coupon {
            name,
            kind,
            product: put.product,
            discount,
            value,
            max_discount: put.max_discount,
            min_order: put.min_order,
            total,
            remaining: total,
            starts,
            ends,
            valid_days,
            status: put.status.unwrap_or(ItemStatus::Normal),
            version: 1,
        })
    }

    pub(super) fn issue_coupon(&mut self, at: Moment<'_>, user: &UserId, id: CouponId) -> Result<Event, Refusal> {
        let account = self.account_of(user);
        let is_held = self.held_by(user, id).is_some();
        let coupon = self.coupons.get_mut(&id).filter(|coupon| coupon.status == ItemStatus::Normal);
        let coupon = coupon.ok_or_else(|| coupon_not_found(id))?;
        if is_held {
            return Err(refusal(Refused::AlreadyIssued, json!({ "couponId": id })));
        }
        if let Some(starts) = coupon.starts.filter(|starts| at.now_ms < *starts) {
            return Err(refusal(Refused::CouponNotOpen, json!({ "couponId": id, "opensAt": starts })));
        }
        if let Some(ends) = coupon.ends.filter(|ends| at.now_ms >= *ends) {
            return Err(refusal(Refused::CouponNotOpen, json!({ "couponId": id, "closedAt": ends })));
        }
        if coupon.remaining == 0 {
            return Err(refusal(Refused::CouponSoldOut, json!({ "couponId": id })));
        }

        coupon.remaining -= 1;
        let (seq, at, remaining) = (self.seq + 1, at.now_ms, coupon.remaining);
        let expires = at + i64::from(coupon.valid_days) * DAY_MS;
        let held = HeldCoupon { id: seq, issued: at, expires, order: None };
        self.wallets.entry(user.clone()).or_default().insert(id, held);
        // From now on there is an account.
        self.accounts.insert(user.clone(), account);
        Ok(Event::CouponIssued(CouponIssued { seq, at, user: user.clone(), coupon: id, expires, remaining }))
    }

    /// What coupons take off an order of `total`, with the share of each line noted there: first each coupon on a
    /// product off its line, then those on the order, as they are named, off what is left.
    pub(super) fn apply_coupons(
        &self,
        at: Moment<'_>,
        user: &UserId,
        ids: &[CouponId],
        lines: &mut [OrderLine],
        total: u64,
    ) -> Result<u64, Refusal> {
        let (mut seen, mut on_order, mut on_products) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        let mut sum = 0;
        for &id in ids {
            if !seen.insert(id) {
                return Err(invalid("a coupon appears twice"));
            }
            let unusable = |reason| refusal(Refused::InvalidCoupon, json!({ "couponId": id, "reason": reason }));
            let coupon = self.usable_coupon(at, user, id, total).map_err(unusable)?;
            match coupon.product {
                None => on_order.push(coupon),
                Some(product) => {
                    let line = lines.iter_mut().find(|line| line.product == product);
                    let line = line.ok_or_else(|| unusable("PRODUCT_NOT_IN_ORDER"))?;
                    if !on_products.insert(product) {
                        return Err(unusable("TOO_MANY_ITEM_COUPONS"));
                    }
                    line.discount = coupon.takes_off(line.price * u64::from(line.quantity));
                    sum += line.discount;
                }
            }
            if on_order.len() > CART_COUPONS_MAX {
                return Err(unusable("TOO_MANY_CART_COUPONS"));
            }
        }
        for coupon in on_order {
            sum += coupon.takes_off(total - sum);
        }
        Ok(sum)
    }

    /// The coupon, if this user may use it now for an order of `total`, whatever is in it.
    fn usable_coupon(&self, at: Moment<'_>, user: &UserId, id: CouponId, total: u64) -> Result<&Coupon, &'static str> {
        let (Some(coupon), Some(held)) = (self.coupons.get(&id), self.held_by(user, id)) else {
            return Err("NOT_OWNED");
        };
        if held.order.is_some() {
            return Err("ALREADY_USED");
        }
        if at.now_ms >= held.expires {
            return Err("EXPIRED");
        }
        if coupon.min_order.is_some_and(|least| total < least) {
            return Err("BELOW_MINIMUM_ORDER");
        }
        Ok(coupon)
    }

    /// Notes which order uses these coupons (none: they are free again).
    pub(super) fn mark_coupons(&mut self, user: &UserId, ids: &[CouponId], order: Option<u64>) {
        for id in ids {
            let held = self.wallets.get_mut(user).and_then(|wallet| wallet.get_mut(id));
            held.expect("an order uses coupons that its user holds").order = order;
        }
    }
}

/// What a change leaves of a coupon: what it is worth stays.
fn changed_coupon(old: &Coupon, put: &PutCoupon) -> Result<Coupon, Refusal> {
    let fixed = [
        ("type", put.kind.is_some()),
        ("product", put.product.is_some()),
        ("discount", put.discount.is_some()),
        ("value", put.value.is_some()),
        ("max_discount", put.max_discount.is_some()),
        ("min_order", put.min_order.is_some()),
    ];
    if let Some((member, _)) = fixed.iter().find(|(_, is_given)| *is_given) {
        return Err(invalid(&format!("{member} of a coupon cannot change")));
    }
    check_ranges(put)?;
    let (starts, ends) = (changed(put.starts, old.starts), changed(put.ends, old.ends));
    check_issue_window(starts, ends)?;
    let (issued, total) = (old.total - old.remaining, put.total.unwrap_or(old.total));
    if total < issued {
        return Err(invalid("more coupons were issued already"));
    }
    Ok(Coupon {
        name: put.name.clone().unwrap_or_else(|| old.name.clone()),
        total,
        remaining: total - issued,
        starts,
        ends,
        valid_days: put.valid_days.unwrap_or(old.valid_days),
        status: put.status.unwrap_or(old.status),
        version: old.version + 1,
        ..*old
    })
}

fn check_ranges(put: &PutCoupon) -> Result<(), Refusal> {
    let numbers = [
        ("value", put.value, 1, NUMBER_MAX),
        ("max_discount", put.max_discount, 1, NUMBER_MAX),
        ("min_order", put.min_order, 0, NUMBER_MAX),
        ("total", put.total, 1, STOCK_MAX),
        ("valid_days", put.valid_days.map(u64::from), 1, VALID_DAYS_MAX),
    ];
    for (member, number, least, most) in numbers {
        if number.is_some_and(|number| !(least..=most).contains(&number)) {
            return Err(out_of_range(member));
        }
    }
    check_time("starts", put.starts)?;
    check_time("ends", put.ends)
}

fn check_issue_window(starts: Option<i64>, ends: Option<i64>) -> Result<(), Refusal> {
    match (starts, ends) {
        (Some(starts), Some(ends)) if starts >= ends => Err(invalid("issueStartsAt must be before issueEndsAt")),
        _ => Ok(()),
    }
}

fn coupon_not_found(id: CouponId) -> Refusal {
    refusal(Refused::CouponNotFound, json!({ "couponId": id }))
}
