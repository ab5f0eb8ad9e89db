//! Reads behind the gate: what a restarted or emptied Redis says is not an answer.

use fred::types::Value;
use serde::Deserialize;

use super::batch::split_reply;
use super::cell::{CellShared, GateState};
use super::event::{Event, EventError, split};
use super::ids::EntityId;
use super::op::{ProductId, ProductStatus};
use super::user::UserId;

/// A read without an answer (503); the text is for operators.
#[derive(Debug, thiserror::Error)]
#[error("cannot read: {0}")]
pub struct ReadError(pub String);

/// A user's money, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Available.
    pub balance: u64,
    /// Spent so far.
    pub used: u64,
}

/// A product as the column `catalog` has it. Times in ms since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CatalogProduct {
    /// Display name.
    pub name: String,
    /// Minor units.
    pub price: u64,
    /// Units that one user may buy.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Start of the sale window.
    #[serde(default)]
    pub starts: Option<i64>,
    /// End of the sale window.
    #[serde(default)]
    pub ends: Option<i64>,
    /// Whether it can be sold.
    pub status: ProductStatus,
}

/// What `read_products` found.
#[derive(Debug)]
pub struct ProductsRead {
    /// The clock of Redis, ms since 1970.
    pub now_ms: i64,
    /// Version of the catalogue.
    pub version: u64,
    /// All products, or `None` when the caller has this version.
    pub catalog: Option<Vec<(ProductId, CatalogProduct)>>,
    /// Available units of every product.
    pub stock: Vec<(ProductId, u64)>,
}

/// Calls a reading function and decodes its value.
async fn read<T>(
    cell: &CellShared,
    function: &str,
    keys: &[String],
    mut args: Vec<Value>,
    decode: impl FnOnce(i64, &[u8]) -> Result<T, String>,
) -> Result<T, ReadError> {
    let epoch = match cell.gate() {
        GateState::Open(epoch) => epoch,
        GateState::Closed(why) => return Err(ReadError(why)),
    };
    let _slot = cell.reads.try_acquire().map_err(|_| ReadError("too many reads are under way".to_owned()))?;
    args.splice(0..0, [epoch.to_string().into(), cell.acknowledged().to_string().into()]);
    let reply = cell.redis.read(function, keys, args).await.map_err(|e| ReadError(e.to_string()))?;
    match split_reply(&reply).map_err(|e| ReadError(e.to_string()))? {
        Ok((now_ms, _, value)) => {
            cell.note_clock(now_ms);
            decode(now_ms, value).map_err(ReadError)
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

/// A user's account; zeros when it does not exist yet.
pub async fn account(cell: &CellShared, user: &UserId) -> Result<Account, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.accounts()];
    read(cell, "read_account", &keys, vec![user.as_str().into()], |_, value| unpack(value)).await
}

/// All products and their stock.
///
/// `known_version` is the catalogue's version that the caller has already.
pub async fn products(cell: &CellShared, known_version: Option<u64>) -> Result<ProductsRead, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.catalog(), cell.keys.stock()];
    let args = vec![known_version.map_or("-1".to_owned(), |version| version.to_string()).into()];
    read(cell, "read_products", &keys, args, |now_ms, value| {
        let (version, catalog, stock): (u64, Vec<Packed>, Vec<Packed>) = unpack(value)?;
        let number = |packed: &Packed| packed.text()?.parse::<u64>().map_err(|e| e.to_string());
        let id = |packed: &Packed| packed.text()?.parse::<ProductId>().map_err(|e| e.to_string());
        let catalog = (Some(version) != known_version).then(|| {
            let product = |pair: &[Packed]| Ok((id(&pair[0])?, unpack(&pair[1].0)?));
            catalog.chunks_exact(2).map(product).collect::<Result<_, String>>()
        });
        let stock = stock.chunks_exact(2).map(|pair| Ok((id(&pair[0])?, number(&pair[1])?)));
        Ok(ProductsRead {
            now_ms,
            version,
            catalog: catalog.transpose()?,
            stock: stock.collect::<Result<_, String>>()?,
        })
    })
    .await
}

/// Units sold per product, summed over the given business days.
pub async fn sales(cell: &CellShared, days: &[String]) -> Result<Vec<(ProductId, u64)>, ReadError> {
    let mut keys = vec![cell.keys.meta()];
    keys.extend(days.iter().map(|day| cell.keys.sales(day)));
    read(cell, "read_sales", &keys, Vec::new(), |_, value| {
        let flat: Vec<Packed> = unpack(value)?;
        let parse = |pair: &[Packed]| {
            let product = pair[0].text()?.parse().map_err(|_| "no product id".to_owned())?;
            let sold: f64 = pair[1].text()?.parse().map_err(|_| "no number".to_owned())?;
            // A score is an integer below 2^53; more refunded than sold cannot be, and would not be shown.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer, see above")]
            Ok((product, sold.max(0.0) as u64))
        };
        flat.chunks_exact(2).map(parse).collect()
    })
    .await
}

/// The event that started `id`, if the log still has it.
pub async fn event(cell: &CellShared, id: EntityId) -> Result<Option<Event>, ReadError> {
    let keys = [cell.keys.meta(), cell.keys.log()];
    read(cell, "read_log", &keys, vec![id.seq().to_string().into()], |_, value| {
        let entry: Packed = unpack(value)?;
        let parts = split(&entry.0).map_err(|e| e.to_string())?;
        // The entry that starts at or below the sequence number need not reach up to it: it may be trimmed or not exist.
        for part in parts {
            match Event::decode(part) {
                Ok(event) if event.seq() == id.seq() => return Ok(Some(event)),
                // It might be the one, written by a newer version of the service.
                Err(unknown @ EventError::Unknown { .. }) => return Err(unknown.to_string()),
                _ => {}
            }
        }
        Ok(None)
    })
    .await
}

/// A Lua string inside an answer: MessagePack `str` with any bytes.
#[derive(Debug)]
struct Packed(Vec<u8>);

impl Packed {
    fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.0).map_err(|e| e.to_string())
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
