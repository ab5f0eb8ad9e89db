//! What is read from PostgreSQL about what happened: orders, their last events, transactions. It may lag by the writer's lag.

use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::DatabaseError;
use super::sync::{SYNC_COLUMNS, StoredSync, sync_from};
use crate::engine::event::{Event, split};
use crate::engine::ids::EntityId;
use crate::engine::op::{CouponId, ShippingAddress};
use crate::engine::user::UserId;

/// An order as PostgreSQL has it. Amounts in minor units.
#[derive(Clone, Debug)]
pub struct StoredOrder {
    /// Its id.
    pub id: EntityId,
    /// As [`OrderStatus`](crate::engine::event::OrderStatus) spells it.
    pub status: String,
    /// Sum of price × quantity.
    pub total: i64,
    /// Sum of the discounts.
    pub discount: i64,
    /// What is or was to be paid.
    pub final_amount: i64,
    /// `BALANCE` or `CARD`, once somebody has tried to pay it.
    pub method: Option<String>,
    /// Its payment, once somebody has tried to pay it.
    pub payment_id: Option<EntityId>,
    /// `PENDING` or `DONE`: of the money, once it is given up after it was paid.
    pub refund: Option<String>,
    /// Coupons that it uses or used.
    pub coupon_ids: Vec<CouponId>,
    /// Where it goes.
    pub address: Option<ShippingAddress>,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Until when it can or could be paid; `None`: it was paid at once.
    pub expires_at: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// Its lines.
    pub items: Vec<StoredLine>,
    /// Whether the data platform was told of it as it is here.
    pub sync: StoredSync,
}

/// A line of an order.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct StoredLine {
    /// Product.
    pub product_id: u32,
    /// Its name when it was ordered.
    pub product_name: String,
    /// Its price when it was ordered.
    pub unit_price: i64,
    /// Units.
    pub quantity: i64,
    /// Discount of this line.
    pub discount_amount: i64,
}

/// A transaction of a balance.
#[derive(Clone, Debug)]
pub struct StoredTransaction {
    /// Its id.
    pub id: EntityId,
    /// `CHARGE`, `PAYMENT` or `REFUND`.
    pub kind: String,
    /// Never negative.
    pub amount: i64,
    /// The balance afterwards.
    pub balance_after: i64,
    /// The order that was paid or refunded.
    pub order: Option<EntityId>,
    /// When it was decided.
    pub created_at: Timestamp,
}

/// Parked events of a cell that are looked through for an order's; more than that is a state in which alerts ring.
const PARKED_MAX: i64 = 1_000;

const ORDER_COLUMNS: &str = "o.order_id, o.status, o.total_amount, o.discount_amount, o.final_amount, \
     o.payment_method, o.refund, o.coupon_ids, o.shipping_address, o.created_at, o.expires_at, o.paid_at, \
     CASE WHEN o.payment_method IS NOT NULL THEN coalesce(o.payment_id, o.order_id) END AS payment_id, \
     (SELECT jsonb_agg(to_jsonb(i) ORDER BY i.line) FROM order_items i WHERE i.order_id = o.order_id) AS items";

/// The user's orders below `before`, newest first, at most `limit`, of one status or of all.
pub async fn orders(
    pool: &Pool,
    user: &UserId,
    status: Option<&str>,
    before: Option<EntityId>,
    limit: u32,
) -> Result<Vec<StoredOrder>, DatabaseError> {
    let client = pool.get().await?;
    // Who paid at once stands in the ledger under the order's id; reservations have an index. Each arm walks one backwards and
    // stops, which the view `user_orders` would not. The view of what was told is joined to what is listed, order by order: it looks
    // into three tables for each.
    let sql = format!(
        "SELECT l.*, {SYNC_COLUMNS} FROM (\
             SELECT {ORDER_COLUMNS} FROM (\
                 (SELECT t.transaction_id AS order_id FROM balance_transactions t CROSS JOIN LATERAL (\
                      SELECT FROM orders o WHERE o.order_id = t.transaction_id AND ($3::text IS NULL OR o.status = $3) OFFSET 0) o \
                  WHERE t.user_id = $1 AND t.transaction_id < $2 AND t.type = 'PAYMENT' \
                  AND ($3::text IS NULL OR $3 IN ('CONFIRMED', 'REFUNDED')) \
                  ORDER BY t.transaction_id DESC LIMIT $4) \
                 UNION ALL \
                 (SELECT order_id FROM orders WHERE user_id = $1 AND order_id < $2 AND expires_at IS NOT NULL \
                  AND ($3::text IS NULL OR status = $3) ORDER BY order_id DESC LIMIT $4)) u \
             JOIN orders o USING (order_id) ORDER BY order_id DESC LIMIT $4) l \
         JOIN order_sync s USING (order_id) ORDER BY l.order_id DESC"
    );
    let statement = client.prepare_cached(&sql).await?;
    let before = before.map_or(i64::MAX, EntityId::as_i64);
    let rows = client.query(&statement, &[&user.as_str(), &before, &status, &i64::from(limit)]).await?;
    rows.iter().map(order_from).collect()
}

/// How many orders are `HELD` or wait for a card's money to go back, and how many charges are pending, since before `before`.
pub async fn held_since(pool: &Pool, before: Timestamp) -> Result<i64, DatabaseError> {
    let client = pool.get().await?;
    let sql = "SELECT (SELECT count(*) FROM orders WHERE (status = 'HELD' OR refund = 'PENDING') AND updated_at < $1) \
               + (SELECT count(*) FROM charges WHERE status = 'PENDING' AND created_at < $1)";
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_one(&statement, &[&before]).await?.get(0))
}

/// How many orders wait for their payment, and how many are held.
pub async fn open_orders(pool: &Pool) -> Result<(i64, i64), DatabaseError> {
    let client = pool.get().await?;
    let sql = "SELECT count(*) FILTER (WHERE status = 'PENDING_PAYMENT'), count(*) FILTER (WHERE status = 'HELD') \
               FROM orders WHERE status IN ('PENDING_PAYMENT', 'HELD')";
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// The event that made the order `id` what it is now, parked or not; `None` when PostgreSQL has no event of it.
pub async fn last_event(pool: &Pool, id: EntityId) -> Result<Option<Event>, DatabaseError> {
    let (applied, parked) = (applied_event(pool, id).await?, parked_event(pool, id).await?);
    let seq = |event: &Option<Event>| event.as_ref().map(Event::seq);
    Ok(if seq(&parked) > seq(&applied) { parked } else { applied })
}

/// The event that made the order's row what it is, from `event_log`.
async fn applied_event(pool: &Pool, id: EntityId) -> Result<Option<Event>, DatabaseError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "SELECT o.seq - e.seq, e.events FROM orders o CROSS JOIN LATERAL (SELECT l.seq, l.events FROM event_log l \
             WHERE l.cell = o.cell AND l.seq <= o.seq ORDER BY l.seq DESC LIMIT 1) e WHERE o.order_id = $1",
        )
        .await?;
    let Some(row) = client.query_opt(&statement, &[&id.as_i64()]).await? else {
        return Ok(None);
    };
    let (place, events): (i64, &[u8]) = (row.get(0), row.get(1));
    let parts = split(events).map_err(unreadable)?;
    let part = usize::try_from(place).ok().and_then(|place| parts.get(place));
    let part = part.ok_or_else(|| DatabaseError(format!("event_log lacks the last event of order {id}")))?;
    Event::decode(part).map(Some).map_err(unreadable)
}

/// The last parked event of what `id` stands for, if any is: the one that started it, or a change of that order.
pub async fn parked_event(pool: &Pool, id: EntityId) -> Result<Option<Event>, DatabaseError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "SELECT seq, event FROM dead_events WHERE cell = $1 AND seq = $2 AND state = 'PARKED' UNION ALL \
             (SELECT seq, event FROM dead_events WHERE cell = $1 AND seq > $2 AND state = 'PARKED' \
              ORDER BY seq DESC LIMIT $3) ORDER BY seq DESC",
        )
        .await?;
    let first = i64::try_from(id.seq()).expect("sequence numbers stay below 2^44");
    for row in client.query(&statement, &[&id.cell().as_i16(), &first, &PARKED_MAX]).await? {
        match Event::decode(row.get(1)) {
            Ok(Event::OrderChanged(order)) if order.order == id.seq() => return Ok(Some(Event::OrderChanged(order))),
            event if row.get::<_, i64>(0) == first => return event.map(Some).map_err(unreadable),
            // Another's, or one that cannot be read.
            _ => {}
        }
    }
    Ok(None)
}

/// The user's transactions below `before`, newest first, at most `limit`.
pub async fn transactions(
    pool: &Pool,
    user: &UserId,
    before: Option<EntityId>,
    limit: u32,
) -> Result<Vec<StoredTransaction>, DatabaseError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "SELECT transaction_id, type, amount, balance_after, order_id, created_at FROM balance_transactions \
             WHERE user_id = $1 AND transaction_id < $2 ORDER BY transaction_id DESC LIMIT $3",
        )
        .await?;
    let before = before.map_or(i64::MAX, EntityId::as_i64);
    let rows = client.query(&statement, &[&user.as_str(), &before, &i64::from(limit)]).await?;
    let transaction = |row: &Row| {
        Ok(StoredTransaction {
            id: id_from(row.get(0))?,
            kind: row.get(1),
            amount: row.get(2),
            balance_after: row.get(3),
            order: row.get::<_, Option<i64>>(4).map(id_from).transpose()?,
            created_at: row.get(5),
        })
    };
    rows.iter().map(transaction).collect()
}

pub(super) fn id_from(id: i64) -> Result<EntityId, DatabaseError> {
    EntityId::from_i64(id).ok_or_else(|| DatabaseError(format!("{id} is no id")))
}

fn unreadable(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError(error.to_string())
}

fn order_from(row: &Row) -> Result<StoredOrder, DatabaseError> {
    let items: Option<serde_json::Value> = row.get("items");
    let address: Option<serde_json::Value> = row.get("shipping_address");
    let coupon_ids: Option<serde_json::Value> = row.get("coupon_ids");
    Ok(StoredOrder {
        id: id_from(row.get("order_id"))?,
        status: row.get("status"),
        total: row.get("total_amount"),
        discount: row.get("discount_amount"),
        final_amount: row.get("final_amount"),
        method: row.get("payment_method"),
        payment_id: row.get::<_, Option<i64>>("payment_id").map(id_from).transpose()?,
        refund: row.get("refund"),
        coupon_ids: coupon_ids.map(serde_json::from_value).transpose().map_err(unreadable)?.unwrap_or_default(),
        address: address.map(serde_json::from_value).transpose().map_err(unreadable)?,
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        paid_at: row.get("paid_at"),
        items: items.map(serde_json::from_value).transpose().map_err(unreadable)?.unwrap_or_default(),
        sync: sync_from(row),
    })
}
