-- The ledger. For unnest see orders.sql.
INSERT INTO balance_transactions (cell, user_id, transaction_id, type, amount, balance_after, used_after, order_id, seq,
    created_at, updated_at)
SELECT $1::int2, t.user_id, t.transaction_id, t.type, t.amount, t.balance, t.used, t.order_id, t.seq, t.at, t.at
FROM (SELECT unnest($2::text[]) AS user_id, unnest($3::int8[]) AS transaction_id, unnest($4::text[]) AS type,
    unnest($5::int8[]) AS amount, unnest($6::int8[]) AS balance, unnest($7::int8[]) AS used,
    unnest($8::int8[]) AS order_id, unnest($9::int8[]) AS seq, unnest($10::timestamptz[]) AS at) AS t
