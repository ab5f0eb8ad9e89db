-- A column is a Redis hash from id to value, as one batch sees it: fetched once, read and changed in plain Lua,
-- stored once. `value[field]` is nil when the field was never asked for and false when Redis has none.

-- `unpack` takes 7,990 values (Redis 7.0); a fetch or a store goes in chunks below that.
local CHUNK_FIELDS = 3500

local function column(key, decode, encode)
  return { key = key, decode = decode, encode = encode, value = {}, wanted = {}, dirty = {}, changed = {} }
end

-- Says that `field` will be needed. Only an optimisation: `get` fetches what nobody wanted.
local function want(col, field)
  if col.value[field] == nil then
    col.value[field] = false
    col.wanted[#col.wanted + 1] = field
  end
end

-- Reads every wanted field with one HMGET (or one per chunk).
local function fetch(col)
  local wanted, value, decode = col.wanted, col.value, col.decode
  for first = 1, #wanted, CHUNK_FIELDS do
    local last = math.min(first + CHUNK_FIELDS - 1, #wanted)
    local raw = redis.call('HMGET', col.key, unpack(wanted, first, last))
    for i = first, last do
      local found = raw[i - first + 1]
      if found then
        value[wanted[i]] = decode and decode(found) or found
      end
    end
  end
  col.wanted = {}
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
  if not col.dirty[field] then
    col.dirty[field] = true
    col.changed[#col.changed + 1] = field
  end
end

-- Writes what changed: one HSET and one HDEL (or one per chunk). Call it only when every decision is made.
local function store(col)
  local changed, value, encode = col.changed, col.value, col.encode
  for first = 1, #changed, CHUNK_FIELDS do
    local last = math.min(first + CHUNK_FIELDS - 1, #changed)
    local pairs_set, removed = {}, {}
    for i = first, last do
      local field = changed[i]
      local new = value[field]
      if new == false then
        removed[#removed + 1] = field
      else
        pairs_set[#pairs_set + 1] = field
        pairs_set[#pairs_set + 1] = encode and encode(new) or new
      end
    end
    if #pairs_set > 0 then
      redis.call('HSET', col.key, unpack(pairs_set))
    end
    if #removed > 0 then
      redis.call('HDEL', col.key, unpack(removed))
    end
  end
end
