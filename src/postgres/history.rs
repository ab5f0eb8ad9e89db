//! What the API reads from PostgreSQL: orders and transactions. It may lag by the writer's lag.

use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::DatabaseError;
use crate::engine::event::Event;
use crate::engine::ids::EntityId;
use crate::engine::op::ShippingAddress;
use crate::engine::user::UserId;

/// An order as PostgreSQL has it. Amounts in minor units.
#[derive(Clone, Debug)]
pub struct StoredOrder {
    /// Its id.
    pub id: EntityId,
    /// `CONFIRMED`.
    pub status: String,
    /// Sum of price × quantity.
    pub total: i64,
    /// Sum of the discounts.
    pub discount: i64,
    /// What was paid.
    pub final_amount: i64,
    /// `BALANCE`.
    pub method: String,
    /// Where it goes.
    pub address: Option<ShippingAddress>,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// Its lines.
    pub items: Vec<StoredLine>,
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
    /// `CHARGE` or `PAYMENT`.
    pub kind: String,
    /// Never negative.
    pub amount: i64,
    /// The balance afterwards.
    pub balance_after: i64,
    /// The order that was paid.
    pub order: Option<EntityId>,
    /// When it was decided.
    pub created_at: Timestamp,
}

const ORDER_COLUMNS: &str = "o.order_id, o.status, o.total_amount, o.discount_amount, o.final_amount, \
     o.payment_method, o.shipping_address, o.created_at, o.paid_at, \
     (SELECT jsonb_agg(to_jsonb(i) ORDER BY i.line) FROM order_items i WHERE i.order_id = o.order_id) AS items";

/// The user's order with this id; `None` when there is none, or when it is somebody else's.
pub async fn order(pool: &Pool, user: &UserId, id: EntityId) -> Result<Option<StoredOrder>, DatabaseError> {
    let client = pool.get().await?;
    let sql = format!("SELECT {ORDER_COLUMNS} FROM orders o WHERE o.order_id = $1 AND o.user_id = $2");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&id.as_i64(), &user.as_str()]).await?;
    row.as_ref().map(order_from).transpose()
}

/// The user's orders below `before`, newest first, at most `limit`, of one status or of all.
pub async fn orders(
    pool: &Pool,
    user: &UserId,
    status: Option<&str>,
    before: Option<EntityId>,
    limit: u32,
) -> Result<Vec<StoredOrder>, DatabaseError> {
    let client = pool.get().await?;
    let sql = format!(
        "SELECT {ORDER_COLUMNS} FROM orders o WHERE o.user_id = $1 AND o.order_id < $2 \
         AND ($3::text IS NULL OR o.status = $3) ORDER BY o.order_id DESC LIMIT $4"
    );
    let statement = client.prepare_cached(&sql).await?;
    let before = before.map_or(i64::MAX, EntityId::as_i64);
    let rows = client.query(&statement, &[&user.as_str(), &before, &status, &i64::from(limit)]).await?;
    rows.iter().map(order_from).collect()
}

/// The event that started `id`, if it is parked.
pub async fn parked_event(pool: &Pool, id: EntityId) -> Result<Option<Event>, DatabaseError> {
    let client = pool.get().await?;
    let sql = "SELECT event FROM dead_events WHERE cell = $1 AND seq = $2 AND state = 'PARKED'";
    let statement = client.prepare_cached(sql).await?;
    let seq = i64::try_from(id.seq()).expect("sequence numbers stay below 2^44");
    let row = client.query_opt(&statement, &[&id.cell().as_i16(), &seq]).await?;
    row.map(|row| Event::decode(row.get(0)).map_err(|e| DatabaseError(e.to_string()))).transpose()
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

fn id_from(id: i64) -> Result<EntityId, DatabaseError> {
    EntityId::from_i64(id).ok_or_else(|| DatabaseError(format!("{id} is no id")))
}

fn order_from(row: &Row) -> Result<StoredOrder, DatabaseError> {
    let unreadable = |e: serde_json::Error| DatabaseError(e.to_string());
    let items: Option<serde_json::Value> = row.get("items");
    let address: Option<serde_json::Value> = row.get("shipping_address");
    Ok(StoredOrder {
        id: id_from(row.get("order_id"))?,
        status: row.get("status"),
        total: row.get("total_amount"),
        discount: row.get("discount_amount"),
        final_amount: row.get("final_amount"),
        method: row.get("payment_method"),
        address: address.map(serde_json::from_value).transpose().map_err(unreadable)?,
        created_at: row.get("created_at"),
        paid_at: row.get("paid_at"),
        items: items.map(serde_json::from_value).transpose().map_err(unreadable)?.unwrap_or_default(),
    })
}
