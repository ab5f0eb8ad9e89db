-- The tables of the seed documents' order transaction, in a database of their own. Where a choice was open it was made
-- in their favour: no foreign keys, room on the hot pages for in-place updates, no index beyond what their own reads
-- (order, orders of a user, transactions of a user) need. The bench fills product, stock and user_balance.

CREATE TABLE product (
    id    integer NOT NULL PRIMARY KEY,
    name  text    NOT NULL,
    price bigint  NOT NULL
);

CREATE TABLE stock (
    product_id         integer     NOT NULL PRIMARY KEY,
    available_quantity bigint      NOT NULL,
    sold_quantity      bigint      NOT NULL DEFAULT 0,
    updated_at         timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);

CREATE TABLE user_balance (
    user_id    text        NOT NULL PRIMARY KEY,
    balance    bigint      NOT NULL,
    used       bigint      NOT NULL DEFAULT 0,
    version    bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE orders (
    id              bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY (CACHE 100),
    user_id         text        NOT NULL,
    state           text        NOT NULL,
    total_amount    bigint      NOT NULL,
    discount_amount bigint      NOT NULL,
    paid_at         timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_of_user ON orders (user_id, id);

CREATE TABLE order_item (
    order_id   bigint      NOT NULL,
    line       smallint    NOT NULL,
    product_id integer     NOT NULL,
    name       text        NOT NULL,
    unit_price bigint      NOT NULL,
    quantity   integer     NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, line)
);

CREATE TABLE payment (
    id         bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY (CACHE 100),
    order_id   bigint      NOT NULL,
    user_id    text        NOT NULL,
    method     text        NOT NULL,
    amount     bigint      NOT NULL,
    state      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE balance_transaction (
    id            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY (CACHE 100),
    user_id       text        NOT NULL,
    type          text        NOT NULL,
    amount        bigint      NOT NULL,
    balance_after bigint      NOT NULL,
    order_id      bigint,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id)
);
