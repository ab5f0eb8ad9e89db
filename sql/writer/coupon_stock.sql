-- How many coupons a batch issued, one row per coupon: differences, so that an event that was parked can come late.
INSERT INTO coupon_stock AS s (cell, coupon_id, issued, seq)
SELECT $1::int2, * FROM unnest($2::int4[], $3::int8[], $4::int8[])
ON CONFLICT (cell, coupon_id) DO UPDATE SET issued = s.issued + excluded.issued, seq = greatest(s.seq, excluded.seq),
    updated_at = now()
