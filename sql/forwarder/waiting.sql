-- What waits for another try, or behind such.
SELECT seq, user_id, type, order_id, attempts, (extract(epoch FROM next_retry_at - now()) * 1000)::int8 AS retry_in_ms
FROM deliveries WHERE sink = $1 AND cell = $2 AND state = 'PENDING' ORDER BY seq
