-- Who wants to be told that a product is back. A request that was parked may come when its round has ended: then it is due.
INSERT INTO restock_notifications AS r (cell, user_id, product_id, round, email, state, due_seq, seq, created_at,
    updated_at)
SELECT $1::int2, n.user_id, n.product_id, n.round, n.email, CASE WHEN s.restocked_seq IS NULL THEN 'WAITING' ELSE 'DUE' END,
    s.restocked_seq, n.seq, n.at, n.at
FROM unnest($2::text[], $3::int4[], $4::int8[], $5::text[], $6::int8[], $7::timestamptz[])
    AS n (user_id, product_id, round, email, seq, at)
LEFT JOIN stock s ON s.cell = $1::int2 AND s.product_id = n.product_id AND s.restocked_seq > n.seq
ON CONFLICT (user_id, product_id, round) DO UPDATE SET email = excluded.email, seq = excluded.seq,
    updated_at = excluded.updated_at
WHERE r.state = 'WAITING' AND r.seq < excluded.seq
