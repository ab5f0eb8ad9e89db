-- The functions Redis sees. Their names carry the hash of the library's text, so that two versions of the service can
-- run side by side on one Redis.

local READ_ONLY = { 'no-writes' }

redis.register_function('apply_' .. VERSION, apply)
redis.register_function('open_epoch_' .. VERSION, open_epoch)
redis.register_function('note_committed_' .. VERSION, note_committed)
redis.register_function { function_name = 'read_account_' .. VERSION, callback = read_account, flags = READ_ONLY }
redis.register_function { function_name = 'read_products_' .. VERSION, callback = read_products, flags = READ_ONLY }
redis.register_function { function_name = 'read_sales_' .. VERSION, callback = read_sales, flags = READ_ONLY }
redis.register_function { function_name = 'read_log_' .. VERSION, callback = read_log, flags = READ_ONLY }
redis.register_function { function_name = 'status_' .. VERSION, callback = status, flags = READ_ONLY }
redis.register_function { function_name = 'read_lag_' .. VERSION, callback = read_lag, flags = READ_ONLY }
