-- What became of notices that were sent. The numbers are absolute: written twice they are the same.
UPDATE restock_notifications r SET state = n.state, attempts = n.attempts, last_error = coalesce($8::text, r.last_error),
    next_retry_at = now() + n.pause_ms * interval '1 millisecond', updated_at = now()
FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::text[], $6::int4[], $7::int8[])
    AS n (user_id, product_id, round, seq, state, attempts, pause_ms)
WHERE r.user_id = n.user_id AND r.product_id = n.product_id AND r.round = n.round AND r.seq = n.seq AND r.state = 'DUE'
