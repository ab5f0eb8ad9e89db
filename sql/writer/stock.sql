-- What a batch did to the stock, one row per product: differences, so that an event that was parked can come late.
INSERT INTO stock AS s (cell, product_id, available, reserved, sold, restocked_seq, seq)
SELECT $1::int2, * FROM unnest($2::int4[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[])
ON CONFLICT (cell, product_id) DO UPDATE SET available = s.available + excluded.available,
    reserved = s.reserved + excluded.reserved, sold = s.sold + excluded.sold,
    restocked_seq = greatest(s.restocked_seq, excluded.restocked_seq), seq = greatest(s.seq, excluded.seq),
    updated_at = now()
