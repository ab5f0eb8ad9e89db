-- Orders that are paid later or given up, coupons, carts, charges over the gateway, restock notifications. The rules of V1
-- hold. A service of the version before can go on writing: every new column has a default or may be NULL.

-- Orders: every state of theirs.
ALTER TABLE orders
    DROP CONSTRAINT orders_status_check,
    DROP CONSTRAINT orders_payment_method_check,
    ALTER COLUMN payment_method DROP NOT NULL,
    ALTER COLUMN business_day DROP NOT NULL,
    ADD COLUMN coupon_ids jsonb,
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN payment_id bigint,
    ADD COLUMN refund text CHECK (refund IN ('PENDING', 'DONE')),
    ADD COLUMN confirmed_seq bigint,
    ADD COLUMN released_seq bigint,
    ADD CONSTRAINT orders_status_check CHECK (status IN
        ('PENDING_PAYMENT', 'HELD', 'CONFIRMED', 'PAYMENT_FAILED', 'CANCELLED', 'EXPIRED', 'REFUNDED')),
    ADD CONSTRAINT orders_payment_method_check CHECK (payment_method IN ('BALANCE', 'CARD'));
-- What is unfinished: few rows, however many orders there are. An order that is paid at once never gets in here.
CREATE INDEX orders_open ON orders (status, updated_at)
    WHERE status IN ('PENDING_PAYMENT', 'HELD') OR refund = 'PENDING';
COMMENT ON COLUMN orders.status IS 'PENDING_PAYMENT: reserved, to be paid until expires_at. HELD: the gateway''s answer is open. CONFIRMED: paid. PAYMENT_FAILED: the gateway declined. CANCELLED: given up before it was paid. EXPIRED: not paid in time. REFUNDED: given up after it was paid';
COMMENT ON COLUMN orders.final_amount IS 'total_amount - discount_amount: what is or was to be paid';
COMMENT ON COLUMN orders.payment_method IS 'BALANCE: from the prepaid balance. CARD: over the gateway. NULL: nobody has tried to pay it';
COMMENT ON COLUMN orders.business_day IS 'Day of the ranking that it counts on; NULL: it was never paid';
COMMENT ON COLUMN orders.coupon_ids IS 'Coupons that it uses or used, a list of coupon_id; NULL: none';
COMMENT ON COLUMN orders.expires_at IS 'Until when it can or could be paid; NULL: it was paid at once';
COMMENT ON COLUMN orders.payment_id IS 'cell * 2^44 + seq of the event that started its payment; NULL: there is none, or (with a payment_method) it was paid at once and the payment has the id of the order';
COMMENT ON COLUMN orders.refund IS 'Of the money of a REFUNDED order. PENDING: the gateway is being asked. DONE: it is back';
COMMENT ON COLUMN orders.confirmed_seq IS 'Sequence number of the event by which a reserved order was paid; NULL: it was not, or it was paid at once (its own number)';
COMMENT ON COLUMN orders.released_seq IS 'Sequence number of the event that gave stock, limits and coupons back (CANCELLED, EXPIRED, PAYMENT_FAILED, REFUNDED); NULL: the order still has them';
COMMENT ON COLUMN orders.created_at IS 'When it was placed';
COMMENT ON COLUMN orders.updated_at IS 'When Redis decided its last event';

ALTER TABLE order_items ADD COLUMN counted boolean NOT NULL DEFAULT false;
-- As far as can still be told: products that have a limit now had it when they were ordered.
UPDATE order_items SET counted = true FROM products p WHERE p.product_id = order_items.product_id AND p.limit_per_user IS NOT NULL;
COMMENT ON COLUMN order_items.counted IS 'Whether the limit per user counted it';

ALTER TABLE payments
    DROP CONSTRAINT payments_method_check,
    DROP CONSTRAINT payments_status_check,
    ADD CONSTRAINT payments_method_check CHECK (method IN ('BALANCE', 'CARD')),
    ADD CONSTRAINT payments_status_check CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED', 'REFUND_PENDING', 'REFUNDED'));
COMMENT ON COLUMN payments.payment_id IS 'cell * 2^44 + seq of the event that started it';
COMMENT ON COLUMN payments.method IS 'BALANCE: from the prepaid balance. CARD: over the gateway';
COMMENT ON COLUMN payments.status IS 'PENDING: the gateway''s answer is open. COMPLETED: the money was taken. FAILED: the gateway declined. REFUND_PENDING: the gateway is being asked to give it back. REFUNDED: it was given back';
COMMENT ON COLUMN payments.created_at IS 'When it was started';
COMMENT ON COLUMN payments.updated_at IS 'When Redis decided its last event';

ALTER TABLE balance_transactions
    DROP CONSTRAINT balance_transactions_type_check,
    ADD CONSTRAINT balance_transactions_type_check CHECK (type IN ('CHARGE', 'PAYMENT', 'REFUND'));
COMMENT ON TABLE balance_transactions IS 'The ledger of every user: the sum of his charges and refunds less his payments is the balance';
COMMENT ON COLUMN balance_transactions.type IS 'CHARGE: money came in. PAYMENT: an order was paid. REFUND: the money of an order came back';
COMMENT ON COLUMN balance_transactions.order_id IS 'The order that was paid or refunded; NULL for a charge';

ALTER TABLE stock
    ADD COLUMN reserved bigint NOT NULL DEFAULT 0,
    ADD COLUMN restocked_seq bigint;
COMMENT ON COLUMN stock.available IS 'Units that can still be sold: initial + adjustments - reserved - sold';
COMMENT ON COLUMN stock.reserved IS 'Units in orders that are not paid (PENDING_PAYMENT and HELD)';
COMMENT ON COLUMN stock.restocked_seq IS 'Sequence number of the last event by which it was back for those who waited for it; NULL: none';
COMMENT ON COLUMN product_sales.quantity IS 'Units confirmed on that day, without those of them that were refunded';

CREATE TABLE charges (
    charge_id      bigint      NOT NULL PRIMARY KEY,
    user_id        text COLLATE "C" NOT NULL,
    amount         bigint      NOT NULL,
    method         text,
    status         text        NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED')),
    transaction_id bigint,
    cell           smallint    NOT NULL,
    seq            bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
-- What is unfinished: few rows, however many charges there are.
CREATE INDEX charges_open ON charges (created_at) WHERE status = 'PENDING';
-- For a user's pending charges, which a comparison with Redis counts.
CREATE INDEX charges_of_user ON charges (user_id, charge_id);
COMMENT ON TABLE charges IS 'Charges over the gateway; what came of them stands in balance_transactions';
COMMENT ON COLUMN charges.charge_id IS 'cell * 2^44 + seq of the event that opened it';
COMMENT ON COLUMN charges.user_id IS 'Whose balance';
COMMENT ON COLUMN charges.amount IS 'Minor units';
COMMENT ON COLUMN charges.method IS 'Which card or account, as the user named it; NULL: he did not';
COMMENT ON COLUMN charges.status IS 'PENDING: the gateway''s answer is open. COMPLETED: the balance was credited. FAILED: the gateway declined';
COMMENT ON COLUMN charges.transaction_id IS 'The transaction that credited it; NULL: none';
COMMENT ON COLUMN charges.cell IS 'Number of the cell';
COMMENT ON COLUMN charges.seq IS 'Sequence number of its last event';
COMMENT ON COLUMN charges.created_at IS 'When it was opened';
COMMENT ON COLUMN charges.updated_at IS 'When Redis decided its last event';

CREATE TABLE coupons (
    coupon_id        integer     NOT NULL PRIMARY KEY,
    name             text        NOT NULL,
    type             text        NOT NULL CHECK (type IN ('CART', 'CART_ITEM')),
    product_id       integer,
    discount_type    text        NOT NULL CHECK (discount_type IN ('FIXED', 'PERCENT')),
    discount_value   bigint      NOT NULL,
    max_discount     bigint,
    min_order_amount bigint,
    total_quantity   bigint      NOT NULL,
    issue_starts_at  timestamptz,
    issue_ends_at    timestamptz,
    valid_days       integer     NOT NULL,
    status           text        NOT NULL CHECK (status IN ('NORMAL', 'DELETED')),
    version          integer     NOT NULL,
    cell             smallint    NOT NULL,
    seq              bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
COMMENT ON TABLE coupons IS 'Coupons as they are now; how many were issued stands in coupon_stock';
COMMENT ON COLUMN coupons.coupon_id IS 'Minted by the engine, counting up from 1';
COMMENT ON COLUMN coupons.name IS 'Display name';
COMMENT ON COLUMN coupons.type IS 'CART: for a whole order. CART_ITEM: for one product of an order';
COMMENT ON COLUMN coupons.product_id IS 'The product of a CART_ITEM coupon; NULL for others';
COMMENT ON COLUMN coupons.discount_type IS 'FIXED: discount_value is in minor units. PERCENT: it is a percentage, rounded down';
COMMENT ON COLUMN coupons.discount_value IS 'Minor units, or percent from 1 to 100';
COMMENT ON COLUMN coupons.max_discount IS 'Most that it takes off, in minor units; NULL: no maximum';
COMMENT ON COLUMN coupons.min_order_amount IS 'Least total of the order before discounts, in minor units; NULL: none';
COMMENT ON COLUMN coupons.total_quantity IS 'How many there are in all, issued or not';
COMMENT ON COLUMN coupons.issue_starts_at IS 'Start of the issue window; NULL: open since ever';
COMMENT ON COLUMN coupons.issue_ends_at IS 'End of the issue window; NULL: never ends';
COMMENT ON COLUMN coupons.valid_days IS 'Days from issue to expiry, for those issued from now on';
COMMENT ON COLUMN coupons.status IS 'NORMAL: can be issued. DELETED: cannot; those that were issued stay good';
COMMENT ON COLUMN coupons.version IS 'Counts up from 1 with every change';
COMMENT ON COLUMN coupons.cell IS 'Cell that minted it';
COMMENT ON COLUMN coupons.seq IS 'Sequence number of its last change';
COMMENT ON COLUMN coupons.created_at IS 'When it was created';
COMMENT ON COLUMN coupons.updated_at IS 'When it was last changed';

CREATE TABLE coupon_stock (
    cell       smallint    NOT NULL,
    coupon_id  integer     NOT NULL,
    issued     bigint      NOT NULL,
    seq        bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cell, coupon_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE coupon_stock IS 'How many of each coupon were issued, as of writer_cursor; remaining = coupons.total_quantity - issued. No row: none';
COMMENT ON COLUMN coupon_stock.cell IS 'Cell that issued them';
COMMENT ON COLUMN coupon_stock.coupon_id IS 'Coupon';
COMMENT ON COLUMN coupon_stock.issued IS 'How many users got it';
COMMENT ON COLUMN coupon_stock.seq IS 'Sequence number of the last event that changed it';
COMMENT ON COLUMN coupon_stock.created_at IS 'When the row was written';
COMMENT ON COLUMN coupon_stock.updated_at IS 'When the row was last changed';

CREATE TABLE user_coupons (
    user_id        text COLLATE "C" NOT NULL,
    coupon_id      integer     NOT NULL,
    user_coupon_id bigint,
    status         text        NOT NULL CHECK (status IN ('AVAILABLE', 'USED')),
    order_id       bigint,
    expires_at     timestamptz,
    cell           smallint    NOT NULL,
    seq            bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (user_id, coupon_id)
);
COMMENT ON TABLE user_coupons IS 'Coupons that users got: one per user and coupon, ever';
COMMENT ON COLUMN user_coupons.user_id IS 'Who got it';
COMMENT ON COLUMN user_coupons.coupon_id IS 'Which coupon';
COMMENT ON COLUMN user_coupons.user_coupon_id IS 'cell * 2^44 + seq of the event that issued it; NULL as long as that event is parked';
COMMENT ON COLUMN user_coupons.status IS 'AVAILABLE: no order uses it; past expires_at that is EXPIRED, which is computed when it is read and never stands here. USED: by order_id';
COMMENT ON COLUMN user_coupons.order_id IS 'The order that uses it; NULL: none';
COMMENT ON COLUMN user_coupons.expires_at IS 'From then on no order can use it; NULL as long as the event that issued it is parked';
COMMENT ON COLUMN user_coupons.cell IS 'Number of the cell';
COMMENT ON COLUMN user_coupons.seq IS 'Sequence number of the last event that changed it';
COMMENT ON COLUMN user_coupons.created_at IS 'When it was issued';
COMMENT ON COLUMN user_coupons.updated_at IS 'When Redis decided its last event';

CREATE TABLE carts (
    user_id    text COLLATE "C" NOT NULL PRIMARY KEY,
    items      jsonb       NOT NULL,
    cell       smallint    NOT NULL,
    seq        bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE carts IS 'Carts as they are now';
COMMENT ON COLUMN carts.user_id IS 'Whose cart';
COMMENT ON COLUMN carts.items IS 'A list of {productId, quantity}, in the order in which they were added; an empty one: an empty cart';
COMMENT ON COLUMN carts.cell IS 'Number of the cell';
COMMENT ON COLUMN carts.seq IS 'Sequence number of its last change';
COMMENT ON COLUMN carts.created_at IS 'When it was first changed';
COMMENT ON COLUMN carts.updated_at IS 'When it was last changed';

CREATE TABLE restock_notifications (
    user_id    text COLLATE "C" NOT NULL,
    product_id integer     NOT NULL,
    round      bigint      NOT NULL,
    email      text        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('WAITING', 'DUE', 'SENT')),
    due_seq    bigint,
    cell       smallint    NOT NULL,
    seq        bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, product_id, round)
);
CREATE INDEX restock_notifications_waiting ON restock_notifications (product_id) WHERE state = 'WAITING';
COMMENT ON TABLE restock_notifications IS 'Who wants to be told that a product is back, and who was told';
COMMENT ON COLUMN restock_notifications.user_id IS 'Who asked';
COMMENT ON COLUMN restock_notifications.product_id IS 'Product';
COMMENT ON COLUMN restock_notifications.round IS 'Counts how often the product was back, from 1: everybody who asked in one round is told once when it ends';
COMMENT ON COLUMN restock_notifications.email IS 'Where to; the last one that was given';
COMMENT ON COLUMN restock_notifications.state IS 'WAITING: for the product to be back. DUE: it is back, and the user is to be told. SENT: he was told';
COMMENT ON COLUMN restock_notifications.due_seq IS 'Sequence number of the event by which the product was back; NULL: it is not yet';
COMMENT ON COLUMN restock_notifications.cell IS 'Number of the cell';
COMMENT ON COLUMN restock_notifications.seq IS 'Sequence number of the last request';
COMMENT ON COLUMN restock_notifications.created_at IS 'When it was first asked for';
COMMENT ON COLUMN restock_notifications.updated_at IS 'When the row was last changed';
