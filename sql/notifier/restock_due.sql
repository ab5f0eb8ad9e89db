-- Notices that are to be sent now, oldest first.
SELECT (r.cell::int8 << 44) | r.seq AS id, r.user_id, r.product_id, p.name AS product_name, r.round, r.email, r.created_at,
    r.attempts
FROM restock_notifications r
LEFT JOIN products p ON p.product_id = r.product_id
WHERE r.state = 'DUE' AND (r.next_retry_at IS NULL OR r.next_retry_at <= now())
ORDER BY r.cell, r.seq LIMIT $1
