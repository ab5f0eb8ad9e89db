-- When the sink had everything up to here.
INSERT INTO sink_progress (sink, cell, upto_seq) VALUES ($1, $2, $3)
