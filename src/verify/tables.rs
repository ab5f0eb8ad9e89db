//! What PostgreSQL must be in itself: orders, their payments and the ledger, a page at a time, and no parked events.

use serde_json::json;

use super::books::{Books, PAGE_ROWS};
use super::findings::Findings;
use super::report::Kind;
use crate::postgres::DatabaseError;

/// Parked events whose numbers a report has.
const PARKED_LISTED: i64 = 100;

/// Where a page of orders behind $1 ends, how many it has, and how many of them are their own payment (as the view `payments`
/// says it); $2: the last one of all.
const ORDERS_PAGE: &str = "SELECT max(order_id), count(*), \
     count(*) FILTER (WHERE status = 'CONFIRMED' AND seq = (order_id & ((1::int8 << 44) - 1))) FROM \
     (SELECT order_id, status, seq FROM orders WHERE order_id > $1 AND order_id <= $2 ORDER BY order_id LIMIT $3) p";

/// Orders behind $1 and up to $2 with what is wrong with them; $3 lies below all of the cell's ids. Payment and
/// transaction of an order that was paid at once have the order's id. Joined order by order, whatever the planner knows:
/// a page must not cost a walk through a table.
const ORDERS: &str = "\
SELECT * FROM (
    SELECT o.order_id, o.total_amount, o.discount_amount, o.final_amount, o.status,
        p.payment_id, p.amount AS payment_amount, p.status AS payment_status,
        array_remove(ARRAY[
            CASE WHEN o.final_amount <> o.total_amount - o.discount_amount THEN 'final is not total - discount' END,
            CASE WHEN l.total IS DISTINCT FROM o.total_amount THEN format('the lines make a total of %s', l.total) END,
            CASE WHEN l.discount > o.discount_amount THEN format('the lines make a discount of %s', l.discount) END
        ], NULL) AS order_faults,
        array_remove(ARRAY[
            CASE WHEN w.status IS NOT NULL AND p.payment_id IS NULL THEN 'it has no payment' END,
            CASE WHEN w.status IS NULL AND p.payment_id IS NOT NULL THEN 'nobody has paid it' END,
            CASE WHEN w.status <> p.status THEN format('the payment must be %s', w.status) END,
            CASE WHEN p.order_id <> o.order_id THEN format('the payment is of order %s', p.order_id) END,
            CASE WHEN p.amount <> o.final_amount THEN 'the amounts differ' END,
            CASE WHEN w.in_ledger AND t.amount IS DISTINCT FROM o.final_amount
                THEN format('the ledger has %s as its payment', coalesce(t.amount::text, 'nothing')) END,
            CASE WHEN w.in_ledger AND o.status = 'REFUNDED' AND r.amount IS DISTINCT FROM o.final_amount
                THEN format('the ledger has %s as its refund', coalesce(r.amount::text, 'nothing')) END
        ], NULL) AS payment_faults
    FROM orders o
    CROSS JOIN LATERAL (
        SELECT CASE o.status WHEN 'HELD' THEN 'PENDING' WHEN 'CONFIRMED' THEN 'COMPLETED'
                WHEN 'PAYMENT_FAILED' THEN 'FAILED'
                WHEN 'REFUNDED' THEN CASE o.refund WHEN 'PENDING' THEN 'REFUND_PENDING' ELSE 'REFUNDED' END
            END AS status,
            o.payment_method = 'BALANCE' AND o.status IN ('CONFIRMED', 'REFUNDED') AS in_ledger,
            CASE WHEN o.expires_at IS NULL THEN o.order_id ELSE $3::int8 + o.confirmed_seq END AS transaction_id
    ) w
    CROSS JOIN LATERAL (
        SELECT sum(unit_price * quantity) AS total, sum(discount_amount) AS discount
        FROM order_items i WHERE i.order_id = o.order_id
    ) l
    LEFT JOIN LATERAL (
        SELECT * FROM payments WHERE payment_id = coalesce(o.payment_id, o.order_id) OFFSET 0
    ) p ON true
    LEFT JOIN LATERAL (
        SELECT amount FROM balance_transactions
        WHERE user_id = o.user_id AND transaction_id = w.transaction_id AND type = 'PAYMENT' OFFSET 0
    ) t ON true
    LEFT JOIN LATERAL (
        SELECT amount FROM balance_transactions
        WHERE user_id = o.user_id AND transaction_id = $3::int8 + o.released_seq AND type = 'REFUND' OFFSET 0
    ) r ON true
    WHERE o.order_id > $1 AND o.order_id <= $2
) checked WHERE cardinality(order_faults) + cardinality(payment_faults) > 0";

/// As for orders: the payments that are not their order itself.
const PAYMENTS_PAGE: &str = "SELECT max(payment_id), count(*) FROM \
     (SELECT payment_id FROM later_payments WHERE payment_id > $1 AND payment_id <= $2 ORDER BY payment_id LIMIT $3) p";

/// Payments behind $1 and up to $2 that are not the one payment of their order.
const PAYMENTS: &str = "\
SELECT p.payment_id, p.order_id, p.amount, p.status FROM later_payments p LEFT JOIN orders o ON o.order_id = p.order_id
WHERE p.payment_id > $1 AND p.payment_id <= $2
    AND (o.order_id IS NULL OR coalesce(o.payment_id, o.order_id) <> p.payment_id)";

const PARKED: &str = "\
SELECT seq, reason, count(*) OVER () AS parked FROM dead_events
WHERE cell = $1 AND state = 'PARKED' ORDER BY seq LIMIT $2";

/// The next page of orders behind `after`, up to `last`. Returns where it ends; `None`: there was nothing left.
pub(super) async fn compare_orders(
    books: &Books<'_>,
    (after, last): (i64, i64),
    findings: &mut Findings,
) -> Result<Option<i64>, DatabaseError> {
    let limit = i64::try_from(PAGE_ROWS).expect("a page is short");
    let page = books.row(ORDERS_PAGE, &[&after, &last, &limit]).await?;
    let Some(end) = page.get::<_, Option<i64>>(0) else { return Ok(None) };
    findings.checked.orders += u64::try_from(page.get::<_, i64>(1)).unwrap_or_default();
    findings.checked.payments += u64::try_from(page.get::<_, i64>(2)).unwrap_or_default();
    for row in books.rows(ORDERS, &[&after, &end, &books.base()]).await? {
        let number = |name: &str| row.get::<_, Option<i64>>(name);
        let id = row.get::<_, i64>("order_id").to_string();
        let order_faults: Vec<String> = row.get("order_faults");
        if !order_faults.is_empty() {
            let order = json!({"total": number("total_amount"), "discount": number("discount_amount"),
                "final": number("final_amount")});
            findings.add(Kind::Order, id.as_str(), (None, Some(order)), order_faults.join("; "));
        }
        let payment_faults: Vec<String> = row.get("payment_faults");
        if !payment_faults.is_empty() {
            let status: String = row.get("status");
            let detail = format!(
                "the order is {status} over {}: {}",
                number("final_amount").unwrap_or_default(),
                payment_faults.join("; ")
            );
            let payment = number("payment_id").map(|id| {
                let status: Option<String> = row.get("payment_status");
                json!({"payment": id.to_string(), "amount": number("payment_amount"), "status": status})
            });
            findings.add(Kind::Payment, id, (None, payment), detail);
        }
    }
    Ok(Some(end))
}

/// As [`compare_orders`], for the other payments: those that no order has as its own.
pub(super) async fn compare_payments(
    books: &Books<'_>,
    (after, last): (i64, i64),
    findings: &mut Findings,
) -> Result<Option<i64>, DatabaseError> {
    let limit = i64::try_from(PAGE_ROWS).expect("a page is short");
    let page = books.row(PAYMENTS_PAGE, &[&after, &last, &limit]).await?;
    let Some(end) = page.get::<_, Option<i64>>(0) else { return Ok(None) };
    findings.checked.payments += u64::try_from(page.get::<_, i64>(1)).unwrap_or_default();
    for row in books.rows(PAYMENTS, &[&after, &end]).await? {
        let (payment, order, amount): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let stored = json!({"payment": payment.to_string(), "amount": amount, "status": row.get::<_, String>(3)});
        let detail = format!("payment {payment} says that it is of this order, which does not have it");
        findings.add(Kind::Payment, order.to_string(), (None, Some(stored)), detail);
    }
    Ok(Some(end))
}

/// Events that are parked.
pub(super) async fn compare_parked(books: &Books<'_>, findings: &mut Findings) -> Result<(), DatabaseError> {
    let rows = books.rows(PARKED, &[&books.cell_number, &PARKED_LISTED]).await?;
    let Some(first) = rows.first() else { return Ok(()) };
    let seqs: Vec<i64> = rows.iter().map(|row| row.get("seq")).collect();
    let (count, reason): (i64, &str) = (first.get("parked"), first.get("reason"));
    let id = seqs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let detail = format!("events that PostgreSQL could not take, the first of them because: {reason}");
    let parked = json!({"count": count, "seqs": seqs});
    findings.add(Kind::ParkedEvents, id, (None, Some(parked)), detail);
    Ok(())
}
