-- What became of events that were not delivered at once. One that could not be read may be readable by now; of one that cannot be
-- read any more, what was known stays.
INSERT INTO deliveries AS d (sink, cell, seq, user_id, type, order_id, state, attempts, last_error, next_retry_at)
SELECT $1, $2, n.* FROM unnest($3::int8[], $4::text[], $5::text[], $6::int8[], $7::text[], $8::int4[], $9::text[],
    $10::timestamptz[]) AS n (seq, user_id, type, order_id, state, attempts, error, next_retry_at)
ON CONFLICT (sink, cell, seq) DO UPDATE SET
    user_id = CASE excluded.type WHEN 'unreadable' THEN d.user_id ELSE excluded.user_id END,
    type = CASE excluded.type WHEN 'unreadable' THEN d.type ELSE excluded.type END,
    order_id = coalesce(excluded.order_id, d.order_id), state = excluded.state, attempts = excluded.attempts, last_error = coalesce(excluded.last_error, d.last_error),
    next_retry_at = excluded.next_retry_at, updated_at = now()
