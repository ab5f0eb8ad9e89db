//! Events: what happened, as the log, the idempotency records and the replies carry it: MessagePack
//! `[fingerprint, key, type, version, [fields]]`: the request that it came from, and what happened, the fields in the order
//! of the structs below. Times are ms since 1970, amounts minor units. An event is also the outcome of its op.

mod coupon;
mod money;
mod order;
mod product;

use std::io::Cursor;

use serde::{Deserialize, Serialize};

pub use coupon::{CouponIssued, CouponPut};
pub use money::{BalanceCharged, ChargeOpened, ChargeSettled, ChargeStatus};
pub use order::{CartLine, CartPut, OrderChanged, OrderConfirmed, OrderLine, OrderStatus, RefundStatus};
pub use product::{ProductPut, RestockRequested, StockAdjusted};

/// Declares the events: one variant each, with its type and version in the log.
macro_rules! events {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $version:literal;)+) => {
        /// One decided op.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Event { $($(#[doc = $doc])+ $variant($variant),)+ }

        impl Event {
            /// Every type.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Reads one event.
            pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
                let (name, version, fields) = split_header(bytes)?;
                match (name, version) {
                    $(($name, $version) => body(name, fields).map(Self::$variant),)+
                    _ => Err(EventError::Unknown { name: name.to_owned(), version }),
                }
            }

            /// Its type, as the log and metrics spell it.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// Its sequence number.
            pub fn seq(&self) -> u64 {
                match self { $(Self::$variant(event) => event.seq,)+ }
            }
        }
    };
}

events! {
    /// An order was placed and paid.
    OrderConfirmed = "order_confirmed" 1;
    /// An order was reserved, paid for later, held, ended or refunded.
    OrderChanged = "order_changed" 1;
    /// A balance was credited.
    BalanceCharged = "balance_charged" 1;
    /// The gateway is about to be asked for a charge.
    ChargeOpened = "charge_opened" 1;
    /// The gateway answered.
    ChargeSettled = "charge_settled" 1;
    /// A coupon was created or changed.
    CouponPut = "coupon_put" 1;
    /// A user got a coupon.
    CouponIssued = "coupon_issued" 1;
    /// A cart was changed.
    CartPut = "cart_put" 1;
    /// A user wants to be told when a product is back.
    RestockRequested = "restock_requested" 1;
    /// Stock was added or taken away.
    StockAdjusted = "stock_adjusted" 1;
    /// A product was created or changed.
    ProductPut = "product_put" 1;
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
