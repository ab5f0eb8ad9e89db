-- A column is a Redis hash from id to value, as one batch sees it: fetched once, read and changed in plain Lua,
-- stored once. `value[field]` is nil when the field was never asked for and false when Redis has none. What every order of a
-- rush does reads `value` itself, and asks `get` when it is nil: a call costs Lua as much as ten lookups.

-- `unpack` takes 7,990 values (Redis 7.0); a fetch or a store goes in chunks below that.
local CHUNK_FIELDS = 3500

-- `encode` is nil where Redis takes the values as they are. Lists carry their length: `#` searches for it.
local function column(key, decode, encode)
  return { key = key, decode = decode, encode = encode, value = {}, wanted = {}, wanted_count = 0, changed = {} }
end

-- Says that `field` will be needed. Only an optimisation: `get` fetches what nobody wanted.
local function want(col, field)
  local value = col.value
  if value[field] == nil then
    value[field] = false
    local count = col.wanted_count + 1
    col.wanted[count], col.wanted_count = field, count
  end
end

-- Reads every wanted field with one HMGET (or one per chunk).
local function fetch(col)
  local wanted, count, value, decode = col.wanted, col.wanted_count, col.value, col.decode
  for first = 1, count, CHUNK_FIELDS do
    local last = math.min(first + CHUNK_FIELDS - 1, count)
    local raw = redis.call('HMGET', col.key, unpack(wanted, first, last))
    for i = first, last do
      local found = raw[i - first + 1]
      if found then
        value[wanted[i]] = decode and decode(found) or found
      end
    end
  end
  col.wanted, col.wanted_count = {}, 0
end

-- The value of `field`, or false.
local function get(col, field)
  local found = col.value[field]
  if found == nil then
    want(col, field)
    fetch(col)
    found = col.value[field]
  end
  return found
end

-- Sets `field` for the rest of the batch and for the store at its end; false removes it.
local function set(col, field, new)
  col.value[field], col.changed[field] = new, true
end

-- Writes what changed: one HSET and one HDEL (or one per chunk). Call it only when every decision is made.
local function store(col)
  local key, value, encode = col.key, col.value, col.encode
  local pairs_set, set_count, removed, removed_count = {}, 0, {}, 0
  for field in next, col.changed do
    local new = value[field]
    if new == false then
      removed_count = removed_count + 1
      removed[removed_count] = field
    else
      pairs_set[set_count + 1] = field
      set_count = set_count + 2
      pairs_set[set_count] = encode and encode(new) or new
    end
  end
  for first = 1, set_count, 2 * CHUNK_FIELDS do
    redis.call('HSET', key, unpack(pairs_set, first, math.min(first + 2 * CHUNK_FIELDS - 1, set_count)))
  end
  for first = 1, removed_count, CHUNK_FIELDS do
    redis.call('HDEL', key, unpack(removed, first, math.min(first + CHUNK_FIELDS - 1, removed_count)))
  end
end
