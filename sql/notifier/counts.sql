-- What is due and what was given up.
SELECT count(*) FILTER (WHERE state = 'DUE') AS notices_due, count(*) FILTER (WHERE state = 'DEAD') AS notices_dead,
    (SELECT count(*) FROM alerts a WHERE a.state = 'DUE') AS alerts_due
FROM restock_notifications WHERE state IN ('DUE', 'DEAD')
