//! Coupons: what they are, how many were issued, and who has them.

use jiff::Timestamp;

use super::{Moment, Parameter, Rows, Unfit, fit, fit_some, id_of, text, time};
use crate::engine::event::{CouponIssued, CouponPut};
use crate::engine::ids::CellId;

columns! {
    /// `coupons`.
    Coupons of CouponRow<'a> {
        coupon_id: i32, name: &'a str, kind: &'static str, product_id: Option<i32>, discount: &'static str, value: i64,
        max_discount: Option<i64>, min_order: Option<i64>, total: i64, starts: Option<Timestamp>, ends: Option<Timestamp>,
        valid_days: i32, status: &'static str, version: i32, seq: i64, at: Timestamp,
    }
}
columns! {
    /// `coupon_stock`: differences, one row per coupon.
    CouponStock of CouponStockRow {
        coupon_id: i32, issued: i64, seq: i64,
    }
}
columns! {
    /// `user_coupons`.
    UserCoupons of UserCouponRow<'a> {
        user_id: &'a str, coupon_id: i32, user_coupon_id: Option<i64>, status: &'static str, order_id: Option<i64>,
        expires: Option<Timestamp>, seq: i64, created: Timestamp, at: Timestamp,
    }
}

impl<'a> Rows<'a> {
    pub(super) fn add_coupon(&mut self, coupon: &'a CouponPut) -> Result<(), Unfit> {
        let moment = Moment::new(coupon.seq, coupon.at)?;
        let row = CouponRow {
            coupon_id: fit(coupon.coupon, "coupon")?,
            name: text(&coupon.name)?,
            kind: coupon.kind.as_str(),
            product_id: fit_some(coupon.product, "product")?,
            discount: coupon.discount.as_str(),
            value: fit(coupon.value, "value")?,
            max_discount: fit_some(coupon.max_discount, "max_discount")?,
            min_order: fit_some(coupon.min_order, "min_order")?,
            total: fit(coupon.total, "total")?,
            starts: coupon.starts.map(time).transpose()?,
            ends: coupon.ends.map(time).transpose()?,
            valid_days: fit(coupon.valid_days, "valid_days")?,
            status: coupon.status.as_str(),
            version: fit(coupon.version, "version")?,
            seq: moment.seq,
            at: moment.at,
        };

        self.coupons.insert(row.coupon_id, row);
        Ok(())
    }

    pub(super) fn add_issued(&mut self, cell: CellId, issued: &'a CouponIssued) -> Result<(), Unfit> {
        let moment = Moment::new(issued.seq, issued.at)?;
        let row = UserCouponRow {
            user_id: issued.user.as_str(),
            coupon_id: fit(issued.coupon, "coupon")?,
            user_coupon_id: Some(id_of(cell, issued.seq, "seq")?),
            status: "AVAILABLE",
            order_id: None,
            expires: Some(time(issued.expires)?),
            seq: moment.seq,
            created: moment.at,
            at: moment.at,
        };

        let first = CouponStockRow { coupon_id: row.coupon_id, issued: 0, seq: moment.seq };
        let stock = self.coupon_stock.entry(row.coupon_id).or_insert(first);
        stock.issued += 1;
        stock.seq = moment.seq;
        self.user_coupons.insert((row.user_id, row.coupon_id), row);
        Ok(())
    }

    /// An order uses a coupon of its user, or gives it back (`None`).
    pub(super) fn mark_coupon(&mut self, user_id: &'a str, coupon_id: i32, order_id: Option<i64>, moment: Moment) {
        let status = if order_id.is_some() { "USED" } else { "AVAILABLE" };
        let Moment { seq, at } = moment;
        // When it was issued in this batch, the row has id and expiry; else PostgreSQL has them.
        let before = self.user_coupons.get(&(user_id, coupon_id));
        let (user_coupon_id, expires) = before.map_or((None, None), |row| (row.user_coupon_id, row.expires));
        let created = before.map_or(at, |row| row.created);
        let row = UserCouponRow { user_id, coupon_id, user_coupon_id, status, order_id, expires, seq, created, at };
        self.user_coupons.insert((user_id, coupon_id), row);
    }

    /// The columns of `coupons`.
    pub(in crate::writer) fn coupons(&self) -> Coupons<'a> {
        self.coupons.values().cloned().collect()
    }

    /// The columns of `coupon_stock`.
    pub(in crate::writer) fn coupon_stock(&self) -> CouponStock {
        self.coupon_stock.values().cloned().collect()
    }

    /// The columns of `user_coupons`.
    pub(in crate::writer) fn user_coupons(&self) -> UserCoupons<'a> {
        self.user_coupons.values().cloned().collect()
    }
}
