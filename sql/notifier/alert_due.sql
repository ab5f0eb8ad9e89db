-- The oldest alert that is to be sent now, and how many dead letters its sink has. The sink notification's are restock notices.
SELECT a.alert_id, a.kind, a.subject, a.attempts, a.created_at, a.cleared_at,
    CASE a.kind WHEN 'DEAD_LETTERS' THEN
        CASE a.subject WHEN 'notification' THEN (SELECT count(*) FROM restock_notifications WHERE state = 'DEAD')
            ELSE (SELECT count(*) FROM deliveries d WHERE d.sink = a.subject AND d.state = 'DEAD') END
    END AS dead_letters
FROM alerts a
WHERE a.state = 'DUE' AND (a.next_retry_at IS NULL OR a.next_retry_at <= now())
ORDER BY a.alert_id LIMIT 1
