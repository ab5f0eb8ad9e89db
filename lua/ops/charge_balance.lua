--[[
op: charge_balance
purpose: credit a user's balance
args: amount
columns: accounts
refusals:
  INVALID_AMOUNT {reason, amount}
event: balance_charged 1 {seq, at, user, amount, previous, balance, used}
]]
ops.charge_balance = {
  want = function(ctx, call)
    want(ctx.accounts, call.user)
  end,

  decide = function(ctx, call)
    local user, amount, rules = call.user, call.args.amount, ctx.rules
    local account = account_of(ctx, user)
    local reason
    if amount <= 0 then
      reason = 'NOT_POSITIVE'
    elseif amount % rules.charge_unit ~= 0 then
      reason = 'NOT_A_MULTIPLE_OF_UNIT'
    elseif amount > rules.charge_max then
      reason = 'ABOVE_MAXIMUM'
    elseif account.balance + amount > rules.balance_max then
      reason = 'ABOVE_BALANCE_CAP'
    end
    if reason then
      return refuse('INVALID_AMOUNT', { reason = reason, amount = amount })
    end

    local previous = account.balance
    account.balance = previous + amount
    set(ctx.accounts, user, account)
    return emit(ctx, call, 'balance_charged', 1, nil, user, amount, previous, account.balance, account.used)
  end,
}
