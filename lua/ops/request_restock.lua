--[[
op: request_restock
purpose: a user wants to be told once when a product is back in stock; asked again before that, only the address changes
args: product, email
columns: catalog, restock
refusals:
  PRODUCT_NOT_FOUND {productId}
event: restock_requested 1 {seq, at, user, product, email, round}
]]
ops.request_restock = {
  want = function(ctx, call)
    want(ctx.catalog, call.args.product)
    want(ctx.restock, call.args.product)
    want(ctx.restock, user_product(call.user, call.args.product))
  end,

  decide = function(ctx, call)
    local user, id, email = call.user, call.args.product, call.args.email
    if not sellable(ctx, id) then
      return refuse('PRODUCT_NOT_FOUND', { productId = id })
    end
    local restock, mine = get(ctx.restock, id) or { round = 1, waiting = 0 }, user_product(user, id)
    local round = restock.round
    if get(ctx.restock, mine) ~= round then
      restock.waiting = restock.waiting + 1
      set(ctx.restock, id, restock)
      set(ctx.restock, mine, round)
    end
    return emit(ctx, call, 'restock_requested', 1, '', 0, user, id, email, round)
  end,
}
