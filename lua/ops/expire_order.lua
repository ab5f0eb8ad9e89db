--[[
op: expire_order
purpose: a reserved order that was not paid in time gives everything back; for the sweeper
args: order
columns: accounts, catalog, stock, bought, wallets, restock, open, due, idem
refusals:
  ORDER_NOT_FOUND {}
  INVALID_ORDER_STATE {orderStatus}
event: order_changed 1 {seq, at, order, status, user, created, expires?, total, discount, final, method?, day?, paid_at?, payment?, refund?, address?, coupons?, cart?, balance, used, restocked?, items [{product, name, price, quantity, discount, counted?}]}
]]
ops.expire_order = {
  ends_what_is_open = true,

  want = ops.pay_order.want,

  decide = function(ctx, call)
    local user, id = call.user, call.args.order
    local order = open_order(ctx, user, id)
    if not order then
      return refuse_closed(ctx, user, id)
    elseif order.status ~= 'PENDING_PAYMENT' or ctx.now_ms < order.expires then
      return refuse('INVALID_ORDER_STATE', { orderStatus = order.status })
    end
    return release_order(ctx, call, order, 'EXPIRED')
  end,
}
