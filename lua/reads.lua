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

-- KEYS meta, log; ARGV epoch, acknowledged, seq. value: the packed events of the entry that `seq` belongs to, '' when trimmed.
local function read_log(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  if closed then
    return answer_read(meta, closed, '')
  end
  local entries = redis.call('XREVRANGE', keys[2], argv[3] .. '-0', '-', 'COUNT', 1)
  return answer_read(meta, closed, entries[1] and entries[1][2][6] or '')
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
