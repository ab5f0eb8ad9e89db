-- The gate: may this call act on this Redis at all? A call is let in only if its epoch is meta's, the cell is not
-- fenced, and this server process is the one the epoch was opened on. So a restart, a failover or an emptied Redis
-- closes the cell by itself, for every instance alike, on the first call.

-- Asked once per Redis process: a library's locals live exactly as long as the process.
local server_run_id

local function run_id()
  if not server_run_id then
    server_run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  end
  return server_run_id
end

-- Returns meta as a table, and the reason (a constant of the Rust enum `ClosedReason`) when the gate is closed.
-- `acknowledged` is the highest sequence number that the caller was ever told (0: do not check): a Redis that has less
-- has lost what was answered, whatever its run_id says (a replica may have been master in between).
local function check_gate(meta_key, epoch, acknowledged)
  local raw = redis.call('HMGET', meta_key, 'epoch', 'run_id', 'seq', 'committed', 'nonce', 'fenced',
    'product_last', 'catalog_version', 'clock', 'coupon_last')
  local meta = {
    epoch = tonumber(raw[1] or 0),
    run_id = raw[2] or '',
    seq = tonumber(raw[3] or 0),
    committed = tonumber(raw[4] or 0),
    nonce = raw[5] or '',
    fenced = raw[6] or '',
    product_last = tonumber(raw[7] or 0),
    catalog_version = tonumber(raw[8] or 0),
    clock = tonumber(raw[9] or 0),
    coupon_last = tonumber(raw[10] or 0),
  }
  if not raw[1] then
    return meta, 'EMPTY'
  elseif raw[6] then
    return meta, 'FENCED'
  elseif meta.run_id ~= run_id() then
    return meta, 'RESTARTED'
  elseif meta.epoch ~= epoch then
    return meta, 'EPOCH'
  elseif meta.seq < acknowledged then
    return meta, 'BEHIND'
  end
  return meta, nil
end

-- Log, epochs and ids are numbers beyond the 14 digits that `..` keeps.
local function decimal(number)
  return string.format('%.0f', number)
end
