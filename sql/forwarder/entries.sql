-- The entries that hold these events, each once.
SELECT DISTINCT ON (e.seq) e.seq, e.events FROM unnest($2::int8[]) AS wanted (seq)
CROSS JOIN LATERAL (SELECT l.seq, l.events FROM event_log l WHERE l.cell = $1 AND l.seq <= wanted.seq ORDER BY l.seq DESC LIMIT 1) e
ORDER BY e.seq
