-- Orders that were paid from the balance at once, without coupons.
INSERT INTO orders (cell, order_id, user_id, status, total_amount, discount_amount, final_amount, payment_method,
    shipping_address, business_day, seq, paid_at, created_at, updated_at)
SELECT $1::int2, o.order_id, o.user_id, 'CONFIRMED', o.total, o.discount, o.final, o.method, o.address, o.day, o.seq,
    o.at, o.at, o.at
FROM unnest($2::int8[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::text[], $8::jsonb[], $9::date[], $10::int8[],
    $11::timestamptz[]) AS o (order_id, user_id, total, discount, final, method, address, day, seq, at)
