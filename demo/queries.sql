-- The five queries that the demo times, each after a line that says what it asks.

-- whole table: flights, mean delay, longest route
SELECT count(*) AS flights, round(avg(dep_delay), 2) AS delay, max(distance) AS longest FROM flights;

-- group: the airlines that come in latest
SELECT carrier, count(*) AS flights, round(avg(arr_delay), 1) AS delay
FROM flights GROUP BY carrier HAVING count(*) > 1000 ORDER BY delay DESC LIMIT 5;

-- range: one week in July, by airport
SELECT origin, count(*) AS flights, count(*) FILTER (WHERE dep_time IS NULL) AS cancelled
FROM flights WHERE time_hour >= '2013-07-01Z' AND time_hour < '2013-07-08Z' GROUP BY origin ORDER BY origin;

-- distinct: the destinations served by most aircraft
SELECT dest, count(DISTINCT tailnum) AS aircraft, sum(distance) AS miles
FROM flights GROUP BY dest ORDER BY aircraft DESC, dest LIMIT 5;

-- join: departure delay by visibility
SELECT least(w.visib::int, 10) AS visibility, count(*) AS flights, round(avg(f.dep_delay), 1) AS delay
FROM flights f JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
GROUP BY 1 ORDER BY 1;
