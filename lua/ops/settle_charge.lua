--[[
op: settle_charge
purpose: what the gateway said about a charge (APPROVED, DECLINED); what is settled stays so
args: charge, verdict
columns: accounts, open, due, idem
refusals:
  INVALID_ORDER_STATE {}
event: charge_settled 1 {seq, at, user, charge, status, amount, previous, balance, used}
]]
ops.settle_charge = {
  ends_what_is_open = true,

  want = function(ctx, call)
    local record = charge_record(call.args.charge)
    want(ctx.accounts, call.user)
    want(ctx.open, call.args.charge)
    want(ctx.idem_today, record)
    want(ctx.idem_yesterday, record)
  end,

  decide = function(ctx, call)
    local user, charge, verdict = call.user, call.args.charge, call.args.verdict
    local amount, record = open_charge(ctx, user, charge), charge_record(charge)
    if not amount then
      local settled = get(ctx.idem_today, record) or get(ctx.idem_yesterday, record)
      if settled and cmsgpack.unpack(settled)[5][CHARGE_USER] == user then
        return nil, nil, settled
      end
      return refuse('INVALID_ORDER_STATE', {})
    end

    assert(verdict == 'APPROVED' or verdict == 'DECLINED', 'unknown verdict')
    local account, status = account_of(ctx, user), 'FAILED'
    local previous = account.balance
    if verdict == 'APPROVED' then
      status = 'COMPLETED'
      account.balance = previous + amount
    end
    add_to(account, 'pending', -amount)
    add_to(account, 'charges', -1)
    set(ctx.accounts, user, account)
    set(ctx.open, charge, false)
    set_due(ctx, charge, false)
    local event = emit(ctx, call, 'charge_settled', 1, '', 0, user, charge, status, amount, previous, account.balance, account.used)
    set(ctx.idem_today, record, event)
    return event
  end,
}
