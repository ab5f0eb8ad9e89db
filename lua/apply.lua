-- apply(KEYS, ARGV): one whole batch of ops, atomically.
--
-- KEYS, in this order:
--   1 meta  2 log  3 accounts  4 bought  5 stock  6 catalog
--   7..10 idem of the days first_idem_day .. first_idem_day + 3 (UTC days since 1970)
--   11..13 sales of the three business days that ARGV's `sales_days` names
-- ARGV[1]: MessagePack {epoch, acknowledged, not_after, nonce, rules {charge_unit, charge_max, balance_max, backlog_max},
--   first_idem_day, sales_days [{day, starts, ends}], ops [{op, user, key, fingerprint, args}]}; times in ms since 1970.
-- Answer: MessagePack [status, now_ms, seq, results]. `status` is OPEN, or the reason why the gate is closed and nothing
--   happened. `results` is flat: for each op a kind (0 decided, 1 replayed, 2 refused) and a packed payload (an event
--   [fingerprint, key, type, version, [fields]], or a refusal {code, details}).

local DECIDED, REPLAYED, REFUSED = 0, 1, 2

local DAY_MS = 86400000

-- A record of day D answers repeats until the end of D + 1 at least; the hour more is for nobody's clock but tidiness.
local IDEM_KEEP_S = 2 * 86400 + 3600
local SALES_KEEP_S = 30 * 86400

-- The context of one batch: the clock, meta, the columns, and what the ops added up. nil when this server's idea of
-- the day is more than a day away from the clock of Redis: then the right keys were not brought.
local function new_context(keys, batch, meta)
  local now = now_ms()
  -- The day of the records never goes back: a clock set back over midnight would look for them in the wrong days.
  local clock = math.max(now, meta.clock)
  local day = math.floor(clock / DAY_MS) - batch.first_idem_day
  if day < 1 or day > 3 then
    return nil
  end
  local ctx = {
    now_ms = now, clock_ms = clock, meta = meta, seq = meta.seq, rules = batch.rules, events = {}, event_count = 0, sold = {},
    accounts = column(keys[3], cmsgpack.unpack, cmsgpack.pack),
    bought = column(keys[4], tonumber),
    stock = column(keys[5], tonumber),
    catalog = column(keys[6], cmsgpack.unpack, cmsgpack.pack),
    idem_yesterday = column(keys[6 + day]),
    idem_today = column(keys[7 + day]),
    idem_expires_s = (batch.first_idem_day + day) * DAY_MS / 1000 + IDEM_KEEP_S,
  }
  for i, sales in ipairs(batch.sales_days) do
    if now >= sales.starts and now < sales.ends then
      ctx.business_day = sales.day
      ctx.sales_key = keys[10 + i]
      ctx.sales_expires_s = math.floor(sales.ends / 1000) + SALES_KEEP_S
      return ctx
    end
  end
  return nil
end

-- One op: a repeat is answered from its record, a new one is decided. Returns kind and packed payload.
local function decide(ctx, call)
  local record = get(ctx.idem_today, call.record) or get(ctx.idem_yesterday, call.record)
  if record then
    if fingerprint_of(record) ~= call.fingerprint then
      return REFUSED, cmsgpack.pack({ code = 'IDEMPOTENCY_KEY_REUSED', details = {} })
    end
    return REPLAYED, record
  end
  if ctx.seq - ctx.meta.committed >= ctx.rules.backlog_max then
    return REFUSED, cmsgpack.pack({ code = 'BACKLOG_FULL', details = {} })
  end
  local event, refusal = ops[call.op].decide(ctx, call)
  if refusal then
    return REFUSED, cmsgpack.pack(refusal)
  end
  set(ctx.idem_today, call.record, event)
  return DECIDED, event
end

local function store_columns(keys, ctx, batch)
  local meta = ctx.meta
  store(ctx.accounts)
  store(ctx.bought)
  store(ctx.stock)
  store(ctx.catalog)
  store(ctx.idem_today)
  redis.call('EXPIREAT', ctx.idem_today.key, ctx.idem_expires_s, 'NX')
  local sold_any = false
  for product_id, quantity in pairs(ctx.sold) do
    redis.call('ZINCRBY', ctx.sales_key, quantity, product_id)
    sold_any = true
  end
  if sold_any then
    redis.call('EXPIREAT', ctx.sales_key, ctx.sales_expires_s, 'NX')
  end
  redis.call('HSET', keys[1], 'seq', ctx.seq, 'nonce', batch.nonce, 'clock', ctx.clock_ms,
    'product_last', meta.product_last, 'catalog_version', meta.catalog_version)
end

-- Writes everything the batch decided. An entry of the log has the fields prev and nonce (of the batch before and of this
-- one) and events (packed one after the other). The log comes first: an XADD that fails after an HSET would leave money moved
-- without a log entry. A write is not rolled back on an error, so should a column fail after the log was written
-- (somebody changed the type of a key), the cell is fenced: nobody may act on a half-written state.
local function store_batch(keys, ctx, batch)
  redis.call('XADD', keys[2], decimal(ctx.meta.seq + 1) .. '-0',
    'prev', ctx.meta.nonce, 'nonce', batch.nonce, 'events', table.concat(ctx.events))
  local stored, failure = pcall(store_columns, keys, ctx, batch)
  if not stored then
    redis.call('HSET', keys[1], 'fenced', 'a column could not be stored after the log was')
    -- The caller must not take this for "nothing was done": see HALF_STORED in the lane.
    error('HALF_STORED ' .. tostring(failure))
  end
end

local function apply(keys, argv)
  local batch = cmsgpack.unpack(argv[1])
  local meta, closed = check_gate(keys[1], batch.epoch, batch.acknowledged)
  if closed then
    return cmsgpack.pack({ closed, 0, meta.seq, {} })
  end
  -- A sending that was held up on its way must not take effect when everybody has given it up.
  if now_ms() > batch.not_after then
    return cmsgpack.pack({ 'LATE', 0, meta.seq, {} })
  end
  local ctx = new_context(keys, batch, meta)
  if not ctx then
    return cmsgpack.pack({ 'CLOCK', 0, meta.seq, {} })
  end

  for _, call in ipairs(batch.ops) do
    local record = call.user .. ' ' .. call.key
    call.record = record
    want(ctx.idem_today, record)
    want(ctx.idem_yesterday, record)
    ops[call.op].want(ctx, call)
  end
  fetch(ctx.idem_today)
  fetch(ctx.idem_yesterday)
  fetch(ctx.accounts)
  fetch(ctx.catalog)
  for _, call in ipairs(batch.ops) do
    local want_after_catalog = ops[call.op].want_after_catalog
    if want_after_catalog then
      want_after_catalog(ctx, call)
    end
  end
  fetch(ctx.stock)
  fetch(ctx.bought)

  local results = {}
  for i, call in ipairs(batch.ops) do
    results[2 * i - 1], results[2 * i] = decide(ctx, call)
  end
  if ctx.event_count > 0 then
    store_batch(keys, ctx, batch)
  end
  return cmsgpack.pack({ 'OPEN', ctx.now_ms, ctx.seq, results })
end
