-- Coupons that a batch issued, or that its orders used or gave back, one row per user and coupon. A use knows neither id nor
-- expiry: the issue brings them, also when it was parked and comes late.
INSERT INTO user_coupons AS c (cell, user_id, coupon_id, user_coupon_id, status, order_id, expires_at, seq, created_at,
    updated_at)
SELECT $1::int2, n.*
FROM unnest($2::text[], $3::int4[], $4::int8[], $5::text[], $6::int8[], $7::timestamptz[], $8::int8[], $9::timestamptz[],
    $10::timestamptz[]) AS n (user_id, coupon_id, user_coupon_id, status, order_id, expires, seq, created, at)
ON CONFLICT (user_id, coupon_id) DO UPDATE SET
    status = CASE WHEN c.seq < excluded.seq THEN excluded.status ELSE c.status END,
    order_id = CASE WHEN c.seq < excluded.seq THEN excluded.order_id ELSE c.order_id END,
    user_coupon_id = coalesce(c.user_coupon_id, excluded.user_coupon_id),
    expires_at = coalesce(c.expires_at, excluded.expires_at), seq = greatest(c.seq, excluded.seq),
    created_at = least(c.created_at, excluded.created_at), updated_at = greatest(c.updated_at, excluded.updated_at)
