-- $1 reason. Ends every open pin.
UPDATE holdfast.pins SET ended_at = pg_catalog.clock_timestamp(), ended_because = $1 WHERE ended_at IS NULL
