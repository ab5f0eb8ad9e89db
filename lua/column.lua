-- A column is a Redis hash from id to value, as one batch sees it: fetched once, read and changed in plain Lua,
-- stored once. `value[field]` is nil when the field was never asked for and false when Redis has none.

-- `unpack` takes 7,990 values (Redis 7.0); a fetch or a store goes in chunks below that.
local CHUNK_FIELDS = 3500

-- `encode` is nil where Redis takes the values as they are. Lists carry their length: `#` searches for it.
local function column(key, decode, encode)
  return { key = key, decode = decode, encode = encode, value = {}, wanted = {}, wanted_count = 0, is_changed = {},
    changed = {}, changed_count = 0 }
end

-- Says that `field` will be needed. Only an optimisation: `get` fetches what nobody wanted.
local function want(col, field)
  if col.value[field] == nil then
    local count = col.wanted_count + 1
    col.value[field] = false
    col.wanted[count] = field
    col.wanted_count = count
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
  col.value[field] = new
  if not col.is_changed[field] then
    local count = col.changed_count + 1
    col.is_changed[field] = true
    col.changed[count] = field
    col.changed_count = count
  end
end

-- Writes what changed: one HSET and one HDEL (or one per chunk). Call it only when every decision is made.
local function store(col)
  local changed, count, value, encode = col.changed, col.changed_count, col.value, col.encode
  for first = 1, count, CHUNK_FIELDS do
    local last = math.min(first + CHUNK_FIELDS - 1, count)
    local pairs_set, set_count, removed = {}, 0, {}
    for i = first, last do
      local field = changed[i]
      local new = value[field]
      if new == false then
        removed[#removed + 1] = field
      else
        pairs_set[set_count + 1] = field
        pairs_set[set_count + 2] = encode and encode(new) or new
        set_count = set_count + 2
      end
    end
    if set_count > 0 then
      redis.call('HSET', col.key, unpack(pairs_set))
    end
    if #removed > 0 then
      redis.call('HDEL', col.key, unpack(removed))
    end
  end
end
