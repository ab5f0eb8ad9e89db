-- What an op answers: its event, which is its outcome, or a refusal, which changed nothing.

-- The largest integer a double holds exactly, and the bound of every amount and quantity.
local NUMBER_MAX = 9007199254740991

-- From here on a number takes more than the four bytes of a uint32.
local UINT32_END = 4294967296

-- The last ms of the year 9999: what every calendar can hold.
local TIME_MAX_MS = 253402300799999

local DAY_MS = 86400000

-- Refuses: `code` is one of the op's closed list, `details` the extension members of the answer (camelCase, never nil).
local function refuse(code, details)
  return nil, { code = code, details = details }
end

-- The head of a MessagePack array of `count` members. `cmsgpack.pack(a, b, …)` packs its arguments one after the other, nil
-- included, so head .. pack(…) is an array without a Lua table in between: the packer walks a table three times.
local ARRAY_HEADS = { [0] = '\144', '\145', '\146', '\147', '\148', '\149', '\150', '\151', '\152', '\153', '\154', '\155',
  '\156', '\157', '\158', '\159' }

local function array_head(count)
  return ARRAY_HEADS[count] or string.char(220, math.floor(count / 256), count % 256)
end

-- Length of a fingerprint (16 bytes in unpadded base64url) and where it stands in a packed event: behind the head of the
-- array and its own.
local FINGERPRINT_FIRST, FINGERPRINT_LAST = 3, 24

-- The fingerprint of the request that a packed event came from, or of a call's head.
local function fingerprint_of(event)
  return string.sub(event, FINGERPRINT_FIRST, FINGERPRINT_LAST)
end

-- Appends a packed event, whose seq is the next one.
local function append(ctx, packed)
  local count = ctx.event_count + 1
  ctx.seq, ctx.event_count, ctx.events[count] = ctx.seq + 1, count, packed
  return packed
end

-- Appends the event of the op that is being decided and returns it packed:
-- [fingerprint, key, type, version, [seq, at, fields …]]. The fields are the arguments, in the order of the op's header;
-- new ones are only ever added at the end. `tail`: the last `tail_count` fields, packed already ('' and 0: none). The same
-- string goes to the log, into the idempotency record and into the reply, so it is packed once.
local function emit(ctx, call, event_type, version, tail, tail_count, ...)
  local pack, count = cmsgpack.pack, select('#', ...) + 2 + tail_count
  local fields = array_head(count) .. pack(ctx.seq + 1, ctx.now_ms, ...) .. tail
  return append(ctx, call.head .. pack(event_type, version) .. fields)
end
