-- What the keeper of the gate, the writer and the sweeper tell a cell.

-- open_epoch: KEYS meta; ARGV epoch, expected run id of this server, expected seq. Opens the cell under a new epoch.
-- Answers '1', or '0' when anything is no longer what the caller looked at.
local function open_epoch(keys, argv)
  local meta = check_gate(keys[1], 0, 0)
  if run_id() ~= argv[2] or meta.seq ~= tonumber(argv[3]) or meta.epoch >= tonumber(argv[1]) or meta.fenced ~= '' then
    return '0'
  end
  redis.call('HSET', keys[1], 'epoch', argv[1], 'run_id', argv[2], 'seq', argv[3])
  return '1'
end

-- note_committed: KEYS meta, log; ARGV seq committed in PostgreSQL, seq below which the log may be trimmed (0: nothing).
-- Answers '1', or '0' when this Redis is not the one that was read (the cell is missing or behind).
local function note_committed(keys, argv)
  local committed, trim_below = tonumber(argv[1]), tonumber(argv[2])
  local meta = check_gate(keys[1], 0, 0)
  if meta.epoch == 0 or committed > meta.seq then
    return '0'
  end
  if committed > meta.committed then
    redis.call('HSET', keys[1], 'committed', argv[1])
  end
  if trim_below > 0 then
    redis.call('XTRIM', keys[2], 'MINID', decimal(math.min(trim_below, committed + 1)) .. '-0')
  end
  return '1'
end

-- Pause after which a reservation whose time is over is handed out again, in ms.
local EXPIRE_AGAIN_MS = 5000

-- take_due: KEYS meta, due, open; ARGV epoch, acknowledged, how many at most, least and longest pause in ms. Hands out what is due and moves its
-- deadline on, so that a second sweeper does not do the same work, and what cannot be finished comes again: as long after now
-- as it has been open since its last change, within the bounds. value: list of packed events, the last of each.
local function take_due(keys, argv)
  local meta, closed = check_gate(keys[1], tonumber(argv[1]), tonumber(argv[2]))
  if closed then
    return cmsgpack.pack({ closed, 0, meta.seq, {} })
  end
  local now, least, longest, events = now_ms(), tonumber(argv[4]), tonumber(argv[5]), {}
  for _, id in ipairs(redis.call('ZRANGE', keys[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, argv[3])) do
    local event = redis.call('HGET', keys[3], id)
    if event then
      local fields = cmsgpack.unpack(event)[5]
      local pause = math.min(math.max(now - fields[2], least), longest)
      if fields[4] == 'PENDING_PAYMENT' then
        pause = EXPIRE_AGAIN_MS
      end
      redis.call('ZADD', keys[2], now + pause, id)
      events[#events + 1] = event
    else
      redis.call('ZREM', keys[2], id)
    end
  end
  return cmsgpack.pack({ 'OPEN', now, meta.seq, events })
end
