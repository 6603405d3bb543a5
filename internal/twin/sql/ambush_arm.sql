-- $1 step, $2 armed?
INSERT INTO twin.ambush (step, armed) VALUES ($1, $2)
ON CONFLICT (step) DO UPDATE SET armed = excluded.armed
