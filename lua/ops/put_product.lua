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
    local args, by = call.args, call.user
    local id, old = args.product, { status = 'NORMAL', version = 0 }
    if id then
      old = get(ctx.catalog, id)
      if not old then
        return refuse('PRODUCT_NOT_FOUND', { productId = id })
      end
    end

    -- What a sender packs as 2^63 or more arrives as a negative number, so both bounds matter.
    for _, member in ipairs({ 'price', 'stock', 'limit' }) do
      local number, least = args[member], member == 'limit' and 1 or 0
      if number and (number < least or number > (member == 'stock' and STOCK_MAX or NUMBER_MAX)) then
        return refuse('INVALID_INPUT', { reason = member .. ' is out of range' })
      end
    end
    for _, member in ipairs({ 'starts', 'ends' }) do
      local time = args[member]
      if time and (time < 0 or time > TIME_MAX_MS) then
        return refuse('INVALID_INPUT', { reason = member .. ' is out of range' })
      end
    end
    if not id and not (args.name and args.price and args.stock) then
      return refuse('INVALID_INPUT', { reason = 'a new product needs name, price and stock' })
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
    local created, stock = args.product == nil, get(ctx.stock, id) or 0
    local event = emit(ctx, call, 'product_put', 1, '', 0, id, product.name, product.price, product.limit, product.starts,
      product.ends, product.status, product.version, created, stock, by)
    ctx.meta.catalog_version = ctx.seq
    return event
  end,
}
