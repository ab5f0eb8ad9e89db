-- What became of an alert that was sent. The number is absolute: written twice it is the same.
UPDATE alerts SET state = $2, attempts = $3, last_error = coalesce($4::text, last_error),
    next_retry_at = now() + $5::int8 * interval '1 millisecond', updated_at = now()
WHERE alert_id = $1 AND state = 'DUE'
