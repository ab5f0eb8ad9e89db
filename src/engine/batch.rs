//! A batch on the wire: what `lua/apply.lua` takes and answers.

use bytes::Bytes;
use fred::types::Value as Answer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::refusal::{Refusal, Refused};
use crate::redis::keys::SalesDay;

/// Business rules that the engine checks; they travel with the batch, so the engine has no configuration of its own. By
/// position: RULES in `lua/apply.lua` names them in this order.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rules {
    /// A charge is a multiple of this.
    pub charge_unit: u64,
    /// Largest single charge.
    pub charge_max: u64,
    /// Largest balance, pending charges counted.
    pub balance_max: u64,
    /// Charges of one user that the gateway has not answered.
    pub open_charges_max: u32,
    /// Unpaid orders of one user.
    pub open_orders_max: u32,
    /// Products in a cart.
    pub items_max: u32,
    /// Units of one product in a cart.
    pub quantity_max: u32,
    /// How long a reserved order can be paid.
    pub reservation_ttl_ms: i64,
    /// How long a paid order can be cancelled.
    pub cancel_window_ms: i64,
    /// How long the gateway's answer may be open before somebody else asks.
    pub recovery_ms: i64,
    /// Stock at which a product is back.
    pub restock_threshold: u64,
    /// Events that may wait for PostgreSQL.
    pub backlog_max: u64,
}

impl Rules {
    /// The configured rules.
    pub fn new(config: &crate::config::Config) -> Self {
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            charge_unit: config.charge_unit,
            charge_max: config.charge_max,
            balance_max: config.balance_max,
            open_charges_max: config.open_charges_max,
            open_orders_max: config.max_open_orders,
            items_max: u32::try_from(config.order_items_max).unwrap_or(u32::MAX),
            quantity_max: config.order_quantity_max,
            reservation_ttl_ms: ms(config.reservation_ttl_ms),
            cancel_window_ms: ms(config.cancel_window_ms),
            recovery_ms: ms(config.gateway_recovery_ms),
            restock_threshold: config.restock_threshold,
            backlog_max: config.log_backlog_max,
        }
    }
}

/// What surrounds the ops of a batch.
#[derive(Debug)]
pub struct Header<'a> {
    /// The epoch that the sender believes in.
    pub epoch: u64,
    /// The highest sequence number that the sender was ever told; a Redis that has less has lost something.
    pub acknowledged: u64,
    /// The clock of Redis, in ms since 1970, after which this sending must not take effect any more.
    pub not_after: i64,
    /// Names this sending in the log.
    pub nonce: &'a str,
    /// Business rules.
    pub rules: Rules,
    /// First of the four UTC days whose idempotency keys are in KEYS.
    pub first_idem_day: i64,
    /// The four business days whose ranking keys are in KEYS.
    pub sales_days: &'a [SalesDay],
}

/// What changes once a day: packed apart and by position, so that the engine unpacks it once and not with every batch.
#[derive(Serialize)]
struct Settings<'a> {
    rules: Rules,
    first_idem_day: i64,
    sales_days: &'a [SalesDay],
}

/// Encodes a batch from calls that are encoded already: MessagePack values one after the other.
pub fn encode(header: &Header<'_>, calls: &[impl AsRef<[u8]>]) -> Vec<u8> {
    const IN_MEMORY: &str = "a Vec takes every write";
    let Header { epoch, acknowledged, not_after, nonce, rules, first_idem_day, sales_days } = *header;
    let settings = rmp_serde::to_vec(&Settings { rules, first_idem_day, sales_days }).expect("plain data");
    let mut out = Vec::with_capacity(1024 + calls.iter().map(|call| call.as_ref().len()).sum::<usize>());
    rmp::encode::write_uint(&mut out, epoch).expect(IN_MEMORY);
    rmp::encode::write_uint(&mut out, acknowledged).expect(IN_MEMORY);
    rmp::encode::write_sint(&mut out, not_after).expect(IN_MEMORY);
    rmp::encode::write_str(&mut out, nonce).expect(IN_MEMORY);
    // A string of any bytes: Lua's MessagePack knows no other kind.
    rmp::encode::write_str_len(&mut out, u32::try_from(settings.len()).expect("a few hundred bytes")).expect(IN_MEMORY);
    out.extend_from_slice(&settings);
    for call in calls {
        out.extend_from_slice(call.as_ref());
    }
    out
}

/// What one op got.
#[derive(Clone, Debug, PartialEq)]
pub enum OpResult {
    /// Its event, packed; `replayed` when the key had been used before for the same request.
    Done {
        /// As `event.rs` reads it.
        event: Bytes,
        /// From the idempotency record.
        replayed: bool,
    },
    /// Nothing changed.
    Refused(Refusal),
    /// The answer holds a refusal that this version does not know.
    Unknown(String),
}

/// The answer to a batch.
#[derive(Debug)]
pub enum BatchReply {
    /// The gate was closed: nothing happened, and this is why.
    Closed(ClosedReason),
    /// One result per op.
    Open {
        /// The clock of Redis, ms since 1970.
        now_ms: i64,
        /// The last sequence number of the cell.
        seq: u64,
        /// In the order of the ops.
        results: Vec<OpResult>,
    },
}

/// Why the gate of a cell is closed; the constants of `lua/gate.lua` and `lua/apply.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedReason {
    /// This Redis knows nothing of the cell.
    Empty,
    /// Somebody fenced the cell.
    Fenced,
    /// The server process is not the one that the epoch was opened on.
    Restarted,
    /// The sender's epoch is not the cell's.
    Epoch,
    /// The sender's clock and that of Redis are more than a day apart.
    Clock,
    /// Redis has less than the sender was told.
    Behind,
    /// The sending arrived when its time was over; the cell itself is not closed.
    Late,
}

impl ClosedReason {
    fn from_status(status: &str) -> Option<Self> {
        Some(match status {
            "EMPTY" => Self::Empty,
            "FENCED" => Self::Fenced,
            "RESTARTED" => Self::Restarted,
            "EPOCH" => Self::Epoch,
            "CLOCK" => Self::Clock,
            "BEHIND" => Self::Behind,
            "LATE" => Self::Late,
            _ => return None,
        })
    }
}

/// An answer that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("unreadable answer of Redis: {0}")]
pub struct ReplyError(pub String);

fn unreadable(error: &impl std::fmt::Display) -> ReplyError {
    ReplyError(error.to_string())
}

/// An answer that was let in: the clock of Redis in ms since 1970, the last sequence number, and the packed value.
pub type OpenReply<'a> = (i64, u64, &'a [u8]);

/// Splits an answer `[status, now_ms, seq, value]`, which all functions of the library but `apply` share, and leaves `value` packed.
pub fn split_reply(reply: &[u8]) -> Result<Result<OpenReply<'_>, ClosedReason>, ReplyError> {
    let mut rest = reply;
    let members = rmp::decode::read_array_len(&mut rest).map_err(|e| unreadable(&e))?;
    if members != 4 {
        return Err(ReplyError(format!("{members} members instead of 4")));
    }
    let (status, mut rest) = rmp::decode::read_str_from_slice(rest).map_err(|e| unreadable(&e))?;
    if status != "OPEN" {
        let reason = ClosedReason::from_status(status);
        return reason.map(Err).ok_or_else(|| ReplyError(format!("unknown status {status}")));
    }
    let now_ms = rmp::decode::read_int(&mut rest).map_err(|e| unreadable(&e))?;
    let seq = rmp::decode::read_int(&mut rest).map_err(|e| unreadable(&e))?;
    Ok(Ok((now_ms, seq, rest)))
}

/// Decodes the answer to a batch of `ops` ops: status, the clock, seq, and kind and payload of each op.
pub fn decode(reply: Vec<Answer>, ops: usize) -> Result<BatchReply, ReplyError> {
    let members = reply.len();
    let mut reply = reply.into_iter();
    let mut next = |what: &str| reply.next().ok_or_else(|| ReplyError(format!("no {what}")));
    let status = next("status")?;
    let status = status.as_str().ok_or_else(|| ReplyError("a status that is no text".to_owned()))?;
    if status != "OPEN" {
        let reason = ClosedReason::from_status(&status);
        return reason.map(BatchReply::Closed).ok_or_else(|| ReplyError(format!("unknown status {status}")));
    }
    let number = |value: &Answer| value.as_i64().ok_or_else(|| ReplyError(format!("{value:?} is no number")));
    let now_ms = number(&next("clock")?)?;
    let seq = u64::try_from(number(&next("seq")?)?).map_err(|e| unreadable(&e))?;
    if members != 3 + 2 * ops {
        return Err(ReplyError(format!("{members} members for {ops} ops")));
    }
    let mut results = Vec::with_capacity(ops);
    for _ in 0..ops {
        let kind = number(&next("kind")?)?;
        let payload =
            next("payload")?.into_bytes().ok_or_else(|| ReplyError("a payload that is no string".to_owned()))?;
        results.push(match kind {
            0 | 1 => OpResult::Done { event: payload, replayed: kind == 1 },
            2 => decode_refusal(&payload)?,
            _ => return Err(ReplyError(format!("unknown kind {kind}"))),
        });
    }
    Ok(BatchReply::Open { now_ms, seq, results })
}

fn decode_refusal(payload: &[u8]) -> Result<OpResult, ReplyError> {
    #[derive(Deserialize)]
    struct Packed {
        code: String,
        details: Value,
    }
    let packed: Packed = rmp_serde::from_slice(payload).map_err(|e| unreadable(&e))?;
    // Lua packs an empty table as an array: no details.
    let details = match packed.details {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    Ok(match Refused::from_code(&packed.code) {
        Some(code) => OpResult::Refused(Refusal { code, details }),
        None => OpResult::Unknown(packed.code),
    })
}
