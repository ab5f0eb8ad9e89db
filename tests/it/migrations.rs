//! Migrations of data that is there already.

use tokio_postgres::Client;

use crate::support::{connect, fresh_database};

const BEFORE_V4: [&str; 3] = [
    include_str!("../../sql/migrations/V1__initial.sql"),
    include_str!("../../sql/migrations/V2__sale.sql"),
    include_str!("../../sql/migrations/V3__forwarding.sql"),
];

const V4: &str = include_str!("../../sql/migrations/V4__fewer_rows_per_order.sql");

/// In every state that an order can be in, as the writer of V3 left it; id = seq of the first event.
const ORDERS_OF_V3: &str = "
INSERT INTO orders (order_id, user_id, status, total_amount, discount_amount, final_amount, payment_method, refund, payment_id,
    expires_at, cell, seq, created_at, updated_at) VALUES
    (1, 'ann', 'CONFIRMED', 10, 0, 10, 'BALANCE', NULL, NULL, NULL, 0, 1, '2026-01-01', '2026-01-01'),
    (2, 'ann', 'CONFIRMED', 20, 5, 15, 'BALANCE', NULL, NULL, NULL, 0, 2, '2026-01-02', '2026-01-02'),
    (3, 'ann', 'REFUNDED', 30, 0, 30, 'BALANCE', 'DONE', NULL, NULL, 0, 11, '2026-01-03', '2026-01-11'),
    (4, 'bob', 'PENDING_PAYMENT', 40, 0, 40, NULL, NULL, NULL, '2026-01-05', 0, 4, '2026-01-04', '2026-01-04'),
    (5, 'bob', 'CONFIRMED', 50, 0, 50, 'BALANCE', NULL, 12, '2026-01-06', 0, 12, '2026-01-05', '2026-01-12'),
    (6, 'bob', 'HELD', 60, 0, 60, 'CARD', NULL, 13, '2026-01-07', 0, 13, '2026-01-06', '2026-01-13'),
    (7, 'bob', 'PAYMENT_FAILED', 70, 0, 70, 'CARD', NULL, 14, '2026-01-08', 0, 15, '2026-01-07', '2026-01-15'),
    (8, 'ann', 'REFUNDED', 80, 0, 80, 'CARD', 'PENDING', 16, '2026-01-09', 0, 17, '2026-01-08', '2026-01-17'),
    (9, 'ann', 'EXPIRED', 90, 0, 90, NULL, NULL, NULL, '2026-01-10', 0, 18, '2026-01-09', '2026-01-18'),
    (17592186044417, 'cat', 'CONFIRMED', 10, 0, 10, 'BALANCE', NULL, NULL, NULL, 1, 1, '2026-01-01', '2026-01-01');
INSERT INTO payments (payment_id, order_id, user_id, method, amount, status, cell, seq, created_at, updated_at) VALUES
    (1, 1, 'ann', 'BALANCE', 10, 'COMPLETED', 0, 1, '2026-01-01', '2026-01-01'),
    (2, 2, 'ann', 'BALANCE', 15, 'COMPLETED', 0, 2, '2026-01-02', '2026-01-02'),
    (3, 3, 'ann', 'BALANCE', 30, 'REFUNDED', 0, 11, '2026-01-03', '2026-01-11'),
    (12, 5, 'bob', 'BALANCE', 50, 'COMPLETED', 0, 12, '2026-01-12', '2026-01-12'),
    (13, 6, 'bob', 'CARD', 60, 'PENDING', 0, 13, '2026-01-13', '2026-01-13'),
    (14, 7, 'bob', 'CARD', 70, 'FAILED', 0, 15, '2026-01-14', '2026-01-15'),
    (16, 8, 'ann', 'CARD', 80, 'REFUND_PENDING', 0, 17, '2026-01-16', '2026-01-17'),
    (17592186044417, 17592186044417, 'cat', 'BALANCE', 10, 'COMPLETED', 1, 1, '2026-01-01', '2026-01-01');
INSERT INTO balance_transactions (user_id, transaction_id, type, amount, balance_after, used_after, order_id, cell, seq,
    created_at, updated_at) VALUES
    ('ann', 1, 'PAYMENT', 10, 0, 10, 1, 0, 1, '2026-01-01', '2026-01-01'),
    ('ann', 2, 'PAYMENT', 15, 0, 25, 2, 0, 2, '2026-01-02', '2026-01-02'),
    ('ann', 3, 'PAYMENT', 30, 0, 55, 3, 0, 3, '2026-01-03', '2026-01-03'),
    ('ann', 10, 'CHARGE', 100, 100, 55, NULL, 0, 10, '2026-01-10', '2026-01-10'),
    ('ann', 11, 'REFUND', 30, 130, 25, 3, 0, 11, '2026-01-11', '2026-01-11'),
    ('bob', 12, 'PAYMENT', 50, 0, 50, 5, 0, 12, '2026-01-12', '2026-01-12'),
    ('cat', 17592186044417, 'PAYMENT', 10, 0, 10, 17592186044417, 1, 1, '2026-01-01', '2026-01-01')";

async fn texts(client: &Client, query: &str) -> Vec<String> {
    client.query(query, &[]).await.expect(query).iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn v4_keeps_every_payment_and_every_order_of_a_user() {
    let client = connect(&fresh_database().await).await;
    // The database has the schema of now; beside it there is room for an older one.
    client.batch_execute("CREATE SCHEMA older; SET search_path TO older").await.expect("a schema");
    for migration in BEFORE_V4 {
        client.batch_execute(migration).await.expect("the schema of V3");
    }
    client.batch_execute(ORDERS_OF_V3).await.expect("rows of V3");
    let payments = "SELECT p::text FROM payments p ORDER BY p.payment_id";
    let before = texts(&client, payments).await;
    assert_eq!(before.len(), 8);

    // As refinery does it: all of it or nothing.
    client.batch_execute(&format!("BEGIN; {V4} COMMIT")).await.expect("V4");
    assert_eq!(texts(&client, payments).await, before);
    let kept = texts(&client, "SELECT p.payment_id::text FROM later_payments p ORDER BY p.payment_id").await;
    assert_eq!(kept, ["3", "12", "13", "14", "16"], "what an order that was paid at once says itself is gone");
    let listed = "SELECT concat_ws(' ', user_id, cell, order_id) FROM user_orders ORDER BY user_id, order_id";
    let all = "SELECT concat_ws(' ', user_id, cell, order_id) FROM orders ORDER BY user_id, order_id";
    assert_eq!(texts(&client, listed).await, texts(&client, all).await);
}
