-- One order as the seed documents describe it ("pessimistic lock for stock, optimistic lock for balance"): the stock
-- row is locked first and held until the commit, the balance is read with its version and moved only if nobody was
-- faster.
-- In their favour: the order is inserted as CONFIRMED at once instead of being updated at the end, the price comes with
-- the locked row, there is no cart, no coupon and no idempotency record, and no HTTP in front.
-- The bench gives :users and :products. User and product are drawn as in wrk/orders.lua.

\set user random(1, :users)
\set product random(1, :products)
BEGIN;
SELECT s.available_quantity AS available, p.price AS price
FROM stock s JOIN product p ON p.id = s.product_id
WHERE s.product_id = :product FOR UPDATE OF s \gset
\if :available < 1
ROLLBACK;
\else
UPDATE stock
SET available_quantity = available_quantity - 1, sold_quantity = sold_quantity + 1, updated_at = now()
WHERE product_id = :product;
INSERT INTO orders (user_id, state, total_amount, discount_amount, paid_at)
VALUES ('bench-user-' || :user, 'CONFIRMED', :price, 0, now()) RETURNING id AS order_id \gset
INSERT INTO order_item (order_id, line, product_id, name, unit_price, quantity)
VALUES (:order_id, 1, :product, 'Hot product', :price, 1);
SELECT balance AS balance, version AS version FROM user_balance WHERE user_id = 'bench-user-' || :user \gset
\if :balance < :price
ROLLBACK;
\else
WITH moved AS (
    UPDATE user_balance
    SET balance = balance - :price, used = used + :price, version = version + 1, updated_at = now()
    WHERE user_id = 'bench-user-' || :user AND version = :version
    RETURNING balance)
SELECT count(*) AS moved, coalesce(max(balance), 0) AS balance_after FROM moved \gset
\if :moved = 0
-- 409 in the documents: another order of the same user was faster.
ROLLBACK;
\else
INSERT INTO balance_transaction (user_id, type, amount, balance_after, order_id)
VALUES ('bench-user-' || :user, 'PAYMENT', :price, :balance_after, :order_id);
INSERT INTO payment (order_id, user_id, method, amount, state)
VALUES (:order_id, 'bench-user-' || :user, 'BALANCE', :price, 'COMPLETED');
COMMIT;
\endif
\endif
\endif
