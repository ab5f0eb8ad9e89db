-- The payments of those orders: payment and order are one event, so one id.
INSERT INTO payments (cell, payment_id, order_id, user_id, method, amount, status, seq, created_at, updated_at)
SELECT $1::int2, p.order_id, p.order_id, p.user_id, p.method, p.amount, 'COMPLETED', p.seq, p.at, p.at
FROM unnest($2::int8[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::timestamptz[])
    AS p (order_id, user_id, method, amount, seq, at)
