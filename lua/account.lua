-- A user's account: packed {balance, used, open?, pending?, charges?, ...}. `open` counts unpaid orders, `pending` and `charges` are
-- the sum and the number of charges that the gateway has not answered; absent means 0, so that most accounts stay
-- small. It starts to exist with its first charge, coupon or order.

local function account_of(ctx, user)
  local account = ctx.accounts.value[user]
  if account == nil then
    account = get(ctx.accounts, user)
  end
  return account or { balance = 0, used = 0 }
end

-- Most accounts are a map {balance, used} with both below 2^32. Such a one is written in a layout of its own, still MessagePack: the
-- map's head and the first name, a uint32, the second name, a uint32. cmsgpack takes three times as long for it.
local PLAIN_BALANCE, PLAIN_USED, PLAIN_BYTES = '\130\167balance\206', '\164used\206', 24

local function decode_account(raw)
  if #raw == PLAIN_BYTES then
    local before_balance, balance, before_used, used = struct.unpack('>c10I4c6I4', raw)
    if before_balance == PLAIN_BALANCE and before_used == PLAIN_USED then
      return { balance = balance, used = used }
    end
  end
  return cmsgpack.unpack(raw)
end

local function encode_account(account)
  local balance, used = account.balance, account.used
  local has_more = next(account, next(account, (next(account)))) ~= nil
  if not has_more and balance < UINT32_END and used < UINT32_END then
    return struct.pack('>c0I4c0I4', PLAIN_BALANCE, balance, PLAIN_USED, used)
  end
  return cmsgpack.pack(account)
end

-- Adds to one of the optional members; 0 is stored as absent.
local function add_to(account, member, number)
  local sum = (account[member] or 0) + number
  account[member] = sum ~= 0 and sum or nil
end

-- Refuses a charge outside of the rules, else nil. Charges that the gateway has not answered count towards the cap.
local function charge_refusal(ctx, account, amount)
  local rules, reason = ctx.rules, nil
  if amount <= 0 then
    reason = 'NOT_POSITIVE'
  elseif amount % rules.charge_unit ~= 0 then
    reason = 'NOT_A_MULTIPLE_OF_UNIT'
  elseif amount > rules.charge_max then
    reason = 'ABOVE_MAXIMUM'
  elseif account.balance + (account.pending or 0) + amount > rules.balance_max then
    reason = 'ABOVE_BALANCE_CAP'
  end
  if reason then
    return refuse('INVALID_AMOUNT', { reason = reason, amount = amount })
  end
  return nil
end
