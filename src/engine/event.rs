//! Events: what happened, as the log, the idempotency records and the replies carry it: MessagePack
//! `[fingerprint, key, type, version, [fields]]`: the request that it came from, and what happened, the fields in the order of the structs below. Times are ms since 1970, amounts minor units. An event is also the outcome of its op.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

use super::op::{ProductId, ProductStatus, ShippingAddress};
use super::user::UserId;

/// One decided op.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An order was placed and paid.
    OrderConfirmed(OrderConfirmed),
    /// A balance was credited.
    BalanceCharged(BalanceCharged),
    /// Stock was added or taken away.
    StockAdjusted(StockAdjusted),
    /// A product was created or changed.
    ProductPut(ProductPut),
}

/// `order_confirmed` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// Sequence number; with the cell the ids of order, payment and transaction.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// The buyer.
    pub user: UserId,
    /// Business day that the ranking counts it on, `YYYY-MM-DD`.
    pub day: String,
    /// Sum of price × quantity.
    pub total: u64,
    /// Sum of the discounts.
    pub discount: u64,
    /// What was paid.
    #[serde(rename = "final")]
    pub final_amount: u64,
    /// `BALANCE`.
    pub method: String,
    /// As given.
    pub address: Option<ShippingAddress>,
    /// The balance afterwards.
    pub balance: u64,
    /// The used total afterwards.
    pub used: u64,
    /// The lines.
    pub items: Vec<OrderLine>,
}

/// One line of an order, with name and price of that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Which product.
    pub product: ProductId,
    /// Its name.
    pub name: String,
    /// Its price.
    pub price: u64,
    /// Units.
    pub quantity: u32,
    /// Discount of this line.
    pub discount: u64,
}

/// `balance_charged` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BalanceCharged {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Whose balance.
    pub user: UserId,
    /// What was credited.
    pub amount: u64,
    /// The balance before.
    pub previous: u64,
    /// The balance afterwards.
    pub balance: u64,
    /// The used total, unchanged.
    pub used: u64,
}

/// `stock_adjusted` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StockAdjusted {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Which product.
    pub product: ProductId,
    /// Units added.
    pub delta: i64,
    /// Available units afterwards.
    pub stock: u64,
    /// The operator.
    pub by: UserId,
}

/// `product_put` 1: the whole product as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductPut {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Which product.
    pub product: ProductId,
    /// Display name.
    pub name: String,
    /// Minor units.
    pub price: u64,
    /// Units that one user may buy.
    pub limit: Option<u64>,
    /// Start of the sale window.
    pub starts: Option<i64>,
    /// End of the sale window.
    pub ends: Option<i64>,
    /// Whether it can be sold.
    pub status: ProductStatus,
    /// 1 when created, one more with every change.
    pub version: u32,
    /// Whether this created it.
    pub created: bool,
    /// Available units afterwards (when created: the initial stock).
    pub stock: u64,
    /// The operator.
    pub by: UserId,
}

/// Why bytes are not an event that this version of the service understands.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A newer service wrote it: nobody else may pass over it.
    #[error("unknown event {name} version {version}")]
    Unknown {
        /// Its type.
        name: String,
        /// Its version.
        version: u32,
    },
    /// A known event whose fields cannot be read.
    #[error("malformed event {name}: {reason}")]
    Malformed {
        /// Its type.
        name: String,
        /// What the decoder said.
        reason: String,
    },
    /// Not even `[fingerprint, key, type, version, [fields]]`.
    #[error("not an event: {0}")]
    Garbled(String),
}

impl Event {
    /// Reads one event.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        let (name, version, fields) = split_header(bytes)?;
        match (name, version) {
            ("order_confirmed", 1) => body(name, fields).map(Self::OrderConfirmed),
            ("balance_charged", 1) => body(name, fields).map(Self::BalanceCharged),
            ("stock_adjusted", 1) => body(name, fields).map(Self::StockAdjusted),
            ("product_put", 1) => body(name, fields).map(Self::ProductPut),
            _ => Err(EventError::Unknown { name: name.to_owned(), version }),
        }
    }

    /// Its type, as the log and metrics spell it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OrderConfirmed(_) => "order_confirmed",
            Self::BalanceCharged(_) => "balance_charged",
            Self::StockAdjusted(_) => "stock_adjusted",
            Self::ProductPut(_) => "product_put",
        }
    }

    /// Its sequence number.
    pub fn seq(&self) -> u64 {
        match self {
            Self::OrderConfirmed(e) => e.seq,
            Self::BalanceCharged(e) => e.seq,
            Self::StockAdjusted(e) => e.seq,
            Self::ProductPut(e) => e.seq,
        }
    }
}

/// Splits the concatenated events of a log entry. Each part can be decoded on its own, so one that is malformed does
/// not hide the others.
pub fn split(mut bytes: &[u8]) -> Result<Vec<&[u8]>, EventError> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let mut rest = Cursor::new(bytes);
        let mut decoder = rmp_serde::Deserializer::new(&mut rest);
        serde::de::IgnoredAny::deserialize(&mut decoder).map_err(|e| EventError::Garbled(e.to_string()))?;
        let length = usize::try_from(rest.position()).expect("a position inside a slice");
        let (event, tail) = bytes.split_at(length);
        events.push(event);
        bytes = tail;
    }
    Ok(events)
}

fn split_header(bytes: &[u8]) -> Result<(&str, u32, &[u8]), EventError> {
    let garbled = |what: &str| EventError::Garbled(what.to_owned());
    let mut rest = bytes;
    let members = rmp::decode::read_array_len(&mut rest).map_err(|_| garbled("no array"))?;
    if members != 5 {
        return Err(garbled("not five members"));
    }
    let (_fingerprint, rest) = rmp::decode::read_str_from_slice(rest).map_err(|_| garbled("no fingerprint"))?;
    let (_key, rest) = rmp::decode::read_str_from_slice(rest).map_err(|_| garbled("no key"))?;
    let (name, mut rest) = rmp::decode::read_str_from_slice(rest).map_err(|_| garbled("no type"))?;
    let version = rmp::decode::read_int(&mut rest).map_err(|_| garbled("no version"))?;
    Ok((name, version, rest))
}

fn body<'a, T: Deserialize<'a>>(name: &str, fields: &'a [u8]) -> Result<T, EventError> {
    rmp_serde::from_slice(fields).map_err(|e| EventError::Malformed { name: name.to_owned(), reason: e.to_string() })
}
