--[[
op: put_product
purpose: create a product (without args.product: the next id is minted) or change some members of one (with it)
args: product?, name?, price?, stock?, limit?, starts?, ends?, status? (false in limit, starts and ends removes; stock only when creating)
columns: catalog, stock
refusals:
  PRODUCT_NOT_FOUND {productId}
  INVALID_INPUT {reason}
event: product_put 1 {seq, at, product, name, price, limit?, starts?, ends?, status, version, created, stock, by}
]]
ops.put_product = {
  want = function(ctx, call)
    if call.args.product then
      want(ctx.catalog, call.args.product)
      want(ctx.stock, call.args.product)
    end
  end,

  decide = function(ctx, call)
    local args = call.args
    local id, old = args.product, { status = 'NORMAL', version = 0 }
    if id then
      old = get(ctx.catalog, id)
      if not old then
        return refuse('PRODUCT_NOT_FOUND', { productId = id })
      end
    end

    -- A copy, with whatever members a newer version of the service may have added.
    local product = {}
    for member, value in pairs(old) do
      product[member] = value
    end
    for _, member in ipairs({ 'name', 'price', 'limit', 'starts', 'ends', 'status' }) do
      local new = args[member]
      if new == false then
        product[member] = nil
      elseif new ~= nil then
        product[member] = new
      end
    end
    if product.starts and product.ends and product.starts >= product.ends then
      return refuse('INVALID_INPUT', { reason = 'saleStartsAt must be before saleEndsAt' })
    end

    if not id then
      ctx.meta.product_last = ctx.meta.product_last + 1
      id = ctx.meta.product_last
      set(ctx.stock, id, args.stock)
    end
    product.version = product.version + 1
    set(ctx.catalog, id, product)
    local event = emit(ctx, 'product_put', 1, {
      product = id,
      name = product.name,
      price = product.price,
      limit = product.limit,
      starts = product.starts,
      ends = product.ends,
      status = product.status,
      version = product.version,
      created = args.product == nil,
      stock = get(ctx.stock, id) or 0,
      by = call.user,
    })
    ctx.meta.catalog_version = ctx.seq
    return event
  end,
}
