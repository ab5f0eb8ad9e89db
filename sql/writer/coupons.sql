-- Coupons as they are now. An event that was parked and comes late must not undo a newer one.
INSERT INTO coupons AS c (cell, coupon_id, name, type, product_id, discount_type, discount_value, max_discount,
    min_order_amount, total_quantity, issue_starts_at, issue_ends_at, valid_days, status, version, seq, created_at,
    updated_at)
SELECT $1::int2, n.*, n.at
FROM unnest($2::int4[], $3::text[], $4::text[], $5::int4[], $6::text[], $7::int8[], $8::int8[], $9::int8[], $10::int8[],
    $11::timestamptz[], $12::timestamptz[], $13::int4[], $14::text[], $15::int4[], $16::int8[], $17::timestamptz[])
    AS n (coupon_id, name, type, product_id, discount, value, max_discount, min_order, total, starts, ends, valid_days,
        status, version, seq, at)
ON CONFLICT (coupon_id) DO UPDATE SET name = excluded.name, type = excluded.type, product_id = excluded.product_id,
    discount_type = excluded.discount_type, discount_value = excluded.discount_value,
    max_discount = excluded.max_discount, min_order_amount = excluded.min_order_amount,
    total_quantity = excluded.total_quantity, issue_starts_at = excluded.issue_starts_at,
    issue_ends_at = excluded.issue_ends_at, valid_days = excluded.valid_days, status = excluded.status,
    version = excluded.version, seq = excluded.seq, updated_at = excluded.updated_at
WHERE c.seq < excluded.seq
