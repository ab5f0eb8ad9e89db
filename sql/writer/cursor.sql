-- Moves the cursor of a cell from exactly where this writer left it; one row, or another writer was here.
UPDATE writer_cursor SET seq = $4, nonce = $5, updated_at = now()
WHERE cell = $1 AND seq = $2 AND nonce = $3
