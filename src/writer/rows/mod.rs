//! Events as rows: one set of columns per table, ready for `INSERT … SELECT FROM unnest(…)`, one plan for any number.
//! A statement may change a row only once, so what many events of a batch change is kept in a map and comes out as one row:
//! its last state, or the sum of the differences.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use tokio_postgres::types::ToSql;

use crate::engine::event::Event;
use crate::engine::ids::{CellId, EntityId};

/// A parameter of a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Declares a row of a table, and the columns of many.
macro_rules! columns {
    ($(#[doc = $doc:literal])+ $name:ident of $row:ident $(<$life:lifetime>)? {
        $($column:ident: $type:ty),+ $(,)?
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Default)]
        pub(in crate::writer) struct $name $(<$life>)? { $(pub(super) $column: Vec<$type>,)+ }

        /// One row.
        #[derive(Clone, Debug)]
        pub(in crate::writer) struct $row $(<$life>)? { $(pub(super) $column: $type,)+ }

        impl $(<$life>)? $name $(<$life>)? {
            fn push(&mut self, row: $row $(<$life>)?) {
                $(self.$column.push(row.$column);)+
            }

            /// The columns in their order, as parameters of the statement behind any `first` ones; `None` without rows.
            pub(in crate::writer) fn parameters<'p>(&'p self, first: &[Parameter<'p>]) -> Option<Vec<Parameter<'p>>> {
                let columns: &[(usize, Parameter<'p>)] = &[$((self.$column.len(), &self.$column)),+];
                (columns[0].0 > 0).then(|| first.iter().copied().chain(columns.iter().map(|(_, c)| *c)).collect())
            }
        }

        impl $(<$life>)? FromIterator<$row $(<$life>)?> for $name $(<$life>)? {
            fn from_iter<I: IntoIterator<Item = $row $(<$life>)?>>(rows: I) -> Self {
                let mut columns = Self::default();
                rows.into_iter().for_each(|row| columns.push(row));
                columns
            }
        }
    };
}

mod cart;
mod coupon;
mod money;
mod order;
mod product;
#[cfg(test)]
mod tests;

use cart::CartRow;
use coupon::{CouponRow, CouponStockRow, UserCouponRow};
use money::{ChargeRow, Transactions};
use order::{Changed, OrderItems, Orders};
use product::{Movements, ProductRow, RestockDue, RestockRow, SalesRow, StockRow};

/// Sequence numbers stay below this: an id has so many for each cell.
const SEQ_END: u64 = 1 << 44;

/// Everything that a batch of events does to the tables.
#[derive(Debug, Default)]
pub(super) struct Rows<'a> {
    /// A later event has made the rows of the order already, because this one was parked.
    overtaken: bool,
    /// Orders that were paid at once without coupons, and nothing else, so that they cost no more than they must.
    pub orders: Orders<'a>,
    /// Their lines.
    pub items: OrderItems<'a>,
    /// All other orders, by id, with their payments and lines.
    changed: BTreeMap<i64, Changed<'a>>,
    pub transactions: Transactions<'a>,
    charges: BTreeMap<i64, ChargeRow<'a>>,
    pub movements: Movements<'a>,
    products: BTreeMap<i32, ProductRow<'a>>,
    stock: BTreeMap<i32, StockRow>,
    sales: BTreeMap<(Date, i32), SalesRow>,
    coupons: BTreeMap<i32, CouponRow<'a>>,
    coupon_stock: BTreeMap<i32, CouponStockRow>,
    user_coupons: BTreeMap<(&'a str, i32), UserCouponRow<'a>>,
    carts: BTreeMap<&'a str, CartRow<'a>>,
    /// By user, product and round.
    restock: BTreeMap<(&'a str, i32, i64), RestockRow<'a>>,
    pub restock_due: RestockDue,
}

/// An event holds something that a column cannot: it is parked with this reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub String);

/// When an event was decided.
#[derive(Clone, Copy, Debug)]
struct Moment {
    seq: i64,
    at: Timestamp,
}

impl Moment {
    fn new(seq: u64, at: i64) -> Result<Self, Unfit> {
        Ok(Self { seq: fit(seq, "seq")?, at: time(at)? })
    }
}

fn fit<T, U: TryInto<T>>(value: U, what: &str) -> Result<T, Unfit> {
    value.try_into().map_err(|_| Unfit(format!("{what} is out of range")))
}

fn fit_some<T, U: TryInto<T>>(value: Option<U>, what: &str) -> Result<Option<T>, Unfit> {
    value.map(|value| fit(value, what)).transpose()
}

fn time(ms: i64) -> Result<Timestamp, Unfit> {
    Timestamp::from_millisecond(ms).map_err(|_| Unfit("a time is out of range".to_owned()))
}

/// PostgreSQL's text takes every character but NUL.
fn text(value: &str) -> Result<&str, Unfit> {
    if value.contains('\0') { Err(Unfit("a text holds a NUL character".to_owned())) } else { Ok(value) }
}

/// The id of what event `seq` started.
fn id_of(cell: CellId, seq: u64, what: &str) -> Result<i64, Unfit> {
    if seq < SEQ_END { Ok(EntityId::new(cell, seq).as_i64()) } else { Err(Unfit(format!("{what} is out of range"))) }
}

impl<'a> Rows<'a> {
    /// For one event that is applied alone. `overtaken`: it is an order's first, and a later one was here before it.
    pub(super) fn of_one(overtaken: bool) -> Self {
        Self { overtaken, ..Self::default() }
    }

    /// Adds one event, wholly or (when it does not fit) not at all.
    pub(super) fn add(&mut self, cell: CellId, event: &'a Event) -> Result<(), Unfit> {
        match event {
            Event::OrderConfirmed(order) => self.add_confirmed(cell, order),
            Event::OrderChanged(order) => self.add_changed(cell, order),
            Event::BalanceCharged(charge) => self.add_charged(cell, charge),
            Event::ChargeOpened(charge) => self.add_opened(cell, charge),
            Event::ChargeSettled(charge) => self.add_settled(cell, charge),
            Event::CouponPut(coupon) => self.add_coupon(coupon),
            Event::CouponIssued(issued) => self.add_issued(cell, issued),
            Event::CartPut(cart) => self.add_cart(cart),
            Event::RestockRequested(request) => self.add_request(request),
            Event::StockAdjusted(change) => self.add_adjusted(change),
            Event::ProductPut(product) => self.add_product(product),
        }
    }
}
