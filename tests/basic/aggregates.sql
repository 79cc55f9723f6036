-- Aggregation of batches beside PostgreSQL's own: functions, types, NULLs, errors, plans.
SET max_parallel_workers_per_gather = 0;
CREATE TABLE a (id int, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric(12,2), m numeric, t text, v varchar(20), c char(6), b bool, d date, ts timestamp, iv interval, u uuid);
INSERT INTO a SELECT g, (g % 7) - 3, g * 1000 - 1500000, g * 10000000000::int8, g / 8.0, g * 1.25 - 100, (g % 1000) / 100.0,
  CASE g % 5 WHEN 0 THEN 1.5 WHEN 1 THEN 1.50 WHEN 2 THEN -2 WHEN 3 THEN 1e20 ELSE 0.001 END, 'text ' || g % 13, 'v' || g % 3, 'c' || g % 4, g % 2 = 0,
  date '2020-01-01' + g % 400, timestamp '2020-01-01' + g * interval '1 hour', g % 3 * interval '1 day', md5((g % 5)::text)::uuid
  FROM generate_series(1, 3000) g;
INSERT INTO a (id) SELECT g FROM generate_series(3001, 3100) g;
INSERT INTO a (id, n, m, f8) VALUES (4001, NULL, 'NaN', 'NaN'), (4002, 5, 'Infinity', '-0');
UPDATE a SET t = 'changed', n = n + 1 WHERE id % 97 = 0;
DELETE FROM a WHERE id % 89 = 0;
-- Without keys.
SELECT count(*), count(i2), count(t), sum(i2), sum(i4), sum(i8), avg(i2), avg(i4), avg(i8) FROM a;
SELECT sum(n), avg(n), min(n), max(n), sum(m) FILTER (WHERE m < 1e30), avg(m) FILTER (WHERE id < 3000), min(m), max(m) FROM a;
SELECT sum(f4), avg(f4)::numeric(20,6), min(f4), max(f4), sum(f8) FILTER (WHERE id < 4000), min(f8), max(f8) FROM a;
SELECT round(stddev(f8)::numeric, 6), round(var_pop(f8)::numeric, 6), round(variance(f4)::numeric, 4), round(stddev_pop(f4)::numeric, 6) FROM a WHERE id < 4000;
SELECT min(t), max(t), min(v), max(v), min(c), max(c), min(d), max(d), min(ts), max(ts), min(iv), max(iv) FROM a;
SELECT min(t COLLATE "C"), max(t COLLATE "C"), bool_and(b), bool_or(b), every(b) FROM a;
SELECT bool_and(b) FILTER (WHERE b), bool_or(b) FILTER (WHERE NOT b), count(*) FILTER (WHERE b IS NULL) FROM a;
-- Nothing to aggregate.
SELECT count(*), sum(i4), avg(n), min(t), max(f8), bool_and(b), stddev(f8) FROM a WHERE id < 0;
SELECT i2, count(*) FROM a WHERE id < 0 GROUP BY i2;
SELECT count(*) FROM a WHERE id < 0 HAVING count(*) > 0;
-- Keys of each type, NULLs among them.
SELECT i2, count(*), sum(n) FROM a GROUP BY i2 ORDER BY i2;
SELECT t, count(*), sum(i4), avg(n) FROM a GROUP BY t ORDER BY t;
SELECT v, c, count(*), max(i8) FROM a GROUP BY v, c ORDER BY v, c;
SELECT b, d > date '2020-06-01' AS late, count(*) FROM a GROUP BY 1, 2 ORDER BY 1, 2;
SELECT trim_scale(m), count(*) FROM a GROUP BY m ORDER BY m;
SELECT f4, count(*) FROM a WHERE id < 20 GROUP BY f4 ORDER BY f4;
SELECT f8 + 0 AS f, count(*) FROM a WHERE id < 5 OR id > 4000 GROUP BY 1 ORDER BY 1;
SELECT u, count(*), min(id) FROM a GROUP BY u ORDER BY u;
SELECT iv, count(*) FROM a GROUP BY iv ORDER BY iv;
SELECT date_trunc('month', ts) AS month, extract(year FROM d), count(*), sum(f8) FROM a WHERE id < 4000 GROUP BY 1, 2 ORDER BY 1, 2;
SELECT length(t), upper(v), count(*) FROM a GROUP BY 1, 2 HAVING count(*) > 10 ORDER BY 1, 2;
SELECT DISTINCT c FROM a ORDER BY c;
SELECT i4 % 3 AS r, sum(i4) / count(*) AS q, count(*) + 1 AS more FROM a GROUP BY 1 ORDER BY 1;
-- Expressions: scales, CASE, NULLs, functions.
SELECT sum(n * (1 - n)), sum(n * (1 - n) * (1 + n)), sum(n + 0.001), avg(n - 1) FROM a;
SELECT sum(CASE WHEN i2 > 0 THEN n * 1.00 ELSE 0 END), sum(CASE WHEN i2 > 100 THEN n * 1.00 ELSE 0 END), sum(CASE i2 WHEN 1 THEN 1 WHEN 2 THEN 2 END) FROM a;
SELECT sum(coalesce(i4, 7)), sum(coalesce(n, 0)), count(nullif(i2, 1)), sum(abs(i4)), sum(-i4), sum(greatest(i2, 0)) FROM a;
SELECT sum(i4::int8 * i4), sum(i4 * 1.5), round(sum(i2::float8 / 3)::numeric, 6), sum(i8 % 7), sum(i4 / 7) FROM a;
SELECT count(*) FROM a WHERE t LIKE '%1%' AND v IN ('v0', 'v2') AND c <> 'c1';
SELECT count(*) FROM a WHERE t NOT IN ('text 1', 'text 2', NULL);
SELECT count(*) FROM a WHERE i4 IN (1000, 2000, NULL) OR i4 = ANY (ARRAY[3000, 5000]);
SELECT count(*) FROM a WHERE NOT (i2 = 1 OR n > 5) AND b IS NOT NULL;
SELECT count(*) FROM a WHERE i2 IS DISTINCT FROM 1 AND (b IS TRUE OR b IS UNKNOWN);
SELECT count(*) FROM a WHERE n = 5 OR n > 9.985 OR m = 1.500 OR f8 > 'NaN' OR f8 = 'NaN';
SELECT count(*) FILTER (WHERE d < ts), count(*) FILTER (WHERE ts >= d), count(*) FILTER (WHERE d = ts), count(*) FILTER (WHERE d <> ts) FROM a;
SELECT count(*) FROM a WHERE d < timestamp '2020-03-01 00:00' AND d >= timestamp '2020-02-01 00:00:01';
SELECT count(*), min(d), max(d) FROM a WHERE d <= date '2020-12-01' - interval '90 days' AND d > timestamp '2020-02-01' AND timestamp '2020-02-10' <= d;
SELECT count(*) FROM a WHERE d = timestamp '2020-02-01' OR d = timestamp '2020-02-02 01:00';
SELECT count(*) FROM a WHERE d < timestamp 'infinity' AND d > timestamp '-infinity' AND d = ANY (ARRAY[timestamp '2020-02-01', '2020-02-02']);
SELECT sum(10 / i2) FROM a WHERE i2 <> 0;
SELECT sum(CASE WHEN i2 = 0 THEN 0 ELSE 10 / i2 END) FROM a;
-- Errors.
SELECT sum(10 / i2) FROM a;
SELECT sum(i4 * i4) FROM a;
SELECT sum(i2 * 20000::int2) FROM a;
SELECT sum(f8 * 1e308) FROM a WHERE id < 4000;
SELECT sum(sqrt(f8)) FROM a WHERE id < 100;
-- Around it: subqueries, parameters, cursors, joins, unions, windows, limits.
SELECT (SELECT count(*) FROM a x WHERE x.i2 = y.i2) AS same, y.i2 FROM (SELECT DISTINCT i2 FROM a) y ORDER BY 2;
SELECT s.i2, l.n FROM (SELECT i2, count(*) AS k FROM a GROUP BY i2) s, LATERAL (SELECT sum(n) AS n FROM a WHERE a.i2 = s.i2) l ORDER BY 1;
PREPARE q(int, text) AS SELECT i2, count(*), sum(n) FROM a WHERE i4 > $1 AND t > $2 GROUP BY i2 ORDER BY i2;
EXECUTE q(0, 'text 1');
EXECUTE q(1000000, 'text 3');
SET plan_cache_mode = force_generic_plan;
EXECUTE q(0, 'text 1');
EXECUTE q(NULL, 'text 1');
RESET plan_cache_mode;
DEALLOCATE q;
PREPARE p (int) AS SELECT i2, count(*) FROM a WHERE $1 IS NULL GROUP BY i2 ORDER BY i2;
SET plan_cache_mode = force_generic_plan;
EXECUTE p(1);
EXECUTE p(NULL);
RESET plan_cache_mode;
DEALLOCATE p;
BEGIN;
DECLARE k CURSOR FOR SELECT c, count(*), sum(n) FROM a GROUP BY c ORDER BY c;
FETCH 2 FROM k;
DELETE FROM a WHERE c = 'c3';
FETCH ALL FROM k;
SELECT count(*) FROM a WHERE c = 'c3';
ROLLBACK;
BEGIN;
INSERT INTO a SELECT * FROM a WHERE id <= 5;
SELECT count(*), sum(n) FROM a WHERE id <= 5;
SAVEPOINT s;
DELETE FROM a WHERE id = 3;
SELECT count(*), sum(n) FROM a WHERE id <= 5;
ROLLBACK TO s;
SELECT count(*), sum(n) FROM a WHERE id <= 5;
ROLLBACK;
SELECT x.i2, x.k, y.k FROM (SELECT i2, count(*) AS k FROM a GROUP BY i2) x JOIN (SELECT i2, count(*) AS k FROM a WHERE b GROUP BY i2) y USING (i2) ORDER BY 1;
SELECT i2, count(*), rank() OVER (ORDER BY count(*) DESC, i2) FROM a GROUP BY i2 ORDER BY 3, 1;
SELECT 'x', sum(i4) FROM a UNION ALL SELECT c, count(*) FROM a GROUP BY c ORDER BY 1, 2;
SELECT c, b, count(*) FROM a GROUP BY ROLLUP (c, b) ORDER BY 1, 2, 3;
SELECT count(DISTINCT i2), sum(DISTINCT i2), string_agg(DISTINCT c, ',' ORDER BY c) FROM a;
WITH g AS MATERIALIZED (SELECT t, sum(n) AS s FROM a GROUP BY t) SELECT max(s), min(s), count(*) FROM g;
-- Columns added later, dropped columns, changed types.
ALTER TABLE a DROP COLUMN i8, ADD COLUMN late int DEFAULT 42, ADD COLUMN latest numeric DEFAULT 1.10;
INSERT INTO a (id, late) VALUES (5000, 1);
SELECT sum(late), count(late), sum(latest), max(latest), late FROM a GROUP BY late ORDER BY late;
ALTER TABLE a ALTER COLUMN v TYPE text;
SELECT v, count(*) FROM a GROUP BY v ORDER BY v;
-- More groups than memory may hold.
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
CREATE TABLE many (k int, t text, n numeric, f float8);
INSERT INTO many SELECT g % 9973, 'some text that takes room ' || g % 4999, g % 100 / 10.0, g FROM generate_series(1, 40000) g;
SELECT count(*), sum(k), sum(s), sum(c) FROM (SELECT k, sum(n) AS s, count(*) AS c FROM many GROUP BY k) x;
SELECT count(*), max(t), sum(s), min(least), sum(c) FROM (SELECT t, k, sum(n) AS s, min(f) AS least, count(*) AS c FROM many GROUP BY t, k) x;
SELECT count(*), sum(a), max(b) FROM (SELECT n, avg(f) AS a, max(t) AS b FROM many GROUP BY n) x;
SELECT k, count(*), avg(n), stddev(f) IS NOT NULL FROM many GROUP BY k ORDER BY k LIMIT 5;
