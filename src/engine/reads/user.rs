//! What belongs to one user: money, coupons, the cart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ReadError, read, unpack};
use crate::engine::cell::CellShared;
use crate::engine::event::CartLine;
use crate::engine::op::{CouponId, OrderItem};
use crate::engine::refusal::{Refusal, Refused};
use crate::engine::user::UserId;

/// A user's money, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Available.
    pub balance: u64,
    /// Spent so far.
    pub used: u64,
    /// Unpaid orders.
    #[serde(default)]
    pub open: u32,
    /// Sum of the charges that the gateway has not answered.
    #[serde(default)]
    pub pending: u64,
    /// Number of those charges.
    #[serde(default)]
    pub charges: u32,
}

/// A coupon that a user holds. Times in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct HeldCoupon {
    /// Sequence number of the event that issued it; with the cell its id.
    pub id: u64,
    /// When it was issued.
    pub issued: i64,
    /// When it expires.
    pub expires: i64,
    /// The order that uses it: sequence number of its first event.
    #[serde(default)]
    pub order: Option<u64>,
}

/// What is asked about the price of an order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Quote {
    /// Coupons to use.
    pub coupons: Vec<CouponId>,
    /// What is ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<OrderItem>>,
    /// Or only how much it costs before discounts, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<u64>,
}

/// Total and discount of an order in minor units, or why it would be refused.
pub type QuoteAnswer = Result<(u64, u64), Refusal>;

/// A user's account; zeros when it does not exist yet.
pub async fn account(cell: &CellShared, user: &UserId) -> Result<Account, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.accounts()];
    read(cell, "read_account", &keys, vec![user.as_str().into()], |_, _, value| unpack(value)).await
}

/// The coupons that a user holds.
pub async fn wallet(cell: &CellShared, user: &UserId) -> Result<BTreeMap<CouponId, HeldCoupon>, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.wallets()];
    read(cell, "read_wallet", &keys, vec![user.as_str().into()], |_, _, value| {
        let held: LuaMap<HeldCoupon> = unpack(value)?;
        let number = |id: String| id.parse::<CouponId>().map_err(|e| e.to_string());
        held.0.into_iter().map(|(id, held)| Ok((number(id)?, held))).collect()
    })
    .await
}

/// A user's cart, with names and prices as they are now.
pub async fn cart(cell: &CellShared, user: &UserId) -> Result<Vec<CartLine>, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.carts(), cell.keys.catalog()];
    read(cell, "read_cart", &keys, vec![user.as_str().into()], |_, _, value| unpack(value)).await
}

/// What an order would cost, by the rules of an order.
pub async fn quote(cell: &CellShared, user: &UserId, asked: &Quote) -> Result<QuoteAnswer, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.catalog(), cell.keys.coupons(), cell.keys.wallets()];
    let packed = rmp_serde::to_vec_named(asked).expect("a question is plain data");
    let args = vec![user.as_str().into(), fred::types::Value::Bytes(packed.into())];
    read(cell, "read_quote", &keys, args, |_, _, value| {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            total: u64,
            #[serde(default)]
            discount: u64,
            #[serde(default)]
            code: Option<String>,
            #[serde(default)]
            details: Map<String, Value>,
        }
        let answer: Answer = unpack(value)?;
        match answer.code {
            None => Ok(Ok((answer.total, answer.discount))),
            Some(code) => match Refused::from_code(&code) {
                Some(code) => Ok(Err(Refusal { code, details: answer.details })),
                None => Err(format!("unknown refusal {code}")),
            },
        }
    })
    .await
}

/// A Lua table by text: an empty one is packed as an array.
struct LuaMap<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for LuaMap<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = LuaMap<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map, or an empty array")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<LuaMap<T>, A::Error> {
                BTreeMap::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(LuaMap)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<LuaMap<T>, A::Error> {
                match list.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(LuaMap(BTreeMap::new())),
                    Some(_) => Err(serde::de::Error::custom("a list is no map")),
                }
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}
