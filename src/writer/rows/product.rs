//! Products, their stock and their sales, and who waits for them.

use jiff::{Timestamp, civil::Date};

use super::{Moment, Parameter, Rows, Unfit, fit, fit_some, text, time};
use crate::engine::event::{ProductPut, RestockRequested, StockAdjusted};

columns! {
    /// `stock_movements`.
    Movements of MovementRow<'a> {
        seq: i64, product_id: i32, kind: &'static str, delta: i64, stock: i64, made_by: &'a str, at: Timestamp,
    }
}
columns! {
    /// `products`.
    Products of ProductRow<'a> {
        product_id: i32, name: &'a str, price: i64, limit: Option<i64>, starts: Option<Timestamp>,
        ends: Option<Timestamp>, status: &'static str, version: i32, seq: i64, at: Timestamp,
    }
}
columns! {
    /// `stock`: differences, one row per product.
    Stock of StockRow {
        product_id: i32, available: i64, reserved: i64, sold: i64, restocked_seq: Option<i64>, seq: i64,
    }
}
columns! {
    /// `product_sales`: differences, one row per business day and product.
    Sales of SalesRow {
        business_day: Date, product_id: i32, quantity: i64, seq: i64,
    }
}
columns! {
    /// `restock_notifications`: requests.
    Restock of RestockRow<'a> {
        user_id: &'a str, product_id: i32, round: i64, email: &'a str, seq: i64, at: Timestamp,
    }
}
columns! {
    /// `restock_notifications`: products that are back.
    RestockDue of RestockDueRow {
        product_id: i32, after: i64, seq: i64, at: Timestamp,
    }
}

/// Where the units of an order go: what each of them adds to each count of the stock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    available: i64,
    reserved: i64,
    sold: i64,
}

impl Move {
    /// Bought and paid at once.
    pub(super) const SOLD: Self = Self { available: -1, reserved: 0, sold: 1 };
    /// Reserved, to be paid for later.
    pub(super) const RESERVED: Self = Self { available: -1, reserved: 1, sold: 0 };
    /// What was reserved is paid.
    pub(super) const PAID: Self = Self { available: 0, reserved: -1, sold: 1 };
    /// What was reserved is given back.
    pub(super) const RELEASED: Self = Self { available: 1, reserved: -1, sold: 0 };
    /// What was paid is given back.
    pub(super) const REFUNDED: Self = Self { available: 1, reserved: 0, sold: -1 };

    /// Whether it changes what was sold on a day.
    pub(super) fn changes_sales(self) -> bool {
        self.sold != 0
    }
}

impl<'a> Rows<'a> {
    pub(super) fn add_adjusted(&mut self, change: &'a StockAdjusted) -> Result<(), Unfit> {
        let moment = Moment::new(change.seq, change.at)?;
        let product_id = fit(change.product, "product")?;
        let stock = fit(change.stock, "stock")?;

        self.add_movement(product_id, ("ADJUSTMENT", change.delta, stock), change.by.as_str(), moment);
        if change.restocked == Some(true) {
            self.note_restocked(product_id, moment);
        }
        Ok(())
    }

    pub(super) fn add_product(&mut self, product: &'a ProductPut) -> Result<(), Unfit> {
        let moment = Moment::new(product.seq, product.at)?;
        let stock: i64 = fit(product.stock, "stock")?;
        let row = ProductRow {
            product_id: fit(product.product, "product")?,
            name: text(&product.name)?,
            price: fit(product.price, "price")?,
            limit: fit_some(product.limit, "limit")?,
            starts: product.starts.map(time).transpose()?,
            ends: product.ends.map(time).transpose()?,
            status: product.status.as_str(),
            version: fit(product.version, "version")?,
            seq: moment.seq,
            at: moment.at,
        };

        if product.created {
            self.add_movement(row.product_id, ("INITIAL", stock, stock), product.by.as_str(), moment);
        }
        self.products.insert(row.product_id, row);
        Ok(())
    }

    pub(super) fn add_request(&mut self, request: &'a RestockRequested) -> Result<(), Unfit> {
        let moment = Moment::new(request.seq, request.at)?;
        let row = RestockRow {
            user_id: request.user.as_str(),
            product_id: fit(request.product, "product")?,
            round: fit(request.round, "round")?,
            email: text(&request.email)?,
            seq: moment.seq,
            at: moment.at,
        };

        self.restock.insert((row.user_id, row.product_id, row.round), row);
        Ok(())
    }

    /// `movement`: its kind, what it adds, and the stock afterwards.
    fn add_movement(
        &mut self,
        product_id: i32,
        (kind, delta, stock): (&'static str, i64, i64),
        made_by: &'a str,
        moment: Moment,
    ) {
        let Moment { seq, at } = moment;
        self.movements.push(MovementRow { seq, product_id, kind, delta, stock, made_by, at });
        self.stock_row(product_id, seq).available += delta;
    }

    /// Moves units of an order. `day`: the business day that they count on as sold, if they do.
    pub(super) fn move_units(&mut self, product_id: i32, quantity: i64, units: Move, day: Option<Date>, seq: i64) {
        let row = self.stock_row(product_id, seq);
        row.available += units.available * quantity;
        row.reserved += units.reserved * quantity;
        row.sold += units.sold * quantity;
        if let Some(business_day) = day.filter(|_| units.changes_sales()) {
            let first = SalesRow { business_day, product_id, quantity: 0, seq };
            let row = self.sales.entry((business_day, product_id)).or_insert(first);
            row.quantity += units.sold * quantity;
            row.seq = seq;
        }
    }

    /// A product is back for those who asked before.
    pub(super) fn note_restocked(&mut self, product_id: i32, moment: Moment) {
        let Moment { seq, at } = moment;
        let after = self.stock_row(product_id, seq).restocked_seq.replace(seq).unwrap_or_default();
        self.restock_due.push(RestockDueRow { product_id, after, seq, at });
    }

    fn stock_row(&mut self, product_id: i32, seq: i64) -> &mut StockRow {
        let first = StockRow { product_id, available: 0, reserved: 0, sold: 0, restocked_seq: None, seq };
        let row = self.stock.entry(product_id).or_insert(first);
        row.seq = seq;
        row
    }

    /// The columns of `products`.
    pub(in crate::writer) fn products(&self) -> Products<'a> {
        self.products.values().cloned().collect()
    }

    /// The columns of `stock`.
    pub(in crate::writer) fn stock(&self) -> Stock {
        self.stock.values().cloned().collect()
    }

    /// The columns of `product_sales`.
    pub(in crate::writer) fn sales(&self) -> Sales {
        self.sales.values().cloned().collect()
    }

    /// The columns of `restock_notifications`.
    pub(in crate::writer) fn restock(&self) -> Restock<'a> {
        self.restock.values().cloned().collect()
    }
}
