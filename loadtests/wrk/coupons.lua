
-- The load of coupons: POST /api/coupons/{id}/issue without a body, a fresh Idempotency-Key every time. A user gets a
-- coupon once, ever. So each thread has users of its own and walks through its pairs of coupon and user in a fixed
-- order: all its users take the first coupon, then all of them the second, and so on. After the last pair it starts
-- over, which is right for a coupon that is sold out; where coupons are issued, the bench looks whether anybody asked
-- twice.

local starts, ends = {}, {}
local user_count, pair_count, sent = 0, 0, 0
local floor = math.floor

local function start_of(host, coupon_id, key_prefix)
  return "POST /api/coupons/" .. coupon_id .. "/issue HTTP/1.1\r\nHost: " .. host
    .. "\r\nIdempotency-Key: " .. key_prefix
end

local function end_of(token)
  return "\r\nAuthorization: Bearer " .. token .. "\r\nContent-Length: 0\r\n\r\n"
end

-- Runs once per thread, in the thread's own state.
function init(args)
  local tokens_file, nonce, coupon_ids, threads = args[1], args[2], args[3], tonumber(args[4])
  local line = 0
  for token in io.lines(tokens_file) do
    if line % threads == tonumber(thread_id) then
      ends[#ends + 1] = end_of(token)
    end
    line = line + 1
  end
  for coupon_id in string.gmatch(coupon_ids, "%d+") do
    starts[#starts + 1] = start_of(wrk.host .. ":" .. wrk.port, coupon_id, nonce .. "-" .. thread_id .. "-")
  end
  assert(#starts > 0 and #ends > 0, "no coupons or no tokens")
  user_count, pair_count = #ends, #starts * #ends
end

function request()
  local pair = sent % pair_count
  sent = sent + 1
  return starts[floor(pair / user_count) + 1] .. sent .. ends[pair % user_count + 1]
end
