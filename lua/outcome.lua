-- What an op answers: its event, which is its outcome, or a refusal, which changed nothing.

-- The largest integer a double holds exactly, and the bound of every amount and quantity.
local NUMBER_MAX = 9007199254740991

-- Refuses: `code` is one of the op's closed list, `details` the extension members of the answer (camelCase, never nil).
local function refuse(code, details)
  return nil, { code = code, details = details }
end

-- Appends the event of the op that is being decided and returns it packed: [type, version, fields]. The same string
-- goes to the log, into the idempotency record and into the reply, so it is packed once.
local function emit(ctx, event_type, version, fields)
  ctx.seq = ctx.seq + 1
  fields.seq = ctx.seq
  fields.at = ctx.now_ms
  local packed = cmsgpack.pack({ event_type, version, fields })
  ctx.events[#ctx.events + 1] = packed
  return packed
end
