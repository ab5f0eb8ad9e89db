-- Lines of orders that were paid at once.
INSERT INTO order_items (order_id, line, product_id, product_name, unit_price, quantity, discount_amount, counted,
    created_at, updated_at)
SELECT i.order_id, i.line, i.product_id, i.name, i.price, i.quantity, i.discount, i.counted, i.at, i.at
FROM unnest($1::int8[], $2::int2[], $3::int4[], $4::text[], $5::int8[], $6::int4[], $7::int8[], $8::bool[],
    $9::timestamptz[]) AS i (order_id, line, product_id, name, price, quantity, discount, counted, at)
