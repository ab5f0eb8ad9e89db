--[[
op: adjust_stock
purpose: an operator adds stock or takes it away; also for a product that is no longer sold
args: product, delta
columns: catalog, stock, restock
refusals:
  PRODUCT_NOT_FOUND {productId}
  INSUFFICIENT_STOCK {insufficientItems [{productId, productName, requestedQuantity, availableStock}]}
  INVALID_INPUT {reason}
event: stock_adjusted 1 {seq, at, product, delta, stock, by, restocked?}
]]
ops.adjust_stock = {
  want = function(ctx, call)
    want(ctx.catalog, call.args.product)
    want(ctx.stock, call.args.product)
    if call.args.delta > 0 then
      want(ctx.restock, call.args.product)
    end
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
    elseif delta > 0 and stock > STOCK_MAX then
      return refuse('INVALID_INPUT', { reason = 'the stock is too large' })
    end

    local restocked
    if delta > 0 then
      restocked = add_stock(ctx, id, delta) or nil
    else
      set(ctx.stock, id, stock)
    end
    return emit(ctx, call, 'stock_adjusted', 1, '', 0, id, delta, stock, by, restocked)
  end,
}
