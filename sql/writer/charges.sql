-- Charges over the gateway. How one ended stays, should the event that opened it come late.
INSERT INTO charges AS c (cell, charge_id, user_id, amount, method, status, transaction_id, seq, created_at, updated_at)
SELECT $1::int2, n.*
FROM unnest($2::int8[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::timestamptz[],
    $10::timestamptz[]) AS n (charge_id, user_id, amount, method, status, transaction_id, seq, created, at)
ON CONFLICT (charge_id) DO UPDATE SET
    -- Another user's row is none of this charge's: NULL is refused, and the event is parked.
    user_id = CASE WHEN c.user_id = excluded.user_id THEN c.user_id END,
    status = CASE WHEN c.seq < excluded.seq THEN excluded.status ELSE c.status END,
    method = coalesce(c.method, excluded.method), transaction_id = coalesce(c.transaction_id, excluded.transaction_id),
    seq = greatest(c.seq, excluded.seq), created_at = least(c.created_at, excluded.created_at),
    updated_at = greatest(c.updated_at, excluded.updated_at)
