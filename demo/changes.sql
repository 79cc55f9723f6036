-- Statements that the demo runs on both tables, each after its name.

-- UPDATE
UPDATE flights SET dep_delay = dep_delay + 1 WHERE carrier = 'HA';

-- DELETE
DELETE FROM flights WHERE origin = 'LGA' AND month = 2;

-- upsert: half of the rows are there already
INSERT INTO flights
SELECT year + n, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay, carrier,
       flight, tailnum, origin, dest, air_time, distance, hour, minute, time_hour + n * interval '1 year'
FROM flights, generate_series(0, 1) AS n WHERE carrier = 'F9'
ON CONFLICT (time_hour, flight, carrier) DO UPDATE SET arr_delay = coalesce(flights.arr_delay, 0) - 1;
