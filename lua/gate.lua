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
local function check_gate(meta_key, epoch)
  local raw = redis.call('HMGET', meta_key, 'epoch', 'run_id', 'seq', 'committed', 'nonce', 'fenced',
    'product_last', 'catalog_version')
  local meta = {
    epoch = tonumber(raw[1] or 0),
    run_id = raw[2] or '',
    seq = tonumber(raw[3] or 0),
    committed = tonumber(raw[4] or 0),
    nonce = raw[5] or '',
    fenced = raw[6] or '',
    product_last = tonumber(raw[7] or 0),
    catalog_version = tonumber(raw[8] or 0),
  }
  if not raw[1] then
    return meta, 'EMPTY'
  elseif raw[6] then
    return meta, 'FENCED'
  elseif meta.run_id ~= run_id() then
    return meta, 'RESTARTED'
  elseif meta.epoch ~= epoch then
    return meta, 'EPOCH'
  end
  return meta, nil
end

-- Log, epochs and ids are numbers beyond the 14 digits that `..` keeps.
local function decimal(number)
  return string.format('%.0f', number)
end
