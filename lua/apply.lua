-- apply(KEYS, ARGV): one whole batch of ops, atomically.
--
-- KEYS, in this order:
--   1 meta  2 log  3 accounts  4 bought  5 stock  6 catalog  7 coupons  8 wallets  9 carts  10 open  11 due  12 restock
--   13..16 idem of the days first_idem_day .. first_idem_day + 3 (UTC days since 1970)
--   17..20 sales of the four business days that ARGV's `sales_days` names
-- ARGV[1]: MessagePack values one after the other, so that no table has to be made of them: epoch, acknowledged, not_after, nonce,
--   settings, and for each op its name, user, record, head and args; times in ms since 1970. `settings` and `args` are strings,
--   packed once more: [rules (see RULES), first_idem_day, sales_days [[day, starts, ends]]], by position, and the op's map of
--   arguments. `record` is the field of the idempotency record, `head` how the event of the op begins (see `emit`).
-- Answer: a list status, now_ms, seq, and for each op a kind (0 decided, 1 replayed, 2 refused) and a payload, packed: an event
--   [fingerprint, key, type, version, [fields]], or a refusal {code, details}. `status` is OPEN, or the reason why the gate is
--   closed and nothing happened; then now_ms is 0, and nothing follows seq.

local DECIDED, REPLAYED, REFUSED = 0, 1, 2

-- Where the idempotency records and the sales stand in KEYS: before the first of them.
local IDEM_KEYS, SALES_KEYS = 12, 16

-- A record of day D answers repeats until the end of D + 1 at least; the hour more is for nobody's clock but tidiness.
local IDEM_KEEP_S = 2 * 86400 + 3600
local SALES_KEEP_S = 30 * 86400

-- The business rules in the order in which they travel: that of the struct `Rules` in `src/engine/batch.rs`.
local RULES = { 'charge_unit', 'charge_max', 'balance_max', 'open_charges_max', 'open_orders_max', 'items_max', 'quantity_max',
  'reservation_ttl_ms', 'cancel_window_ms', 'recovery_ms', 'restock_threshold', 'backlog_max' }

-- The last settings, packed and unpacked: they change once a day, and unpacking them would cost every batch as much as an
-- order. Nothing but the sender's own words is remembered, so it does not matter when this is lost.
local settings_packed, settings_unpacked

local function settings_of(packed)
  if packed ~= settings_packed then
    local fields = cmsgpack.unpack(packed)
    local rules, sales_days = {}, {}
    for i, name in ipairs(RULES) do
      rules[name] = fields[1][i]
    end
    for i, day in ipairs(fields[3]) do
      sales_days[i] = { day = day[1], starts = day[2], ends = day[3] }
    end
    settings_packed = packed
    settings_unpacked = { rules = rules, first_idem_day = fields[2], sales_days = sales_days }
  end
  return settings_unpacked
end

-- The columns that few batches touch: name → place in KEYS. They are made when an op asks for them.
local RARE = { coupons = 7, wallets = 8, carts = 9, open = 10, restock = 12 }

-- The context of one batch: the clock, meta, the columns, and what the ops added up. nil when this server's idea of
-- the day is more than a day away from the clock of Redis: then the right keys were not brought.
local function new_context(keys, packed_settings, meta)
  local now, settings = now_ms(), settings_of(packed_settings)
  -- The day of the records never goes back: a clock set back over midnight would look for them in the wrong days.
  local clock = math.max(now, meta.clock)
  local day = math.floor(clock / DAY_MS) - settings.first_idem_day
  if day < 1 or day > 3 then
    return nil
  end
  local ctx = {
    now_ms = now, now_packed = cmsgpack.pack(now), clock_ms = clock, meta = meta, seq = meta.seq, rules = settings.rules,
    events = {}, event_count = 0, lines = {}, sums = {},
    sold = {}, unsold = {}, sales_keys = {}, due = { key = keys[11], changed = {} },
    accounts = column(keys[3], decode_account, encode_account),
    bought = column(keys[4], tonumber),
    stock = column(keys[5], tonumber),
    catalog = column(keys[6], cmsgpack.unpack, cmsgpack.pack),
    idem_yesterday = column(keys[IDEM_KEYS + day]),
    idem_today = column(keys[IDEM_KEYS + day + 1]),
    idem_expires_s = (settings.first_idem_day + day) * DAY_MS / 1000 + IDEM_KEEP_S,
  }
  setmetatable(ctx, { __index = function(_, name)
    local place = RARE[name]
    if place then
      -- In `open` stand events, packed once and for all.
      local rare = name == 'open' and column(keys[place]) or column(keys[place], cmsgpack.unpack, cmsgpack.pack)
      rawset(ctx, name, rare)
      return rare
    end
  end })
  -- Not the first: a refund corrects the day of its sale, which is the day before at the earliest.
  for i, sales in ipairs(settings.sales_days) do
    ctx.sales_keys[sales.day] = keys[SALES_KEYS + i]
    if i > 1 and now >= sales.starts and now < sales.ends then
      ctx.business_day = sales.day
      ctx.sales_expires_s = math.floor(sales.ends / 1000) + SALES_KEEP_S
    end
  end
  return ctx.business_day and ctx or nil
end

-- The calls of a batch, from place `at` of the payload on, and how many they are. In a rush most of them have the same arguments,
-- which are unpacked once: ops do not change what they get.
local function read_calls(payload, at)
  local calls, count, args_of, unpack_limit = {}, 0, {}, cmsgpack.unpack_limit
  while at ~= -1 do
    local name, user, record, head, packed
    at, name, user, record, head, packed = unpack_limit(payload, 5, at)
    local args = args_of[packed]
    if not args then
      args = cmsgpack.unpack(packed)
      args_of[packed] = args
    end
    count = count + 1
    calls[count] = { op = ops[name], user = user, record = record, head = head, args = args }
  end
  return calls, count
end

-- Reads the idempotency records of all calls: today's and yesterday's. By hand, because every op of every batch has them.
local function fetch_records(ctx, calls, count)
  local fields, records = {}, ctx.idem_today.value
  for i = 1, count do
    fields[i] = calls[i].record
  end
  for first = 1, count, CHUNK_FIELDS do
    local last = math.min(first + CHUNK_FIELDS - 1, count)
    local of_today = redis.call('HMGET', ctx.idem_today.key, unpack(fields, first, last))
    local of_yesterday = redis.call('HMGET', ctx.idem_yesterday.key, unpack(fields, first, last))
    for i = first, last do
      records[fields[i]] = of_today[i - first + 1] or of_yesterday[i - first + 1]
    end
  end
end

-- Whether any product that was fetched has a limit per user.
local function any_limit(catalog)
  for _, product in pairs(catalog.value) do
    if product and product.limit then
      return true
    end
  end
  return false
end

-- One op: a repeat is answered from its record, a new one is decided. Returns kind and packed payload.
local function decide(ctx, call)
  local record = ctx.idem_today.value[call.record]
  if record then
    if fingerprint_of(record) ~= fingerprint_of(call.head) then
      return REFUSED, cmsgpack.pack({ code = 'IDEMPOTENCY_KEY_REUSED', details = {} })
    end
    return REPLAYED, record
  end
  local op = call.op
  -- What was begun must come to its end: as much as is open may go beyond the cap.
  if ctx.seq - ctx.meta.committed >= ctx.rules.backlog_max and not op.ends_what_is_open then
    return REFUSED, cmsgpack.pack({ code = 'BACKLOG_FULL', details = {} })
  end
  local event, refusal, settled = op.decide(ctx, call)
  if refusal then
    return REFUSED, cmsgpack.pack(refusal)
  elseif settled then
    -- What it asks for happened earlier, under another key: that event answers it.
    return REPLAYED, settled
  end
  set(ctx.idem_today, call.record, event)
  return DECIDED, event
end

-- The columns that a batch may have changed, `due` and the sales apart.
local STORED = { 'accounts', 'bought', 'stock', 'catalog', 'coupons', 'wallets', 'carts', 'open', 'restock', 'idem_today' }

-- Units that were sold today, and less those that were refunded, each on the day of its sale.
local function store_sales(ctx)
  for product_id, quantity in pairs(ctx.sold) do
    redis.call('ZINCRBY', ctx.sales_keys[ctx.business_day], quantity, product_id)
  end
  if next(ctx.sold) then
    redis.call('EXPIREAT', ctx.sales_keys[ctx.business_day], ctx.sales_expires_s, 'NX')
  end
  for day, products in pairs(ctx.unsold) do
    for product_id, quantity in pairs(products) do
      redis.call('ZINCRBY', ctx.sales_keys[day], -quantity, product_id)
    end
    redis.call('ZREMRANGEBYSCORE', ctx.sales_keys[day], '-inf', 0)
  end
end

local function store_columns(keys, ctx, nonce)
  local meta = ctx.meta
  for _, name in ipairs(STORED) do
    local col = rawget(ctx, name)
    if col and next(col.changed) then
      store(col)
    end
  end
  redis.call('EXPIREAT', ctx.idem_today.key, ctx.idem_expires_s, 'NX')
  store_due(ctx.due)
  store_sales(ctx)
  redis.call('HSET', keys[1], 'seq', ctx.seq, 'nonce', nonce, 'clock', ctx.clock_ms,
    'product_last', meta.product_last, 'coupon_last', meta.coupon_last, 'catalog_version', meta.catalog_version)
end

-- Writes everything the batch decided. An entry of the log has the fields prev and nonce (of the batch before and of this
-- one) and events (packed one after the other). The log comes first: an XADD that fails after an HSET would leave money moved
-- without a log entry. A write is not rolled back on an error, so should a column fail after the log was written
-- (somebody changed the type of a key), the cell is fenced: nobody may act on a half-written state.
local function store_batch(keys, ctx, nonce)
  redis.call('XADD', keys[2], decimal(ctx.meta.seq + 1) .. '-0',
    'prev', ctx.meta.nonce, 'nonce', nonce, 'events', table.concat(ctx.events))
  local stored, failure = pcall(store_columns, keys, ctx, nonce)
  if not stored then
    redis.call('HSET', keys[1], 'fenced', 'a column could not be stored after the log was')
    -- The caller must not take this for "nothing was done": see HALF_STORED in the lane.
    error('HALF_STORED ' .. tostring(failure))
  end
end

local function apply(keys, argv)
  local at, epoch, acknowledged, not_after, nonce, settings = cmsgpack.unpack_limit(argv[1], 5, 0)
  local meta, closed = check_gate(keys[1], epoch, acknowledged)
  if closed then
    return { closed, 0, meta.seq }
  end
  -- A sending that was held up on its way must not take effect when everybody has given it up.
  if now_ms() > not_after then
    return { 'LATE', 0, meta.seq }
  end
  local ctx = new_context(keys, settings, meta)
  if not ctx then
    return { 'CLOCK', 0, meta.seq }
  end

  local calls, count = read_calls(argv[1], at)
  fetch_records(ctx, calls, count)
  for i = 1, count do
    local call = calls[i]
    call.op.want(ctx, call)
  end
  fetch(ctx.idem_today)
  fetch(ctx.idem_yesterday)
  fetch(ctx.accounts)
  fetch(ctx.catalog)
  for name in pairs(RARE) do
    local rare = rawget(ctx, name)
    if rare then
      fetch(rare)
    end
  end
  if any_limit(ctx.catalog) then
    for i = 1, count do
      local call = calls[i]
      local want_after_catalog = call.op.want_after_catalog
      if want_after_catalog then
        want_after_catalog(ctx, call)
      end
    end
  end
  fetch(ctx.stock)
  fetch(ctx.bought)

  -- A list without holes from the beginning, or Lua would keep it as a map.
  local answer = { 'OPEN', ctx.now_ms, 0 }
  for i = 1, count do
    answer[2 * i + 2], answer[2 * i + 3] = decide(ctx, calls[i])
  end
  answer[3] = ctx.seq
  if ctx.event_count > 0 then
    store_batch(keys, ctx, nonce)
  end
  return answer
end
