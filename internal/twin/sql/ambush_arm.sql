-- $1 step, $2 site, $3 armed?
INSERT INTO twin.ambush (step, site, armed) VALUES ($1, $2, $3)
ON CONFLICT (step) DO UPDATE SET site = excluded.site, armed = excluded.armed
