-- Reads, behind the same gate as writes: what a restarted or emptied Redis says is not an answer.
-- Each answers MessagePack [status, now_ms, seq, value]; `value` is empty when the gate is closed.

local function answer_read(meta, closed, value)
  if closed then
    return cmsgpack.pack({ closed, 0, meta.seq, {} })
  end
  return cmsgpack.pack({ 'OPEN', now_ms(), meta.seq, value })
end

-- KEYS meta, accounts; ARGV epoch, acknowledged, user. value: {balance, used}.
local function read_account(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  local raw = not closed and redis.call('HGET', keys[2], argv[3])
  return answer_read(meta, closed, raw and cmsgpack.unpack(raw) or { balance = 0, used = 0 })
end

-- KEYS meta, coupons; ARGV epoch, acknowledged. value: flat list coupon, packed coupon.
local function read_coupons(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  return answer_read(meta, closed, not closed and redis.call('HGETALL', keys[2]))
end

-- KEYS meta, wallets; ARGV epoch, acknowledged, user. value: what the user holds: map coupon → {id, issued, expires, order?}.
local function read_wallet(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  local raw = not closed and redis.call('HGET', keys[2], argv[3])
  return answer_read(meta, closed, raw and cmsgpack.unpack(raw) or {})
end

-- KEYS meta, carts, catalog; ARGV epoch, acknowledged, user. value: list of [product, name, price, quantity].
local function read_cart(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  local raw = not closed and redis.call('HGET', keys[2], argv[3])
  local lines = {}
  for i, item in ipairs(raw and cmsgpack.unpack(raw) or {}) do
    local product = cmsgpack.unpack(redis.call('HGET', keys[3], item.product))
    lines[i] = { item.product, product.name, product.price, item.quantity }
  end
  return answer_read(meta, closed, lines)
end

-- KEYS meta, catalog, coupons, wallets; ARGV epoch, acknowledged, user, packed {coupons, items? [{product, quantity}], amount?}: what an
-- order would cost, by the rules of an order. value: {total, discount}, or the refusal {code, details}.
local function read_quote(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  if closed then
    return answer_read(meta, closed, {})
  end
  local asked, ctx = cmsgpack.unpack(argv[4]), {
    now_ms = now_ms(),
    catalog = column(keys[2], cmsgpack.unpack),
    coupons = column(keys[3], cmsgpack.unpack),
    wallets = column(keys[4], cmsgpack.unpack),
  }
  local items, amounts, total = asked.items or {}, {}, asked.amount or 0
  for i, item in ipairs(items) do
    local product = sellable(ctx, item.product)
    if not product then
      return answer_read(meta, closed, { code = 'PRODUCT_NOT_FOUND', details = { productId = item.product } })
    end
    amounts[i] = product.price * item.quantity
    total = total + amounts[i]
  end
  if total > NUMBER_MAX then
    return answer_read(meta, closed, { code = 'INVALID_INPUT', details = { reason = 'the amount is too large' } })
  end
  local discount, refusal = discounts_of(ctx, argv[3], asked.coupons, items, amounts, total)
  return answer_read(meta, closed, discount and { total = total, discount = discount } or refusal)
end

-- KEYS meta, open, log, idem of some days; ARGV epoch, acknowledged, seq, name of the internal record. value: the last event that is known
-- of the order or charge that event `seq` started: what is open, else what was recorded, else packed events of the log's
-- entry that `seq` belongs to; '' when none has it.
local function read_last(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  if closed then
    return answer_read(meta, closed, '')
  end
  local event, newest = redis.call('HGET', keys[2], argv[3]), ''
  for i = #keys, 4, -1 do
    event = event or redis.call('HGET', keys[i], argv[4])
  end
  if not event then
    local entry = redis.call('XREVRANGE', keys[3], argv[3] .. '-0', '-', 'COUNT', 1)[1]
    newest = entry and entry[2][6] or ''
  end
  return answer_read(meta, closed, event or newest)
end

-- KEYS meta, a column; ARGV epoch, acknowledged, cursor, about how many fields. value: [next cursor, flat list field, value]; the
-- answer's sequence number says as of when. For comparing a column with PostgreSQL.
local function read_column(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  return answer_read(meta, closed, not closed and redis.call('HSCAN', keys[2], argv[3], 'COUNT', argv[4]))
end

-- KEYS meta, a column; ARGV epoch, acknowledged, fields (at least one; `unpack` bounds them). value: flat list field, value of those that
-- exist. For looking again at what changed while a column was compared, and for what PostgreSQL has and a column may lack.
local function read_fields(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  local found, count = {}, 0
  if not closed then
    for i, value in ipairs(redis.call('HMGET', keys[2], unpack(argv, 3))) do
      if value then
        found[count + 1], found[count + 2] = argv[i + 2], value
        count = count + 2
      end
    end
  end
  return answer_read(meta, closed, found)
end

-- KEYS meta, due, open; ARGV epoch, acknowledged, cursor, about how many, 'due' or 'open': which of the two to walk through.
-- value: [next cursor, how many were looked at, list of the ids among them that the other one lacks]. Both are looked at in one moment,
-- so what is on its way between them does not count.
local function read_unmatched(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  if closed then
    return answer_read(meta, closed, {})
  end
  local by_due = argv[5] == 'due'
  local part = redis.call(by_due and 'ZSCAN' or 'HSCAN', keys[by_due and 2 or 3], argv[3], 'COUNT', argv[4])
  local members, lacking = part[2], {}
  for i = 1, #members, 2 do
    local other
    if by_due then
      other = redis.call('HEXISTS', keys[3], members[i]) == 1
    else
      other = redis.call('ZSCORE', keys[2], members[i])
    end
    if not other then
      lacking[#lacking + 1] = members[i]
    end
  end
  return answer_read(meta, closed, { part[1], #members / 2, lacking })
end

-- KEYS meta, catalog, stock; ARGV epoch, acknowledged, the catalogue version the caller has (-1: none).
-- value: [version, flat list product, packed product (empty when the version is the caller's), flat list product, stock].
local function read_products(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  if closed then
    return answer_read(meta, closed, {})
  end
  local catalog = {}
  if meta.catalog_version ~= tonumber(argv[3]) then
    catalog = redis.call('HGETALL', keys[2])
  end
  return answer_read(meta, closed, { meta.catalog_version, catalog, redis.call('HGETALL', keys[3]) })
end

-- KEYS meta, sales of one or more days; ARGV epoch, acknowledged. value: flat list product, units sold.
local function read_sales(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  if closed then
    return answer_read(meta, closed, {})
  end
  local days = {}
  for i = 2, #keys do
    days[i - 1] = keys[i]
  end
  days[#days + 1] = 'WITHSCORES'
  return answer_read(meta, closed, redis.call('ZUNION', #keys - 1, unpack(days)))
end

-- KEYS meta, log. Answer: MessagePack {now, server_run_id, epoch, run_id, seq, committed, nonce, fenced, log_first, …}, where
-- log_first is the first sequence number that the log still has (the next one when it is empty). Not gated: it is how the
-- gate is watched and opened again.
local function status(keys)
  local meta = check_gate(keys[1], 0, 0)
  meta.now = now_ms()
  meta.server_run_id = run_id()
  local first = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 1)[1]
  meta.log_first = first and tonumber(string.match(first[1], '^%d+')) or meta.seq + 1
  return cmsgpack.pack(meta)
end

-- KEYS meta, log. Answer: MessagePack {entries, events, ms}: how much the log holds, how many events PostgreSQL
-- does not have yet, and how old the first of them is. Not gated: it is about the log as it is.
local function read_lag(keys)
  local meta = check_gate(keys[1], 0, 0)
  local lag = { entries = redis.call('XLEN', keys[2]), events = meta.seq - meta.committed, ms = 0 }
  if lag.events > 0 then
    local oldest = redis.call('XRANGE', keys[2], decimal(meta.committed + 1) .. '-0', '+', 'COUNT', 1)[1]
    if oldest then
      local _, event = cmsgpack.unpack_one(oldest[2][6])
      lag.ms = math.max(0, now_ms() - event[5][2])
    end
  end
  return cmsgpack.pack(lag)
end
