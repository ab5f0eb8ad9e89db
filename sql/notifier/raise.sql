-- People are to be told, if they are not already. Also then the row is locked: see clear_dead_letters in src/notifier/alerts.rs.
INSERT INTO alerts (kind, subject, state) VALUES ($1, $2, 'DUE')
ON CONFLICT (kind, subject) WHERE cleared_at IS NULL DO UPDATE SET updated_at = now()
