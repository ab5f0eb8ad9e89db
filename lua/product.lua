-- Products: packed {name, price, limit?, starts?, ends?, status, version} in `catalog`; the stock stands in a column of
-- its own because it changes with every order. Absent optional members are absent keys.

-- The product if it can be sold at all (status NORMAL), else nil.
local function sellable(ctx, product_id)
  local product = get(ctx.catalog, product_id)
  if product and product.status == 'NORMAL' then
    return product
  end
  return nil
end

-- Refusal code and details when the sale window of `product` is not open now, else nil.
local function window_refusal(ctx, product_id, product)
  if product.starts and ctx.now_ms < product.starts then
    return 'SALE_NOT_OPEN', { productId = product_id, opensAt = product.starts }
  elseif product.ends and ctx.now_ms >= product.ends then
    return 'SALE_CLOSED', { productId = product_id, closedAt = product.ends }
  end
  return nil
end

-- Field of the column `bought`. A user id holds no space, so the field is unambiguous.
local function bought_field(user, product_id)
  return user .. ' ' .. product_id
end
