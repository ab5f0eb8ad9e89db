//! Events as rows: one set of columns per table, ready for `INSERT … SELECT FROM unnest(…)`, one plan for any number.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use jiff::{Timestamp, civil::Date};
use serde_json::Value;
use tokio_postgres::types::ToSql;

use crate::engine::event::{Event, OrderConfirmed, ProductPut};
use crate::engine::ids::{CellId, EntityId};

/// A parameter of a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Declares a struct of columns.
macro_rules! columns {
    ($(#[doc = $doc:literal])+ $name:ident<$life:lifetime> { $($column:ident: $type:ty),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Default)]
        pub(super) struct $name<$life> { $($column: Vec<$type>,)+ events: PhantomData<&$life ()> }

        impl<$life> $name<$life> {
            /// The columns in their order, as parameters of the statement behind any `first` ones; `None` without rows.
            pub(super) fn parameters<'p>(&'p self, first: &[Parameter<'p>]) -> Option<Vec<Parameter<'p>>> {
                let columns: &[(usize, Parameter<'p>)] = &[$((self.$column.len(), &self.$column)),+];
                (columns[0].0 > 0).then(|| first.iter().copied().chain(columns.iter().map(|(_, c)| *c)).collect())
            }
        }
    };
}

columns! {
    /// `orders`, and `payments`, which for orders paid at once say the same.
    Orders<'a> {
        order_id: i64, user_id: &'a str, total: i64, discount: i64, final_amount: i64, method: &'a str,
        address: Option<Value>, business_day: Date, seq: i64, at: Timestamp,
    }
}
columns! {
    /// `order_items`.
    OrderItems<'a> {
        order_id: i64, line: i16, product_id: i32, name: &'a str, price: i64, quantity: i32, discount: i64, at: Timestamp,
    }
}
columns! {
    /// `balance_transactions`.
    Transactions<'a> {
        user_id: &'a str, transaction_id: i64, kind: &'static str, amount: i64, balance: i64, used: i64,
        order_id: Option<i64>, seq: i64, at: Timestamp,
    }
}
columns! {
    /// `stock_movements`.
    Movements<'a> {
        seq: i64, product_id: i32, kind: &'static str, delta: i64, stock: i64, made_by: &'a str, at: Timestamp,
    }
}
columns! {
    /// `products`; of several changes in one batch only the last.
    Products<'a> {
        product_id: i32, name: &'a str, price: i64, limit: Option<i64>, starts: Option<Timestamp>,
        ends: Option<Timestamp>, status: &'static str, version: i32, seq: i64, at: Timestamp,
    }
}

columns! {
    /// `stock`: differences, one row per product.
    Stock<'a> {
        product_id: i32, available: i64, sold: i64, seq: i64,
    }
}
columns! {
    /// `product_sales`: differences, one row per business day and product.
    Sales<'a> {
        business_day: Date, product_id: i32, quantity: i64, seq: i64,
    }
}

/// What a batch does to one row that many events change.
#[derive(Clone, Copy, Debug, Default)]
struct StockChange {
    /// Added to `available`.
    available: i64,
    /// Added to `sold`.
    sold: i64,
    /// Of the last event.
    seq: i64,
}

/// Everything that a batch of events does to the tables.
#[derive(Debug, Default)]
pub(super) struct Rows<'a> {
    pub orders: Orders<'a>,
    pub items: OrderItems<'a>,
    pub transactions: Transactions<'a>,
    pub movements: Movements<'a>,
    products: BTreeMap<i32, &'a ProductPut>,
    stock: BTreeMap<i32, StockChange>,
    /// By business day and product: units and the sequence number of the last event.
    sales: BTreeMap<(Date, i32), (i64, i64)>,
}

/// An event holds something that a column cannot: it is parked with this reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub String);

fn fit<T, U: TryInto<T>>(value: U, what: &str) -> Result<T, Unfit> {
    value.try_into().map_err(|_| Unfit(format!("{what} is out of range")))
}

fn time(ms: i64) -> Result<Timestamp, Unfit> {
    Timestamp::from_millisecond(ms).map_err(|_| Unfit("a time is out of range".to_owned()))
}

/// PostgreSQL's text takes every character but NUL.
fn text(value: &str) -> Result<&str, Unfit> {
    if value.contains('\0') { Err(Unfit("a text holds a NUL character".to_owned())) } else { Ok(value) }
}

impl<'a> Rows<'a> {
    /// Adds one event, wholly or (when it does not fit) not at all.
    pub(super) fn add(&mut self, cell: CellId, event: &'a Event) -> Result<(), Unfit> {
        let seq = fit(event.seq(), "seq")?;
        match event {
            Event::OrderConfirmed(order) => self.add_order(cell, seq, order),
            Event::BalanceCharged(charge) => {
                let (amount, balance) = (fit(charge.amount, "amount")?, fit(charge.balance, "balance")?);
                let (used, at) = (fit(charge.used, "used")?, time(charge.at)?);
                let id = EntityId::new(cell, charge.seq).as_i64();
                self.add_transaction(charge.user.as_str(), id, "CHARGE", (amount, balance, used), None, (seq, at));
                Ok(())
            }
            Event::StockAdjusted(change) => {
                let (product, stock) = (fit(change.product, "product")?, fit(change.stock, "stock")?);
                self.add_movement(
                    product,
                    "ADJUSTMENT",
                    change.delta,
                    stock,
                    change.by.as_str(),
                    (seq, time(change.at)?),
                );
                Ok(())
            }
            Event::ProductPut(product) => self.add_product(seq, product),
        }
    }

    fn add_order(&mut self, cell: CellId, seq: i64, order: &'a OrderConfirmed) -> Result<(), Unfit> {
        // Everything that can fail comes first, so that a misfit leaves no half of itself behind.
        let at = time(order.at)?;
        let id = EntityId::new(cell, order.seq).as_i64();
        let day: Date = order.day.parse().map_err(|_| Unfit(format!("{:?} is no day", order.day)))?;
        let (total, discount) = (fit(order.total, "total")?, fit(order.discount, "discount")?);
        let (final_amount, balance) = (fit(order.final_amount, "final")?, fit(order.balance, "balance")?);
        let used = fit(order.used, "used")?;
        let address = order.address.as_ref().map(serde_json::to_value).transpose();
        let address = address.map_err(|e| Unfit(e.to_string()))?;
        if address.as_ref().is_some_and(|a| a.to_string().contains("\\u0000")) {
            return Err(Unfit("the address holds a NUL character".to_owned()));
        }
        let mut lines = Vec::with_capacity(order.items.len());
        for (line, item) in (1..).zip(&order.items) {
            let product: i32 = fit(item.product, "product")?;
            let quantity: i32 = fit(item.quantity, "quantity")?;
            lines.push((
                line,
                product,
                text(&item.name)?,
                fit(item.price, "price")?,
                quantity,
                fit(item.discount, "discount")?,
            ));
        }

        for (line, product, name, price, quantity, discount) in lines {
            let items = &mut self.items;
            items.order_id.push(id);
            items.line.push(line);
            items.product_id.push(product);
            items.name.push(name);
            items.price.push(price);
            items.quantity.push(quantity);
            items.discount.push(discount);
            items.at.push(at);
            let stock = self.stock.entry(product).or_default();
            *stock = StockChange {
                available: stock.available - i64::from(quantity),
                sold: stock.sold + i64::from(quantity),
                seq: stock.seq.max(seq),
            };
            let sold = self.sales.entry((day, product)).or_default();
            *sold = (sold.0 + i64::from(quantity), sold.1.max(seq));
        }
        let orders = &mut self.orders;
        orders.order_id.push(id);
        orders.user_id.push(order.user.as_str());
        orders.total.push(total);
        orders.discount.push(discount);
        orders.final_amount.push(final_amount);
        orders.method.push(&order.method);
        orders.address.push(address);
        orders.business_day.push(day);
        orders.seq.push(seq);
        orders.at.push(at);
        let amounts = (final_amount, balance, used);
        self.add_transaction(order.user.as_str(), id, "PAYMENT", amounts, Some(id), (seq, at));
        Ok(())
    }

    /// `amounts`: of the transaction, balance and used total afterwards.
    fn add_transaction(
        &mut self,
        user: &'a str,
        id: i64,
        kind: &'static str,
        amounts: (i64, i64, i64),
        order_id: Option<i64>,
        (seq, at): (i64, Timestamp),
    ) {
        let rows = &mut self.transactions;
        rows.user_id.push(user);
        rows.transaction_id.push(id);
        rows.kind.push(kind);
        rows.amount.push(amounts.0);
        rows.balance.push(amounts.1);
        rows.used.push(amounts.2);
        rows.order_id.push(order_id);
        rows.seq.push(seq);
        rows.at.push(at);
    }

    fn add_movement(
        &mut self,
        product: i32,
        kind: &'static str,
        delta: i64,
        stock_after: i64,
        made_by: &'a str,
        (seq, at): (i64, Timestamp),
    ) {
        let rows = &mut self.movements;
        rows.seq.push(seq);
        rows.product_id.push(product);
        rows.kind.push(kind);
        rows.delta.push(delta);
        rows.stock.push(stock_after);
        rows.made_by.push(made_by);
        rows.at.push(at);
        let stock = self.stock.entry(product).or_default();
        *stock = StockChange { available: stock.available + delta, seq: stock.seq.max(seq), ..*stock };
    }

    fn add_product(&mut self, seq: i64, product: &'a ProductPut) -> Result<(), Unfit> {
        let id: i32 = fit(product.product, "product")?;
        let stock: i64 = fit(product.stock, "stock")?;
        let at = time(product.at)?;
        text(&product.name)?;
        fit::<i64, _>(product.price, "price")?;
        fit::<i32, _>(product.version, "version")?;
        product.limit.map(|limit| fit::<i64, _>(limit, "limit")).transpose()?;
        product.starts.map(time).transpose()?;
        product.ends.map(time).transpose()?;

        if product.created {
            self.add_movement(id, "INITIAL", stock, stock, product.by.as_str(), (seq, at));
        }
        self.products.insert(id, product);
        Ok(())
    }

    /// The columns of `payments`: for orders paid at once they say the same as the orders.
    pub(super) fn payment_parameters<'p>(&'p self, cell: &'p i16) -> Option<Vec<Parameter<'p>>> {
        let o = &self.orders;
        let columns: Vec<Parameter<'p>> =
            vec![cell, &o.order_id, &o.user_id, &o.method, &o.final_amount, &o.seq, &o.at];
        (!o.order_id.is_empty()).then_some(columns)
    }

    /// The columns of `stock`.
    pub(super) fn stock(&self) -> Stock<'a> {
        let mut rows = Stock::default();
        for (product, change) in &self.stock {
            rows.product_id.push(*product);
            rows.available.push(change.available);
            rows.sold.push(change.sold);
            rows.seq.push(change.seq);
        }
        rows
    }

    /// The columns of `product_sales`.
    pub(super) fn sales(&self) -> Sales<'a> {
        let mut rows = Sales::default();
        for ((day, product), (quantity, seq)) in &self.sales {
            rows.business_day.push(*day);
            rows.product_id.push(*product);
            rows.quantity.push(*quantity);
            rows.seq.push(*seq);
        }
        rows
    }

    /// The columns of `products`; `add` has checked that everything fits.
    pub(super) fn products(&self) -> Products<'a> {
        let mut rows = Products::default();
        let time = |ms: i64| Timestamp::from_millisecond(ms).ok();
        for (id, product) in &self.products {
            rows.product_id.push(*id);
            rows.name.push(product.name.as_str());
            rows.price.push(i64::try_from(product.price).unwrap_or(i64::MAX));
            rows.limit.push(product.limit.and_then(|limit| i64::try_from(limit).ok()));
            rows.starts.push(product.starts.and_then(time));
            rows.ends.push(product.ends.and_then(time));
            rows.status.push(product.status.as_str());
            rows.version.push(i32::try_from(product.version).unwrap_or(i32::MAX));
            rows.seq.push(i64::try_from(product.seq).unwrap_or(i64::MAX));
            rows.at.push(time(product.at).unwrap_or_default());
        }
        rows
    }
}
