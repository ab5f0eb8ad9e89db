//! Products, their stock, and who waits for it.

use serde_json::json;

use super::{
    Model, Moment, NUMBER_MAX, STOCK_MAX, changed, check_time, invalid, missing_units, out_of_range, product_not_found,
    refusal,
};
use crate::engine::event::{Event, ProductPut, RestockRequested, StockAdjusted};
use crate::engine::op::{AdjustStock, Change, ItemStatus, ProductId, PutProduct, RequestRestock};
use crate::engine::refusal::{Refusal, Refused};
use crate::engine::user::UserId;

/// A product without its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Display name.
    pub name: String,
    /// Minor units.
    pub price: u64,
    /// Units that one user may buy.
    pub limit: Option<u64>,
    /// First ms of the sale window.
    pub starts: Option<i64>,
    /// First ms after the sale window.
    pub ends: Option<i64>,
    /// Whether it can be sold.
    pub status: ItemStatus,
    /// 1 when created, one more with every change.
    pub version: u32,
}

/// How many wait for a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restock {
    /// One more whenever it was back, from 1.
    pub round: u64,
    /// Users who asked in this round.
    pub waiting: u64,
    /// Whether its stock left 0 while somebody waited and has not reached the threshold yet.
    pub rising: bool,
}

impl Model {
    /// The product, if it can be sold at all.
    pub(super) fn sellable(&self, id: ProductId) -> Result<&Product, Refusal> {
        let product = self.catalog.get(&id).filter(|product| product.status == ItemStatus::Normal);
        product.ok_or_else(|| product_not_found(id))
    }

    /// Refuses more units over all orders of a user than one may have.
    pub(super) fn check_limit(
        &self,
        user: &UserId,
        id: ProductId,
        product: &Product,
        quantity: u32,
    ) -> Result<(), Refusal> {
        let already = self.bought_by(user, id);
        match product.limit {
            Some(limit) if already + u64::from(quantity) > limit => {
                let details = json!({ "productId": id, "limitPerUser": limit, "alreadyBought": already });
                Err(refusal(Refused::ExceededLimitedQuantity, details))
            }
            _ => Ok(()),
        }
    }

    /// Adds units. Says whether those who wait for the product are to be told now: its stock was 0, has reached the
    /// threshold since, and nobody was told yet.
    pub(super) fn add_stock(&mut self, at: Moment<'_>, id: ProductId, quantity: u64) -> bool {
        let before = self.stock_of(id);
        let after = before + quantity;
        self.stock.insert(id, after);
        let is_for_sale = self.sellable(id).is_ok();
        let Some(restock) = self.restock.get_mut(&id).filter(|restock| is_for_sale && restock.waiting > 0) else {
            return false;
        };
        if before == 0 {
            restock.rising = true;
        }
        if !restock.rising || after < at.rules.restock_threshold {
            return false;
        }
        *restock = Restock { round: restock.round + 1, waiting: 0, rising: false };
        true
    }

    pub(super) fn request_restock(
        &mut self,
        at: Moment<'_>,
        user: &UserId,
        request: &RequestRestock,
    ) -> Result<Event, Refusal> {
        let product = request.product;
        self.sellable(product)?;

        let restock = self.restock.entry(product).or_insert(Restock { round: 1, waiting: 0, rising: false });
        let round = restock.round;
        if self.asked.insert((user.clone(), product), round) != Some(round) {
            restock.waiting += 1;
        }
        let (seq, at, user, email) = (self.seq + 1, at.now_ms, user.clone(), request.email.clone());
        Ok(Event::RestockRequested(RestockRequested { seq, at, user, product, email, round }))
    }

    pub(super) fn adjust_stock(
        &mut self,
        at: Moment<'_>,
        operator: &UserId,
        adjustment: &AdjustStock,
    ) -> Result<Event, Refusal> {
        let (id, delta) = (adjustment.product, adjustment.delta);
        let product = self.catalog.get(&id).ok_or_else(|| product_not_found(id))?;
        let available = self.stock_of(id);
        let Ok(stock) = u64::try_from(i128::from(available) + i128::from(delta)) else {
            let item = missing_units(id, product, delta.unsigned_abs(), available);
            return Err(refusal(Refused::InsufficientStock, json!({ "insufficientItems": [item] })));
        };
        if delta > 0 && stock > STOCK_MAX {
            return Err(invalid("the stock is too large"));
        }

        let mut restocked = None;
        if delta > 0 {
            restocked = self.add_stock(at, id, delta.unsigned_abs()).then_some(true);
        } else {
            self.stock.insert(id, stock);
        }
        let (seq, at, by) = (self.seq + 1, at.now_ms, operator.clone());
        Ok(Event::StockAdjusted(StockAdjusted { seq, at, product: id, delta, stock, by, restocked }))
    }

    pub(super) fn put_product(
        &mut self,
        at: Moment<'_>,
        operator: &UserId,
        put: &PutProduct,
    ) -> Result<Event, Refusal> {
        let old = match put.product {
            Some(id) => Some(self.catalog.get(&id).ok_or_else(|| product_not_found(id))?),
            None => None,
        };
        let limit = match put.limit {
            Some(Change::Set(limit)) => Some(limit),
            _ => None,
        };
        let numbers =
            [("price", put.price, 0, NUMBER_MAX), ("stock", put.stock, 0, STOCK_MAX), ("limit", limit, 1, NUMBER_MAX)];
        for (member, number, least, most) in numbers {
            if number.is_some_and(|number| !(least..=most).contains(&number)) {
                return Err(out_of_range(member));
            }
        }
        check_time("starts", put.starts)?;
        check_time("ends", put.ends)?;
        let name = put.name.clone().or_else(|| old.map(|old| old.name.clone()));
        let price = put.price.or(old.map(|old| old.price));
        let (Some(name), Some(price)) = (name, price) else {
            return Err(invalid("a new product needs name, price and stock"));
        };
        if old.is_none() && put.stock.is_none() {
            return Err(invalid("a new product needs name, price and stock"));
        }
        let product = Product {
            name,
            price,
            limit: changed(put.limit, old.and_then(|old| old.limit)),
            starts: changed(put.starts, old.and_then(|old| old.starts)),
            ends: changed(put.ends, old.and_then(|old| old.ends)),
            status: put.status.or(old.map(|old| old.status)).unwrap_or(ItemStatus::Normal),
            version: old.map_or(0, |old| old.version) + 1,
        };
        if let (Some(starts), Some(ends)) = (product.starts, product.ends)
            && starts >= ends
        {
            return Err(invalid("saleStartsAt must be before saleEndsAt"));
        }

        let id = put.product.unwrap_or(self.product_last + 1);
        if put.product.is_none() {
            self.product_last = id;
            self.stock.insert(id, put.stock.expect("it was checked"));
        }
        let seq = self.seq + 1;
        self.catalog_version = seq;
        self.catalog.insert(id, product.clone());
        Ok(Event::ProductPut(ProductPut {
            seq,
            at: at.now_ms,
            product: id,
            name: product.name,
            price: product.price,
            limit: product.limit,
            starts: product.starts,
            ends: product.ends,
            status: product.status,
            version: product.version,
            created: put.product.is_none(),
            stock: self.stock_of(id),
            by: operator.clone(),
        }))
    }
}

/// Refuses outside of the sale window.
pub(super) fn check_window(at: Moment<'_>, id: ProductId, product: &Product) -> Result<(), Refusal> {
    match (product.starts, product.ends) {
        (Some(starts), _) if at.now_ms < starts => {
            Err(refusal(Refused::SaleNotOpen, json!({ "productId": id, "opensAt": starts })))
        }
        (_, Some(ends)) if at.now_ms >= ends => {
            Err(refusal(Refused::SaleClosed, json!({ "productId": id, "closedAt": ends })))
        }
        _ => Ok(()),
    }
}
