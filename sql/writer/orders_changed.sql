-- Orders as their last event in a batch left them: those that are or were not paid at once, that used coupons, or that
-- ended. The last state wins; what an order gets once and keeps is taken from whichever event comes, because one that was
-- parked comes late.
INSERT INTO orders AS o (cell, order_id, user_id, status, total_amount, discount_amount, final_amount, payment_method,
    shipping_address, business_day, coupon_ids, expires_at, payment_id, refund, confirmed_seq, released_seq, seq, paid_at,
    created_at,
    updated_at)
SELECT $1::int2, n.*
FROM unnest($2::int8[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::int8[], $8::text[], $9::jsonb[], $10::date[],
    $11::jsonb[], $12::timestamptz[], $13::int8[], $14::text[], $15::int8[], $16::int8[], $17::int8[], $18::timestamptz[],
    $19::timestamptz[], $20::timestamptz[])
    AS n (order_id, user_id, status, total, discount, final, method, address, day, coupon_ids, expires, payment_id, refund,
        confirmed_seq, released_seq, seq, paid_at, created, at)
ON CONFLICT (order_id) DO UPDATE SET
    -- Another user's row is none of this order's: NULL is refused, and the event is parked.
    user_id = CASE WHEN o.user_id = excluded.user_id THEN o.user_id END,
    status = CASE WHEN o.seq < excluded.seq THEN excluded.status ELSE o.status END,
    refund = CASE WHEN o.seq < excluded.seq THEN excluded.refund ELSE o.refund END,
    payment_method = coalesce(o.payment_method, excluded.payment_method),
    payment_id = coalesce(o.payment_id, excluded.payment_id),
    business_day = coalesce(o.business_day, excluded.business_day), paid_at = coalesce(o.paid_at, excluded.paid_at),
    confirmed_seq = coalesce(o.confirmed_seq, excluded.confirmed_seq),
    released_seq = coalesce(o.released_seq, excluded.released_seq), seq = greatest(o.seq, excluded.seq),
    updated_at = greatest(o.updated_at, excluded.updated_at)
