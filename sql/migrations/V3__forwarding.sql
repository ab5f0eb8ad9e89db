-- What goes out: orders and balances to the data platform, restock notices, alerts. The rules of V1 hold. A service of the
-- version before can go on writing: it touches none of this, and new columns have defaults.

CREATE TABLE sink_cursors (
    sink       text        NOT NULL CHECK (sink IN ('platform', 'kafka')),
    cell       smallint    NOT NULL,
    seq        bigint      NOT NULL,
    retired    boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, cell)
) WITH (fillfactor = 50);
COMMENT ON TABLE sink_cursors IS 'How far each sink has come in event_log; moved in the same commit as the rows in deliveries';
COMMENT ON COLUMN sink_cursors.sink IS 'Where the events go. platform: the data platform, over HTTP. kafka: the data platform, over Kafka';
COMMENT ON COLUMN sink_cursors.cell IS 'Number of the cell';
COMMENT ON COLUMN sink_cursors.seq IS 'Every event up to here was delivered, stands in deliveries, or is none of the sink''s';
COMMENT ON COLUMN sink_cursors.retired IS 'Set by hand for a sink that is used no more: orders are not measured by it';
COMMENT ON COLUMN sink_cursors.created_at IS 'When the row was written';
COMMENT ON COLUMN sink_cursors.updated_at IS 'When the row was last changed';

CREATE TABLE sink_progress (
    sink       text        NOT NULL,
    cell       smallint    NOT NULL,
    upto_seq   bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, cell, upto_seq)
);
COMMENT ON TABLE sink_progress IS 'When a sink got what: one row per move of its cursor, none per event';
COMMENT ON COLUMN sink_progress.sink IS 'As in sink_cursors';
COMMENT ON COLUMN sink_progress.cell IS 'Number of the cell';
COMMENT ON COLUMN sink_progress.upto_seq IS 'Where the cursor was moved to: what lies between the row before and here and is not in deliveries was delivered then';
COMMENT ON COLUMN sink_progress.created_at IS 'When the cursor was moved';
COMMENT ON COLUMN sink_progress.updated_at IS 'When the row was last changed';

CREATE TABLE deliveries (
    sink          text        NOT NULL,
    cell          smallint    NOT NULL,
    seq           bigint      NOT NULL,
    user_id       text COLLATE "C" NOT NULL,
    type          text        NOT NULL CHECK (type IN ('order-completed', 'order-cancelled', 'balance-changed', 'unreadable')),
    order_id      bigint,
    state         text        NOT NULL CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD', 'REPLAY')),
    attempts      integer     NOT NULL,
    last_error    text,
    next_retry_at timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, cell, seq)
) WITH (fillfactor = 70);
-- Few rows, however many there are.
CREATE INDEX deliveries_open ON deliveries (sink, cell, seq) WHERE state IN ('PENDING', 'REPLAY');
CREATE INDEX deliveries_dead ON deliveries (sink, cell, seq) WHERE state = 'DEAD';
COMMENT ON TABLE deliveries IS 'Events that could not be delivered at once: a row for each that failed, and for each that waits behind one of the same user';
COMMENT ON COLUMN deliveries.sink IS 'As in sink_cursors';
COMMENT ON COLUMN deliveries.cell IS 'Number of the cell';
COMMENT ON COLUMN deliveries.seq IS 'Sequence number of the event; what it says stands in event_log';
COMMENT ON COLUMN deliveries.user_id IS 'Whose event: his events are delivered in order';
COMMENT ON COLUMN deliveries.type IS 'order-completed: an order was paid. order-cancelled: an order was given up. balance-changed: a balance alone. unreadable: nobody can tell';
COMMENT ON COLUMN deliveries.order_id IS 'The order that it is about; NULL: none';
COMMENT ON COLUMN deliveries.state IS 'PENDING: waits for next_retry_at, and for earlier ones of the same user. DELIVERED: the sink has it. DEAD: given up, a person must look. REPLAY: a person wants it sent again';
COMMENT ON COLUMN deliveries.attempts IS 'How often it was sent; since it was last replayed';
COMMENT ON COLUMN deliveries.last_error IS 'Why it failed the last time; NULL: it has not been sent yet';
COMMENT ON COLUMN deliveries.next_retry_at IS 'When it is sent again; NULL: as soon as the earlier ones of the same user are done, or never again';
COMMENT ON COLUMN deliveries.created_at IS 'When the row was written';
COMMENT ON COLUMN deliveries.updated_at IS 'When the row was last changed; of a row that is DELIVERED, when it was';

CREATE TABLE replays (
    replay_key text        NOT NULL PRIMARY KEY,
    request    text        NOT NULL,
    replayed   bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE replays IS 'Requests of operators to send dead letters again, so that a repeat answers the same and does nothing';
COMMENT ON COLUMN replays.replay_key IS 'Operator and Idempotency-Key';
COMMENT ON COLUMN replays.request IS 'What was to be sent again: one dead letter, all of a sink, or all';
COMMENT ON COLUMN replays.replayed IS 'How many it was';
COMMENT ON COLUMN replays.created_at IS 'When it was done';
COMMENT ON COLUMN replays.updated_at IS 'When the row was last changed';

CREATE TABLE alerts (
    alert_id      bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text        NOT NULL CHECK (kind IN ('DEAD_LETTERS', 'ORDERS_HELD')),
    subject       text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('DUE', 'SENT')),
    attempts      integer     NOT NULL DEFAULT 0,
    last_error    text,
    next_retry_at timestamptz,
    cleared_at    timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
-- One at a time: what goes on is not told again.
CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX alerts_due ON alerts (alert_id) WHERE state = 'DUE';
COMMENT ON TABLE alerts IS 'What people are or were to be told over alert_webhook, once each';
COMMENT ON COLUMN alerts.alert_id IS 'Counts up';
COMMENT ON COLUMN alerts.kind IS 'DEAD_LETTERS: there are dead letters. ORDERS_HELD: orders or charges wait for the payment gateway for too long';
COMMENT ON COLUMN alerts.subject IS 'DEAD_LETTERS: the sink. ORDERS_HELD: empty';
COMMENT ON COLUMN alerts.state IS 'DUE: to be told. SENT: told';
COMMENT ON COLUMN alerts.attempts IS 'How often it was sent';
COMMENT ON COLUMN alerts.last_error IS 'Why it failed the last time';
COMMENT ON COLUMN alerts.next_retry_at IS 'When it is sent again; NULL: now, or never again';
COMMENT ON COLUMN alerts.cleared_at IS 'When the reason was gone; NULL: it is still there';
COMMENT ON COLUMN alerts.created_at IS 'When the reason was seen';
COMMENT ON COLUMN alerts.updated_at IS 'When the row was last changed';

ALTER TABLE restock_notifications
    DROP CONSTRAINT restock_notifications_state_check,
    ADD CONSTRAINT restock_notifications_state_check CHECK (state IN ('WAITING', 'DUE', 'SENT', 'DEAD')),
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN last_error text,
    ADD COLUMN next_retry_at timestamptz;
CREATE INDEX restock_notifications_due ON restock_notifications (cell, seq) WHERE state IN ('DUE', 'DEAD');
COMMENT ON COLUMN restock_notifications.state IS 'WAITING: for the product to be back. DUE: it is back, and the user is to be told. SENT: he was told. DEAD: telling him was given up, a person must look';
COMMENT ON COLUMN restock_notifications.attempts IS 'How often the notice was sent; since it was last replayed';
COMMENT ON COLUMN restock_notifications.last_error IS 'Why it failed the last time';
COMMENT ON COLUMN restock_notifications.next_retry_at IS 'When it is sent again; NULL: now, or never again';

-- The event that told of an order's present state, and what became of it at every sink. Nobody is told of an order that was
-- never paid nor cancelled.
CREATE VIEW order_sync AS
    SELECT o.order_id, o.user_id, o.status, told.seq AS told_seq,
        coalesce(s.synced, false) AS synced,
        CASE WHEN s.synced THEN s.synced_at END AS synced_at,
        coalesce(s.attempts, 0) AS sync_attempts,
        s.last_error AS last_sync_error,
        s.next_retry_at
    FROM orders o
    CROSS JOIN LATERAL (
        SELECT CASE WHEN o.status = 'CONFIRMED' THEN coalesce(o.confirmed_seq, o.seq)
                    WHEN o.status IN ('REFUNDED', 'CANCELLED') THEN o.released_seq END AS seq
    ) told
    CROSS JOIN LATERAL (
        SELECT bool_and(CASE WHEN d.state IS NOT NULL THEN d.state = 'DELIVERED' ELSE c.seq >= told.seq END) AS synced,
            max(CASE WHEN d.state IS NOT NULL THEN d.updated_at ELSE (
                SELECT p.created_at FROM sink_progress p
                WHERE p.sink = c.sink AND p.cell = c.cell AND p.upto_seq >= told.seq ORDER BY p.upto_seq LIMIT 1
            ) END) AS synced_at,
            max(coalesce(d.attempts, (c.seq >= told.seq)::integer)) AS attempts,
            (array_agg(d.last_error ORDER BY d.updated_at DESC) FILTER (WHERE d.last_error IS NOT NULL))[1] AS last_error,
            min(d.next_retry_at) AS next_retry_at
        FROM sink_cursors c
        LEFT JOIN deliveries d ON d.sink = c.sink AND d.cell = c.cell AND d.seq = told.seq
        WHERE c.cell = o.cell AND NOT c.retired AND told.seq IS NOT NULL
    ) s;
COMMENT ON VIEW order_sync IS 'Whether the data platform was told of the present state of each order, by every sink that is not retired';
