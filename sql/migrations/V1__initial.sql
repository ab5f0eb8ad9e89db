-- The first schema. Rules: every table has created_at and updated_at; rows are never deleted, they change state; no
-- foreign keys (the log is the only writer, in order); amounts are integers in minor units; every row that an event
-- made carries its cell and seq, so that a comparison with Redis can be made at one sequence number.

CREATE TABLE epochs (
    cell       smallint    NOT NULL,
    epoch      bigint      NOT NULL,
    run_id     text        NOT NULL,
    base_seq   bigint      NOT NULL,
    opened_at  timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cell, epoch)
);
COMMENT ON TABLE epochs IS 'Times during which a cell was open on one Redis process; the highest epoch of a cell is the valid one';
COMMENT ON COLUMN epochs.cell IS 'Number of the cell';
COMMENT ON COLUMN epochs.epoch IS 'Counts up from 1 per cell';
COMMENT ON COLUMN epochs.run_id IS 'run_id of the Redis process that the epoch was opened on';
COMMENT ON COLUMN epochs.base_seq IS 'Sequence number of the cell when the epoch was opened';
COMMENT ON COLUMN epochs.opened_at IS 'When the epoch was opened';
COMMENT ON COLUMN epochs.created_at IS 'When the row was written';
COMMENT ON COLUMN epochs.updated_at IS 'When the row was last changed';

CREATE TABLE instances (
    instance_id      uuid        NOT NULL,
    cell             smallint    NOT NULL,
    acknowledged_seq bigint      NOT NULL,
    observed_run_id  text,
    stopped          boolean     NOT NULL DEFAULT false,
    heartbeat_at     timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (instance_id, cell)
);
COMMENT ON TABLE instances IS 'Heartbeats: how far each process was acknowledged by Redis, to tell after a restart of Redis whether something answered is missing';
COMMENT ON COLUMN instances.instance_id IS 'Made anew at every start of a process';
COMMENT ON COLUMN instances.cell IS 'Number of the cell';
COMMENT ON COLUMN instances.acknowledged_seq IS 'Highest sequence number that Redis ever told this process';
COMMENT ON COLUMN instances.observed_run_id IS 'run_id of the Redis process that this process saw last; what an older one answered is in acknowledged_seq';
COMMENT ON COLUMN instances.stopped IS 'The process ended in an orderly way: nobody waits for its report';
COMMENT ON COLUMN instances.heartbeat_at IS 'When it last reported';
COMMENT ON COLUMN instances.created_at IS 'When the row was written';
COMMENT ON COLUMN instances.updated_at IS 'When the row was last changed';

CREATE TABLE writer_cursor (
    cell       smallint    NOT NULL PRIMARY KEY,
    seq        bigint      NOT NULL,
    nonce      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE writer_cursor IS 'How far the log has been brought here; moved in the same commit as the rows';
COMMENT ON COLUMN writer_cursor.cell IS 'Number of the cell';
COMMENT ON COLUMN writer_cursor.seq IS 'Sequence number of the last event that is here';
COMMENT ON COLUMN writer_cursor.nonce IS 'Nonce of the last log entry that is here; the next entry must name it';
COMMENT ON COLUMN writer_cursor.created_at IS 'When the row was written';
COMMENT ON COLUMN writer_cursor.updated_at IS 'When the row was last changed';

CREATE TABLE event_log (
    cell       smallint    NOT NULL,
    seq        bigint      NOT NULL,
    last_seq   bigint      NOT NULL,
    nonce      text        NOT NULL,
    events     bytea       COMPRESSION lz4 NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cell, seq)
);
COMMENT ON TABLE event_log IS 'The log as Redis had it: one row per batch';
COMMENT ON COLUMN event_log.cell IS 'Number of the cell';
COMMENT ON COLUMN event_log.seq IS 'Sequence number of the first event of the entry';
COMMENT ON COLUMN event_log.last_seq IS 'Sequence number of the last event of the entry';
COMMENT ON COLUMN event_log.nonce IS 'Names the sending of the batch';
COMMENT ON COLUMN event_log.events IS 'MessagePack [fingerprint, key, type, version, [fields]], one event after the other; fingerprint and key are those of the request';
COMMENT ON COLUMN event_log.created_at IS 'When the row was written';
COMMENT ON COLUMN event_log.updated_at IS 'When the row was last changed';

CREATE TABLE dead_events (
    cell       smallint    NOT NULL,
    seq        bigint      NOT NULL,
    state      text        NOT NULL CHECK (state IN ('PARKED', 'APPLIED')),
    reason     text        NOT NULL,
    attempts   integer     NOT NULL,
    event      bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cell, seq)
);
COMMENT ON TABLE dead_events IS 'Events that could not be applied when they came';
COMMENT ON COLUMN dead_events.cell IS 'Number of the cell';
COMMENT ON COLUMN dead_events.seq IS 'Sequence number of the event';
COMMENT ON COLUMN dead_events.state IS 'PARKED: waits to be applied. APPLIED: its rows are here now';
COMMENT ON COLUMN dead_events.reason IS 'Why it could not be applied the last time';
COMMENT ON COLUMN dead_events.attempts IS 'How often it was tried';
COMMENT ON COLUMN dead_events.event IS 'MessagePack [fingerprint, key, type, version, [fields]]';
COMMENT ON COLUMN dead_events.created_at IS 'When it was parked';
COMMENT ON COLUMN dead_events.updated_at IS 'When it was last tried';

CREATE TABLE products (
    product_id     integer     NOT NULL PRIMARY KEY,
    name           text        NOT NULL,
    price          bigint      NOT NULL,
    limit_per_user bigint,
    sale_starts_at timestamptz,
    sale_ends_at   timestamptz,
    status         text        NOT NULL CHECK (status IN ('NORMAL', 'DELETED')),
    version        integer     NOT NULL,
    cell           smallint    NOT NULL,
    seq            bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
COMMENT ON TABLE products IS 'Products as they are now';
COMMENT ON COLUMN products.product_id IS 'Minted by the engine, counting up from 1';
COMMENT ON COLUMN products.name IS 'Display name';
COMMENT ON COLUMN products.price IS 'Minor units';
COMMENT ON COLUMN products.limit_per_user IS 'Units one user may buy over all his orders; NULL: no limit';
COMMENT ON COLUMN products.sale_starts_at IS 'Start of the sale window; NULL: open since ever';
COMMENT ON COLUMN products.sale_ends_at IS 'End of the sale window; NULL: never ends';
COMMENT ON COLUMN products.status IS 'NORMAL: can be sold. DELETED: gone for buyers';
COMMENT ON COLUMN products.version IS 'Counts up from 1 with every change';
COMMENT ON COLUMN products.cell IS 'Cell that minted it';
COMMENT ON COLUMN products.seq IS 'Sequence number of its last change';
COMMENT ON COLUMN products.created_at IS 'When it was created';
COMMENT ON COLUMN products.updated_at IS 'When it was last changed';

CREATE TABLE stock (
    cell       smallint    NOT NULL,
    product_id integer     NOT NULL,
    available  bigint      NOT NULL,
    sold       bigint      NOT NULL,
    seq        bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cell, product_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE stock IS 'Units of each product, as of writer_cursor';
COMMENT ON COLUMN stock.cell IS 'Cell that holds this part of the stock';
COMMENT ON COLUMN stock.product_id IS 'Product';
COMMENT ON COLUMN stock.available IS 'Units that can still be sold: initial + adjustments - sold';
COMMENT ON COLUMN stock.sold IS 'Units in confirmed orders';
COMMENT ON COLUMN stock.seq IS 'Sequence number of the last event that changed it';
COMMENT ON COLUMN stock.created_at IS 'When the row was written';
COMMENT ON COLUMN stock.updated_at IS 'When the row was last changed';

CREATE TABLE stock_movements (
    cell        smallint    NOT NULL,
    seq         bigint      NOT NULL,
    product_id  integer     NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('INITIAL', 'ADJUSTMENT')),
    delta       bigint      NOT NULL,
    stock_after bigint      NOT NULL,
    made_by     text        NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (cell, seq)
);
COMMENT ON TABLE stock_movements IS 'Stock that operators brought or took; sales stand in order_items';
COMMENT ON COLUMN stock_movements.cell IS 'Number of the cell';
COMMENT ON COLUMN stock_movements.seq IS 'Sequence number of the event';
COMMENT ON COLUMN stock_movements.product_id IS 'Product';
COMMENT ON COLUMN stock_movements.kind IS 'INITIAL: when the product was created. ADJUSTMENT: later';
COMMENT ON COLUMN stock_movements.delta IS 'Units added; negative: taken away';
COMMENT ON COLUMN stock_movements.stock_after IS 'Available units afterwards';
COMMENT ON COLUMN stock_movements.made_by IS 'The operator: sub of the token';
COMMENT ON COLUMN stock_movements.created_at IS 'When Redis decided it';
COMMENT ON COLUMN stock_movements.updated_at IS 'When the row was last changed';

CREATE TABLE orders (
    order_id         bigint      NOT NULL PRIMARY KEY,
    user_id          text COLLATE "C" NOT NULL,
    status           text        NOT NULL CHECK (status IN ('CONFIRMED')),
    total_amount     bigint      NOT NULL,
    discount_amount  bigint      NOT NULL,
    final_amount     bigint      NOT NULL,
    payment_method   text        NOT NULL CHECK (payment_method IN ('BALANCE')),
    shipping_address jsonb,
    business_day     date        NOT NULL,
    paid_at          timestamptz,
    cell             smallint    NOT NULL,
    seq              bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
CREATE INDEX orders_of_user ON orders (user_id, order_id);
COMMENT ON TABLE orders IS 'Orders as they are now';
COMMENT ON COLUMN orders.order_id IS 'cell * 2^44 + seq of its first event';
COMMENT ON COLUMN orders.user_id IS 'The buyer: sub of the token';
COMMENT ON COLUMN orders.status IS 'CONFIRMED: paid';
COMMENT ON COLUMN orders.total_amount IS 'Sum of unit price * quantity';
COMMENT ON COLUMN orders.discount_amount IS 'Sum of the discounts';
COMMENT ON COLUMN orders.final_amount IS 'total_amount - discount_amount: what is paid';
COMMENT ON COLUMN orders.payment_method IS 'BALANCE: from the prepaid balance';
COMMENT ON COLUMN orders.shipping_address IS 'As the buyer gave it: recipient, phone, line1, line2, city, postalCode, country';
COMMENT ON COLUMN orders.business_day IS 'Day of the ranking that it counts on';
COMMENT ON COLUMN orders.paid_at IS 'When it was paid';
COMMENT ON COLUMN orders.cell IS 'Number of the cell';
COMMENT ON COLUMN orders.seq IS 'Sequence number of its last event';
COMMENT ON COLUMN orders.created_at IS 'When Redis decided it';
COMMENT ON COLUMN orders.updated_at IS 'When the row was last changed';

CREATE TABLE order_items (
    order_id        bigint      NOT NULL,
    line            smallint    NOT NULL,
    product_id      integer     NOT NULL,
    product_name    text        NOT NULL,
    unit_price      bigint      NOT NULL,
    quantity        integer     NOT NULL,
    discount_amount bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (order_id, line)
);
COMMENT ON TABLE order_items IS 'Lines of an order, with name and price of that moment';
COMMENT ON COLUMN order_items.order_id IS 'The order';
COMMENT ON COLUMN order_items.line IS 'Position in the order, from 1';
COMMENT ON COLUMN order_items.product_id IS 'Product';
COMMENT ON COLUMN order_items.product_name IS 'Its name when it was ordered';
COMMENT ON COLUMN order_items.unit_price IS 'Its price when it was ordered';
COMMENT ON COLUMN order_items.quantity IS 'Units';
COMMENT ON COLUMN order_items.discount_amount IS 'Discount of this line';
COMMENT ON COLUMN order_items.created_at IS 'When Redis decided it';
COMMENT ON COLUMN order_items.updated_at IS 'When the row was last changed';

CREATE TABLE payments (
    payment_id bigint      NOT NULL PRIMARY KEY,
    order_id   bigint      NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    method     text        NOT NULL CHECK (method IN ('BALANCE')),
    amount     bigint      NOT NULL,
    status     text        NOT NULL CHECK (status IN ('COMPLETED')),
    cell       smallint    NOT NULL,
    seq        bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE payments IS 'Payments of orders';
COMMENT ON COLUMN payments.payment_id IS 'cell * 2^44 + seq of the event that made it';
COMMENT ON COLUMN payments.order_id IS 'The order';
COMMENT ON COLUMN payments.user_id IS 'The buyer';
COMMENT ON COLUMN payments.method IS 'BALANCE: from the prepaid balance';
COMMENT ON COLUMN payments.amount IS 'Minor units';
COMMENT ON COLUMN payments.status IS 'COMPLETED: the money was taken';
COMMENT ON COLUMN payments.cell IS 'Number of the cell';
COMMENT ON COLUMN payments.seq IS 'Sequence number of its last event';
COMMENT ON COLUMN payments.created_at IS 'When Redis decided it';
COMMENT ON COLUMN payments.updated_at IS 'When the row was last changed';

CREATE TABLE balance_transactions (
    user_id        text COLLATE "C" NOT NULL,
    transaction_id bigint      NOT NULL,
    type           text        NOT NULL CHECK (type IN ('CHARGE', 'PAYMENT')),
    amount         bigint      NOT NULL CHECK (amount >= 0),
    balance_after  bigint      NOT NULL CHECK (balance_after >= 0),
    used_after     bigint      NOT NULL,
    order_id       bigint,
    cell           smallint    NOT NULL,
    seq            bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (user_id, transaction_id)
);
COMMENT ON TABLE balance_transactions IS 'The ledger of every user: the sum of its charges less its payments is the balance';
COMMENT ON COLUMN balance_transactions.user_id IS 'Whose balance';
COMMENT ON COLUMN balance_transactions.transaction_id IS 'cell * 2^44 + seq of the event that made it';
COMMENT ON COLUMN balance_transactions.type IS 'CHARGE: money came in. PAYMENT: an order was paid';
COMMENT ON COLUMN balance_transactions.amount IS 'Minor units, never negative; the type gives the direction';
COMMENT ON COLUMN balance_transactions.balance_after IS 'The balance afterwards';
COMMENT ON COLUMN balance_transactions.used_after IS 'The used total afterwards';
COMMENT ON COLUMN balance_transactions.order_id IS 'The order that was paid; NULL for a charge';
COMMENT ON COLUMN balance_transactions.cell IS 'Number of the cell';
COMMENT ON COLUMN balance_transactions.seq IS 'Sequence number of the event';
COMMENT ON COLUMN balance_transactions.created_at IS 'When Redis decided it';
COMMENT ON COLUMN balance_transactions.updated_at IS 'When the row was last changed';

CREATE TABLE product_sales (
    cell         smallint    NOT NULL,
    business_day date        NOT NULL,
    product_id   integer     NOT NULL,
    quantity     bigint      NOT NULL,
    seq          bigint      NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cell, business_day, product_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE product_sales IS 'Units sold per business day: what the rankings in Redis are rebuilt from';
COMMENT ON COLUMN product_sales.cell IS 'Number of the cell';
COMMENT ON COLUMN product_sales.business_day IS 'Day in the business time zone';
COMMENT ON COLUMN product_sales.product_id IS 'Product';
COMMENT ON COLUMN product_sales.quantity IS 'Units confirmed on that day';
COMMENT ON COLUMN product_sales.seq IS 'Sequence number of the last event that changed it';
COMMENT ON COLUMN product_sales.created_at IS 'When the row was written';
COMMENT ON COLUMN product_sales.updated_at IS 'When the row was last changed';

CREATE VIEW accounts AS
    SELECT DISTINCT ON (user_id)
        user_id, balance_after AS balance, used_after AS used_total, cell, seq, created_at, updated_at
    FROM balance_transactions
    ORDER BY user_id, transaction_id DESC;
COMMENT ON VIEW accounts IS 'Balance and used total of every user, as of writer_cursor: his last transaction';
