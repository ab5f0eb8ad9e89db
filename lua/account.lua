-- A user's account: packed {balance, used, open?, pending?, charges?, ...}. `open` counts unpaid orders, `pending` and `charges` are
-- the sum and the number of charges that the gateway has not answered; absent means 0, so that most accounts stay
-- small. It starts to exist with its first charge, coupon or order.

local function account_of(ctx, user)
  return get(ctx.accounts, user) or { balance = 0, used = 0 }
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
