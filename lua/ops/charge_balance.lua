--[[
op: charge_balance
purpose: credit a user's balance at once, where no gateway is asked
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
    local user, amount = call.user, call.args.amount
    local account = account_of(ctx, user)
    local _, refusal = charge_refusal(ctx, account, amount)
    if refusal then
      return nil, refusal
    end

    local previous = account.balance
    account.balance = previous + amount
    set(ctx.accounts, user, account)
    return emit(ctx, call, 'balance_charged', 1, '', 0, user, amount, previous, account.balance, account.used)
  end,
}
