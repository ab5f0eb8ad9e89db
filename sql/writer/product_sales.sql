-- What a batch sold, less what it refunded, one row per business day and product.
INSERT INTO product_sales AS s (cell, business_day, product_id, quantity, seq)
SELECT $1::int2, * FROM unnest($2::date[], $3::int4[], $4::int8[], $5::int8[])
ON CONFLICT (cell, business_day, product_id) DO UPDATE SET quantity = s.quantity + excluded.quantity,
    seq = greatest(s.seq, excluded.seq), updated_at = now()
