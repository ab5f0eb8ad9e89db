-- A sink has no dead letters any more, or still some. The sink notification's are restock notices.
UPDATE alerts SET cleared_at = now(), updated_at = now()
WHERE kind = 'DEAD_LETTERS' AND subject = $1 AND cleared_at IS NULL
    AND NOT EXISTS (SELECT FROM deliveries d WHERE d.sink = $1 AND d.state = 'DEAD')
    AND ($1 <> 'notification' OR NOT EXISTS (SELECT FROM restock_notifications WHERE state = 'DEAD'))
