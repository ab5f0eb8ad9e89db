-- Carts as they are now, one row per user.
INSERT INTO carts AS c (cell, user_id, items, seq, created_at, updated_at)
SELECT $1::int2, n.*, n.at
FROM unnest($2::text[], $3::jsonb[], $4::int8[], $5::timestamptz[]) AS n (user_id, items, seq, at)
ON CONFLICT (user_id) DO UPDATE SET items = excluded.items, seq = excluded.seq, updated_at = excluded.updated_at
WHERE c.seq < excluded.seq
