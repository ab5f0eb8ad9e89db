-- Stock that operators brought or took.
INSERT INTO stock_movements (cell, seq, product_id, kind, delta, stock_after, made_by, created_at, updated_at)
SELECT $1::int2, m.seq, m.product_id, m.kind, m.delta, m.stock, m.made_by, m.at, m.at
FROM unnest($2::int8[], $3::int4[], $4::text[], $5::int8[], $6::int8[], $7::text[], $8::timestamptz[])
    AS m (seq, product_id, kind, delta, stock, made_by, at)
