-- What the keeper of the gate and the writer tell a cell.

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
