//! Reads behind the gate: what a restarted or emptied Redis says is not an answer.

mod catalog;
mod history;
mod user;

use fred::types::Value;
use serde::Deserialize;

use super::batch::split_reply;
use super::cell::{CellShared, GateState};

pub use catalog::{CatalogCoupon, CatalogProduct, ProductsRead, coupons, products, sales};
pub use history::{
    ColumnChunk, Entity, FIELDS_MAX, Unmatched, Walk, column, day_sales, fields, last_event, take_due, unmatched,
};
pub use user::{Account, HeldCoupon, Quote, QuoteAnswer, account, cart, quote, wallet};

/// A read without an answer (503); the text is for operators.
#[derive(Debug, thiserror::Error)]
#[error("cannot read: {0}")]
pub struct ReadError(pub String);

/// Calls a reading function and decodes its value.
async fn read<T>(
    cell: &CellShared,
    function: &str,
    keys: &[String],
    args: Vec<Value>,
    decode: impl FnOnce(i64, u64, &[u8]) -> Result<T, String>,
) -> Result<T, ReadError> {
    call(cell, function, keys, args, true, decode).await
}

/// As [`read`], also for a function that writes.
async fn call<T>(
    cell: &CellShared,
    function: &str,
    keys: &[String],
    mut args: Vec<Value>,
    read_only: bool,
    decode: impl FnOnce(i64, u64, &[u8]) -> Result<T, String>,
) -> Result<T, ReadError> {
    let epoch = match cell.gate() {
        GateState::Open(epoch) => epoch,
        GateState::Closed(why) => return Err(ReadError(why)),
    };
    let _slot = cell.reads.try_acquire().map_err(|_| ReadError("too many reads are under way".to_owned()))?;
    args.splice(0..0, [epoch.to_string().into(), cell.acknowledged().to_string().into()]);
    let reply = if read_only {
        cell.redis.read(function, keys, args).await
    } else {
        cell.redis.call(function, keys, args).await
    };
    let reply = reply.map_err(|e| ReadError(e.to_string()))?;
    match split_reply(&reply).map_err(|e| ReadError(e.to_string()))? {
        Ok((now_ms, seq, value)) => {
            cell.note_clock(now_ms);
            decode(now_ms, seq, value).map_err(ReadError)
        }
        Err(reason) => {
            cell.close(epoch, format!("closed by Redis: {reason:?}"));
            Err(ReadError(format!("the cell is closed: {reason:?}")))
        }
    }
}

fn unpack<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, String> {
    rmp_serde::from_slice(value).map_err(|e| e.to_string())
}

/// A list of field and value, one after the other, as Redis answers a hash.
fn pairs<T>(flat: &[Packed], parse: impl FnMut(&Packed, &Packed) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut parse = parse;
    flat.chunks_exact(2).map(|pair| parse(&pair[0], &pair[1])).collect()
}

/// A Lua string inside an answer: MessagePack `str` with any bytes.
#[derive(Debug)]
struct Packed(Vec<u8>);

impl Packed {
    fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.0).map_err(|e| e.to_string())
    }

    fn number<T: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<T, String> {
        self.text()?.parse().map_err(|e: T::Err| e.to_string())
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Packed;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string of bytes")
            }
            fn visit_str<E>(self, text: &str) -> Result<Packed, E> {
                Ok(Packed(text.as_bytes().to_vec()))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Packed, E> {
                Ok(Packed(bytes.to_vec()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Packed, E> {
                Ok(Packed(number.to_string().into_bytes()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Packed, E> {
                Ok(Packed(number.to_string().into_bytes()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Packed, E> {
                Ok(Packed(number.to_string().into_bytes()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
