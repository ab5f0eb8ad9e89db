-- Products as they are now. An event that was parked and comes late must not undo a newer one.
INSERT INTO products AS p (cell, product_id, name, price, limit_per_user, sale_starts_at, sale_ends_at, status, version, seq,
    created_at, updated_at)
SELECT $1::int2, n.product_id, n.name, n.price, n.limit_per_user, n.starts, n.ends, n.status, n.version, n.seq, n.at, n.at
FROM unnest($2::int4[], $3::text[], $4::int8[], $5::int8[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::int4[],
    $10::int8[], $11::timestamptz[])
    AS n (product_id, name, price, limit_per_user, starts, ends, status, version, seq, at)
ON CONFLICT (product_id) DO UPDATE SET name = excluded.name, price = excluded.price,
    limit_per_user = excluded.limit_per_user, sale_starts_at = excluded.sale_starts_at,
    sale_ends_at = excluded.sale_ends_at, status = excluded.status, version = excluded.version, seq = excluded.seq,
    updated_at = excluded.updated_at
WHERE p.seq < excluded.seq
