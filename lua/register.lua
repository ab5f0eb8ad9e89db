-- The functions Redis sees. Their names carry the hash of the library's text, so that two versions of the service can
-- run side by side on one Redis.

local READ_ONLY = { 'no-writes' }

redis.register_function('apply_' .. VERSION, apply)
redis.register_function('open_epoch_' .. VERSION, open_epoch)
redis.register_function('note_committed_' .. VERSION, note_committed)
redis.register_function('take_due_' .. VERSION, take_due)
redis.register_function { function_name = 'read_account_' .. VERSION, callback = read_account, flags = READ_ONLY }
redis.register_function { function_name = 'read_products_' .. VERSION, callback = read_products, flags = READ_ONLY }
redis.register_function { function_name = 'read_coupons_' .. VERSION, callback = read_coupons, flags = READ_ONLY }
redis.register_function { function_name = 'read_wallet_' .. VERSION, callback = read_wallet, flags = READ_ONLY }
redis.register_function { function_name = 'read_cart_' .. VERSION, callback = read_cart, flags = READ_ONLY }
redis.register_function { function_name = 'read_quote_' .. VERSION, callback = read_quote, flags = READ_ONLY }
redis.register_function { function_name = 'read_sales_' .. VERSION, callback = read_sales, flags = READ_ONLY }
redis.register_function { function_name = 'read_last_' .. VERSION, callback = read_last, flags = READ_ONLY }
redis.register_function { function_name = 'read_column_' .. VERSION, callback = read_column, flags = READ_ONLY }
redis.register_function { function_name = 'read_fields_' .. VERSION, callback = read_fields, flags = READ_ONLY }
redis.register_function { function_name = 'read_unmatched_' .. VERSION, callback = read_unmatched, flags = READ_ONLY }
redis.register_function { function_name = 'status_' .. VERSION, callback = status, flags = READ_ONLY }
redis.register_function { function_name = 'read_lag_' .. VERSION, callback = read_lag, flags = READ_ONLY }
