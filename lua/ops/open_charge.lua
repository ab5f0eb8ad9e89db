--[[
op: open_charge
purpose: note that the gateway is about to be asked for a charge; it counts towards the balance cap from here on
args: amount, method?
columns: accounts, open, due
refusals:
  INVALID_AMOUNT {reason, amount}
event: charge_opened 1 {seq, at, user, amount, method?}
]]
ops.open_charge = {
  want = function(ctx, call)
    want(ctx.accounts, call.user)
  end,

  decide = function(ctx, call)
    local user, args, rules = call.user, call.args, ctx.rules
    local account = account_of(ctx, user)
    local _, refusal = charge_refusal(ctx, account, args.amount)
    if refusal then
      return nil, refusal
    elseif (account.charges or 0) >= rules.open_charges_max then
      return refuse('INVALID_AMOUNT', { reason = 'TOO_MANY_PENDING', amount = args.amount })
    end

    add_to(account, 'pending', args.amount)
    add_to(account, 'charges', 1)
    set(ctx.accounts, user, account)
    local event = emit(ctx, call, 'charge_opened', 1, '', 0, user, args.amount, args.method)
    set(ctx.open, ctx.seq, event)
    set_due(ctx, ctx.seq, ctx.now_ms + rules.recovery_ms)
    return event
  end,
}
