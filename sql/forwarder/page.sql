-- Entries that hold events behind $2. The cursor may stand inside of an entry.
SELECT seq, events FROM event_log
WHERE cell = $1 AND seq >= coalesce((SELECT max(seq) FROM event_log WHERE cell = $1 AND seq <= $2::int8 + 1), 0) AND last_seq > $2
ORDER BY seq LIMIT $3
