--[[
op: pay_order
purpose: pay for a reserved order: from the balance at once, or by card, which holds it until the gateway has answered
args: order, method, amount (method BALANCE or CARD; amount: what the buyer means to pay)
columns: accounts, open, due, idem, sales
refusals:
  ORDER_NOT_FOUND {}
  INVALID_ORDER_STATE {orderStatus}
  AMOUNT_MISMATCH {finalAmount}
  INVALID_INPUT {reason}
  INSUFFICIENT_BALANCE {requiredAmount, currentBalance, shortfall}
event: order_changed 1 {seq, at, order, status, user, created, expires?, total, discount, final, method?, day?, paid_at?, payment?, refund?, address?, coupons?, cart?, balance, used, restocked?, items [{product, name, price, quantity, discount, counted?}]}
]]
ops.pay_order = {
  want = function(ctx, call)
    want(ctx.accounts, call.user)
    want_order(ctx, call.args.order)
  end,

  decide = function(ctx, call)
    local user, args = call.user, call.args
    local order = open_order(ctx, user, args.order)
    if not order then
      return refuse_closed(ctx, user, args.order)
    elseif order.status ~= 'PENDING_PAYMENT' then
      return refuse('INVALID_ORDER_STATE', { orderStatus = order.status })
    elseif ctx.now_ms >= order.expires then
      -- Swept or not.
      return refuse('INVALID_ORDER_STATE', { orderStatus = 'EXPIRED' })
    elseif args.amount ~= order.final then
      return refuse('AMOUNT_MISMATCH', { finalAmount = order.final })
    end
    local account = account_of(ctx, user)
    if args.method == 'BALANCE' then
      if account.used + order.final > NUMBER_MAX then
        return refuse('INVALID_INPUT', { reason = 'the amount is too large' })
      elseif account.balance < order.final then
        return refuse('INSUFFICIENT_BALANCE', { requiredAmount = order.final, currentBalance = account.balance,
          shortfall = order.final - account.balance })
      end
    end

    order.method, order.payment, order.cart = args.method, ctx.seq + 1, nil
    if args.method == 'CARD' and order.final > 0 then
      order.status = 'HELD'
      local event = emit_order(ctx, call, order, account)
      set(ctx.open, order.order, event)
      set_due(ctx, order.order, ctx.now_ms + ctx.rules.recovery_ms)
      return event
    end
    -- A final amount of 0 needs no gateway.
    if args.method == 'BALANCE' then
      account.balance = account.balance - order.final
      account.used = account.used + order.final
    end
    order.status = 'CONFIRMED'
    count_sale(ctx, order)
    close_order(ctx, order, account)
    set(ctx.accounts, user, account)
    return emit_order(ctx, call, order, account)
  end,
}
