-- Products that are back: everybody who asked before is to be told. `after`: the event before it in the batch by which the
-- same product was back, or 0.
UPDATE restock_notifications r SET state = 'DUE', due_seq = d.seq, updated_at = d.at
FROM unnest($2::int4[], $3::int8[], $4::int8[], $5::timestamptz[]) AS d (product_id, after, seq, at)
WHERE r.cell = $1::int2 AND r.product_id = d.product_id AND r.state = 'WAITING' AND r.seq > d.after AND r.seq < d.seq
