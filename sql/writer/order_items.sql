-- Lines of orders that were paid at once. For unnest see orders.sql.
INSERT INTO order_items (order_id, line, product_id, product_name, unit_price, quantity, discount_amount, counted,
    created_at, updated_at)
SELECT i.order_id, i.line, i.product_id, i.name, i.price, i.quantity, i.discount, i.counted, i.at, i.at
FROM (SELECT unnest($1::int8[]) AS order_id, unnest($2::int2[]) AS line, unnest($3::int4[]) AS product_id,
    unnest($4::text[]) AS name, unnest($5::int8[]) AS price, unnest($6::int4[]) AS quantity,
    unnest($7::int8[]) AS discount, unnest($8::bool[]) AS counted, unnest($9::timestamptz[]) AS at) AS i
