-- Orders that were paid from the balance at once, without coupons. unnest stands in the select list because in FROM it writes
-- every array out before it joins them: three times the cost for as many columns.
INSERT INTO orders (cell, order_id, user_id, status, total_amount, discount_amount, final_amount, payment_method,
    shipping_address, business_day, seq, paid_at, created_at, updated_at)
SELECT $1::int2, o.order_id, o.user_id, 'CONFIRMED', o.total, o.discount, o.final, o.method, o.address, o.day, o.seq,
    o.at, o.at, o.at
FROM (SELECT unnest($2::int8[]) AS order_id, unnest($3::text[]) AS user_id, unnest($4::int8[]) AS total,
    unnest($5::int8[]) AS discount, unnest($6::int8[]) AS final, unnest($7::text[]) AS method,
    unnest($8::jsonb[]) AS address, unnest($9::date[]) AS day, unnest($10::int8[]) AS seq,
    unnest($11::timestamptz[]) AS at) AS o
