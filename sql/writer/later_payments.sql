-- Payments of the orders in orders_changed that are not their own payment.
INSERT INTO later_payments AS p (cell, payment_id, order_id, user_id, method, amount, status, seq, created_at, updated_at)
SELECT $1::int2, n.*
FROM unnest($2::int8[], $3::int8[], $4::text[], $5::text[], $6::int8[], $7::text[], $8::int8[], $9::timestamptz[],
    $10::timestamptz[]) AS n (payment_id, order_id, user_id, method, amount, status, seq, created, at)
ON CONFLICT (payment_id) DO UPDATE SET
    -- Another order's row is none of this payment's: NULL is refused, and the event is parked.
    order_id = CASE WHEN p.order_id = excluded.order_id THEN p.order_id END,
    status = CASE WHEN p.seq < excluded.seq THEN excluded.status ELSE p.status END, seq = greatest(p.seq, excluded.seq),
    created_at = least(p.created_at, excluded.created_at), updated_at = greatest(p.updated_at, excluded.updated_at)
