-- The raw entries of a batch.
INSERT INTO event_log (cell, seq, last_seq, nonce, events)
SELECT $1::int2, * FROM unnest($2::int8[], $3::int8[], $4::text[], $5::bytea[])
