-- The ledger.
INSERT INTO balance_transactions (cell, user_id, transaction_id, type, amount, balance_after, used_after, order_id, seq,
    created_at, updated_at)
SELECT $1::int2, t.user_id, t.transaction_id, t.type, t.amount, t.balance, t.used, t.order_id, t.seq, t.at, t.at
FROM unnest($2::text[], $3::int8[], $4::text[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[],
    $10::timestamptz[]) AS t (user_id, transaction_id, type, amount, balance, used, order_id, seq, at)
