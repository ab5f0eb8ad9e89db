-- Moves the cursor of a sink from exactly where this forwarder left it; one row, or another forwarder was here.
UPDATE sink_cursors SET seq = $4, updated_at = now() WHERE sink = $1 AND cell = $2 AND seq = $3
