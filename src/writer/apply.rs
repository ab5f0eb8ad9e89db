//! One commit: the cursor, the raw entries and their rows, over one connection in one transaction.

use futures::future::try_join_all;
use tokio_postgres::{Client, Statement, Transaction};

use super::log_reader::{LogBatch, LoggedEvent};
use super::rows::{Parameter, Rows};
use super::{Position, WriterError, parked};
use crate::engine::event::Event;
use crate::engine::ids::{CellId, EntityId};

/// Declares the statements by the names of their files in `sql/writer/`.
macro_rules! statements {
    ($($name:ident),+ $(,)?) => {
        /// The statements of a connection, prepared once: one plan for any number of rows.
        pub(super) struct Statements { $($name: Statement,)+ }

        impl Statements {
            pub(super) async fn prepare(client: &Client) -> Result<Self, WriterError> {
                Ok(Self {
                    $($name: client
                        .prepare(include_str!(concat!("../../sql/writer/", stringify!($name), ".sql")))
                        .await?,)+
                })
            }
        }
    };
}

statements! {
    cursor, event_log, orders, order_items, balance_transactions, orders_changed, later_payments, order_items_changed,
    charges, stock_movements, products, restock_notifications, restock_due, stock, product_sales, coupons, coupon_stock,
    user_coupons, carts,
}

/// Where PostgreSQL is; the cursor's row is made when there is none.
pub(super) async fn load_position(client: &Client, cell: CellId) -> Result<Position, WriterError> {
    client
        .execute(
            "INSERT INTO writer_cursor (cell, seq, nonce) VALUES ($1, 0, '') ON CONFLICT (cell) DO NOTHING",
            &[&cell.as_i16()],
        )
        .await?;
    let row = client.query_one("SELECT seq, nonce FROM writer_cursor WHERE cell = $1", &[&cell.as_i16()]).await?;
    Ok(Position { seq: u64::try_from(row.get::<_, i64>(0)).unwrap_or_default(), nonce: row.get(1) })
}

/// Commits a batch that follows `position`. Returns how many of its events were parked.
pub(super) async fn commit(
    client: &mut Client,
    statements: &Statements,
    cell: CellId,
    position: &Position,
    batch: &LogBatch,
) -> Result<u64, WriterError> {
    match commit_together(client, statements, cell, position, batch).await {
        Err(CommitError::Data(why)) => {
            tracing::error!(%cell, why, "PostgreSQL does not take a batch; applying it event by event");
            commit_one_by_one(client, statements, cell, position, batch).await
        }
        Err(CommitError::Writer(error)) => Err(error),
        Ok(parked) => Ok(parked),
    }
}

/// How a commit failed: through its own data, which trying again would not change, or otherwise.
pub(super) enum CommitError {
    Data(String),
    Writer(WriterError),
}

impl From<tokio_postgres::Error> for CommitError {
    fn from(error: tokio_postgres::Error) -> Self {
        // SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation).
        let code = error.code().map_or("", |code| code.code());
        if code.starts_with("22") || code.starts_with("23") {
            Self::Data(crate::postgres::describe(&error))
        } else {
            Self::Writer(error.into())
        }
    }
}

async fn commit_together(
    client: &mut Client,
    statements: &Statements,
    cell: CellId,
    position: &Position,
    batch: &LogBatch,
) -> Result<u64, CommitError> {
    let mut rows = Rows::default();
    let mut unfit = Vec::new();
    for logged in &batch.events {
        if let Err(reason) = add(&mut rows, cell, logged) {
            unfit.push((logged, reason));
        }
    }
    let transaction = client.transaction().await?;
    move_cursor(&transaction, statements, cell, position, batch).await?;
    insert_rows(&transaction, statements, cell, &rows).await?;
    for (logged, reason) in &unfit {
        parked::park(&transaction, cell, logged, reason).await?;
    }
    transaction.commit().await?;
    Ok(unfit.len() as u64)
}

/// The slow way, when something in the batch is not to PostgreSQL's taste: every event under a savepoint of its own.
async fn commit_one_by_one(
    client: &mut Client,
    statements: &Statements,
    cell: CellId,
    position: &Position,
    batch: &LogBatch,
) -> Result<u64, WriterError> {
    let mut transaction = client.transaction().await?;
    match move_cursor(&transaction, statements, cell, position, batch).await {
        Ok(()) => {}
        Err(CommitError::Data(why)) => return Err(WriterError::Stopped(format!("an entry cannot be kept: {why}"))),
        Err(CommitError::Writer(error)) => return Err(error),
    }
    let mut parked = 0;
    for logged in &batch.events {
        if let Err(reason) = apply_one(&mut transaction, statements, cell, logged).await? {
            parked::park(&transaction, cell, logged, &reason).await?;
            parked += 1;
        }
    }
    transaction.commit().await?;
    Ok(parked)
}

/// Applies one event under a savepoint; the inner error says why its data cannot be taken.
pub(super) async fn apply_one(
    transaction: &mut Transaction<'_>,
    statements: &Statements,
    cell: CellId,
    logged: &LoggedEvent,
) -> Result<Result<(), String>, WriterError> {
    let mut rows = Rows::of_one(overtaken(transaction, cell, logged).await?);
    if let Err(reason) = add(&mut rows, cell, logged) {
        return Ok(Err(reason));
    }
    let savepoint = transaction.savepoint("event").await?;
    match insert_rows(&savepoint, statements, cell, &rows).await {
        Ok(()) => {
            savepoint.commit().await?;
            Ok(Ok(()))
        }
        Err(CommitError::Data(reason)) => {
            savepoint.rollback().await?;
            Ok(Err(reason))
        }
        Err(CommitError::Writer(error)) => Err(error),
    }
}

/// Whether a later event has made the rows of an order already, because its first one was parked.
async fn overtaken(
    transaction: &Transaction<'_>,
    cell: CellId,
    logged: &LoggedEvent,
) -> Result<bool, tokio_postgres::Error> {
    let Ok(Event::OrderConfirmed(order)) = &logged.event else {
        return Ok(false);
    };
    let id = EntityId::new(cell, logged.seq).as_i64();
    let sql = "SELECT FROM orders WHERE order_id = $1 AND seq > $2 AND user_id = $3";
    let seq = i64::try_from(logged.seq).expect("sequence numbers stay below 2^44");
    Ok(transaction.query_opt(sql, &[&id, &seq, &order.user.as_str()]).await?.is_some())
}

fn add<'a>(rows: &mut Rows<'a>, cell: CellId, logged: &'a LoggedEvent) -> Result<(), String> {
    let event = logged.event.as_ref().map_err(ToString::to_string)?;
    if event.seq() != logged.seq {
        return Err(format!("the event says it is number {}", event.seq()));
    }
    rows.add(cell, event).map_err(|unfit| unfit.0)
}

/// Moves the cursor and keeps the raw entries. Exactly one row moves, or this is not the writer any more.
async fn move_cursor(
    transaction: &Transaction<'_>,
    statements: &Statements,
    cell: CellId,
    position: &Position,
    batch: &LogBatch,
) -> Result<(), CommitError> {
    let seq = |seq: u64| i64::try_from(seq).expect("sequence numbers stay below 2^44");
    let (from, to) = (seq(position.seq), seq(batch.end.seq));
    let cell = cell.as_i16();
    let first: Vec<i64> = batch.entries.iter().map(|e| seq(e.seq)).collect();
    let last: Vec<i64> = batch.entries.iter().map(|e| seq(e.last_seq)).collect();
    let nonces: Vec<&str> = batch.entries.iter().map(|e| e.nonce.as_str()).collect();
    let events: Vec<&[u8]> = batch.entries.iter().map(|e| e.events.as_ref()).collect();
    let cursor: [Parameter<'_>; 5] = [&cell, &from, &position.nonce, &to, &batch.end.nonce];
    let log: [Parameter<'_>; 5] = [&cell, &first, &last, &nonces, &events];
    let moved = transaction.execute(&statements.cursor, &cursor);
    let kept = transaction.execute(&statements.event_log, &log);
    // Polled together they are pipelined: one round trip.
    let (moved, kept) = futures::future::join(moved, kept).await;
    if moved? != 1 {
        return Err(CommitError::Writer(WriterError::Retry("another writer moved the cursor".to_owned())));
    }
    kept?;
    Ok(())
}

/// Inserts and updates the rows of events, all statements in one round trip.
async fn insert_rows(
    transaction: &Transaction<'_>,
    statements: &Statements,
    cell: CellId,
    rows: &Rows<'_>,
) -> Result<(), CommitError> {
    let cell = cell.as_i16();
    let (orders, payments, items) = (rows.changed_orders(), rows.later_payments(), rows.changed_items());
    let (charges, products, stock, sales) = (rows.charges(), rows.products(), rows.stock(), rows.sales());
    let (coupons, coupon_stock, user_coupons) = (rows.coupons(), rows.coupon_stock(), rows.user_coupons());
    let (carts, restock) = (rows.carts(), rows.restock());
    let first: [Parameter<'_>; 1] = [&cell];
    // They run in this order: an order before its changes; requests before the restock that they waited for, and before the
    // stock, which tells a late one that its round is over.
    let all = [
        (&statements.orders, rows.orders.parameters(&first)),
        (&statements.order_items, rows.items.parameters(&[])),
        (&statements.balance_transactions, rows.transactions.parameters(&first)),
        (&statements.orders_changed, orders.parameters(&first)),
        (&statements.later_payments, payments.parameters(&first)),
        (&statements.order_items_changed, items.parameters(&[])),
        (&statements.charges, charges.parameters(&first)),
        (&statements.stock_movements, rows.movements.parameters(&first)),
        (&statements.products, products.parameters(&first)),
        (&statements.restock_notifications, restock.parameters(&first)),
        (&statements.restock_due, rows.restock_due.parameters(&first)),
        (&statements.stock, stock.parameters(&first)),
        (&statements.product_sales, sales.parameters(&first)),
        (&statements.coupons, coupons.parameters(&first)),
        (&statements.coupon_stock, coupon_stock.parameters(&first)),
        (&statements.user_coupons, user_coupons.parameters(&first)),
        (&statements.carts, carts.parameters(&first)),
    ];
    let needed = all.iter().filter_map(|(statement, parameters)| Some((*statement, parameters.as_deref()?)));
    try_join_all(needed.map(|(statement, parameters)| transaction.execute(statement, parameters))).await?;
    Ok(())
}
