
-- The load of orders: POST /api/orders, one unit of one hot product per order, another user and a fresh Idempotency-Key
-- every time. Everything but the key is built once, so a request costs one concatenation. With several products, every
-- order takes one of them at random, all equally likely.

local heads, tails = {}, {}
local key_prefix, first_user, sent = "", 0, 0
local random = math.random

local function head_of(host, token)
  return "POST /api/orders HTTP/1.1\r\nHost: " .. host .. "\r\nAuthorization: Bearer " .. token
    .. "\r\nContent-Type: application/json\r\nIdempotency-Key: "
end

local function tail_of(product_id)
  local body = '{"items":[{"productId":' .. product_id .. ',"quantity":1}]}'
  return "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

-- Runs once per thread, in the thread's own state.
function init(args)
  local tokens_file, nonce, product_ids = args[1], args[2], args[3]
  for token in io.lines(tokens_file) do
    heads[#heads + 1] = head_of(wrk.host .. ":" .. wrk.port, token)
  end
  for product_id in string.gmatch(product_ids, "%d+") do
    tails[#tails + 1] = tail_of(product_id)
  end
  assert(#heads > 0 and #tails > 0, "no tokens or no products")
  key_prefix = nonce .. "-" .. thread_id .. "-"
  math.randomseed(tonumber(thread_id) + 1)
  -- The second thread starts halfway, so that two threads do not order for the same user at the same time.
  first_user = math.floor(#heads / 2) * tonumber(thread_id)
end

function request()
  sent = sent + 1
  return heads[(first_user + sent) % #heads + 1] .. key_prefix .. sent .. tails[random(#tails)]
end
