--[[
op: adjust_stock
purpose: an operator adds stock or takes it away; also for a product that is no longer sold
args: product, delta
columns: catalog, stock
refusals:
  PRODUCT_NOT_FOUND {productId}
  INSUFFICIENT_STOCK {insufficientItems [{productId, productName, requestedQuantity, availableStock}]}
  INVALID_INPUT {reason}
event: stock_adjusted 1 {seq, at, product, delta, stock, by}
]]
ops.adjust_stock = {
  want = function(ctx, call)
    want(ctx.catalog, call.args.product)
    want(ctx.stock, call.args.product)
  end,

  decide = function(ctx, call)
    local id, delta, by = call.args.product, call.args.delta, call.user
    local product = get(ctx.catalog, id)
    if not product then
      return refuse('PRODUCT_NOT_FOUND', { productId = id })
    end
    local available = get(ctx.stock, id) or 0
    local stock = available + delta
    if stock < 0 then
      return refuse('INSUFFICIENT_STOCK', { insufficientItems = { {
        productId = id, productName = product.name, requestedQuantity = -delta, availableStock = available } } })
    elseif stock > NUMBER_MAX then
      return refuse('INVALID_INPUT', { reason = 'the stock is too large' })
    end

    set(ctx.stock, id, stock)
    return emit(ctx, call, 'stock_adjusted', 1, nil, id, delta, stock, by)
  end,
}
