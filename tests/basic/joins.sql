-- Joins of batches beside PostgreSQL's own: keys of each type, every kind of join, conditions, errors.
SET max_parallel_workers_per_gather = 0;
CREATE TABLE a (id int, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric(12,2), m numeric, t text, v varchar(20), c char(6), b bool, d date, ts timestamp, u uuid, y bytea);
INSERT INTO a SELECT g, g % 11 - 3, g * 3, g * 10000000000::int8, g % 17 / 4.0, g % 19 * 1.25, (g % 300) / 100.0,
  CASE g % 5 WHEN 0 THEN 1.5 WHEN 1 THEN 1.50 WHEN 2 THEN -2 WHEN 3 THEN 1e20 ELSE 0.001 END, 'text ' || g % 313, 'v' || g % 3, 'c' || g % 4, g % 2 = 0,
  date '2020-01-01' + g % 400, timestamp '2020-01-01' + g * interval '1 hour', md5((g % 50)::text)::uuid, decode(md5((g % 70)::text), 'hex')
  FROM generate_series(1, 3000) g;
INSERT INTO a (id) SELECT g FROM generate_series(3001, 3100) g;
INSERT INTO a (id, n, m, f8) VALUES (4001, NULL, 'NaN', 'NaN'), (4002, 5, 'Infinity', '-0');
UPDATE a SET t = 'changed', n = n + 1 WHERE id % 97 = 0;
DELETE FROM a WHERE id % 89 = 0;
CREATE TABLE e (id int, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric(14,3), m numeric, t text, v varchar(30), c char(9), b bool, d date, ts timestamp, u uuid, y bytea);
INSERT INTO e SELECT g * 2, g % 13 - 5, g * 2, g * 20000000000::int8, g % 7 / 4.0, g % 5 * 1.25, (g % 200) / 100.0,
  CASE g % 4 WHEN 0 THEN 1.500 WHEN 1 THEN -2.0 WHEN 2 THEN 100000000000000000000 ELSE 0.0010 END, 'text ' || g % 200, 'v' || g % 4, 'c' || g % 3, g % 3 = 0,
  date '2020-06-01' + g % 30, timestamp '2020-01-01' + g * interval '3 hours', md5((g % 30)::text)::uuid, decode(md5((g % 40)::text), 'hex')
  FROM generate_series(1, 900) g;
INSERT INTO e (id) SELECT g FROM generate_series(2901, 2950) g;
INSERT INTO e (id, n, m, f8, f4) VALUES (5001, 1, 'NaN', 'NaN', 'NaN'), (5002, NULL, 'Infinity', '0', '-0');
DELETE FROM e WHERE id % 31 = 0;
CREATE TABLE nothing (id int, t text, n numeric);
ANALYZE a; ANALYZE e;
-- Keys of each type, and of two that compare.
SELECT count(*), sum(a.id::int8 * e.id), count(DISTINCT a.id) FROM a JOIN e ON a.id = e.id;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.i2 = e.i2;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.i2 = e.i8 / 20000000000;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.i8 = e.i8;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.i4 = e.i8;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.f4 = e.f4;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.f8 = e.f8;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.f8 = e.f4;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.n = e.n;
SELECT count(*), sum(a.id::int8 * e.id), min(a.m), max(e.m) FROM a JOIN e ON a.m = e.m;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.n = e.i4;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.t = e.t;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.t COLLATE "C" = e.t COLLATE "C";
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.v = e.v;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.c = e.c;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.c::text = e.c::text AND a.id = e.id;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.b = e.b AND a.id = e.id;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.d = e.d;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.d = e.ts;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.ts = e.ts;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.u = e.u;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.y = e.y;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e USING (i2, b, v);
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN e ON a.id % 100 = e.id % 90 AND upper(a.v) = upper(e.v);
-- Each kind of join, with and without further conditions.
SELECT count(*), count(a.id), count(e.id), sum(a.id), sum(e.id) FROM a LEFT JOIN e ON a.id = e.id;
SELECT count(*), count(a.id), count(e.id), sum(a.id), sum(e.id) FROM a RIGHT JOIN e ON a.id = e.id;
SELECT count(*), count(a.id), count(e.id), sum(a.id), sum(e.id) FROM a FULL JOIN e ON a.id = e.id;
SELECT count(*), count(a.id), count(e.id), sum(a.id), sum(e.id) FROM a LEFT JOIN e ON a.i2 = e.i2 AND a.id < e.id;
SELECT count(*), count(a.id), count(e.id), sum(a.id), sum(e.id) FROM a RIGHT JOIN e ON a.i2 = e.i2 AND a.id > e.id * 3;
SELECT count(*), count(a.id), count(e.id), sum(a.id), sum(e.id) FROM a FULL JOIN e ON a.t = e.t;
SELECT count(*), count(a.id), count(e.id) FROM a FULL JOIN e ON a.t = e.t WHERE coalesce(a.id, 0) + coalesce(e.id, 1) < 1000;
SELECT count(*), count(a.id), count(e.id) FROM a FULL JOIN e ON a.t = e.t WHERE a.id IS NULL OR e.id IS NULL;
SELECT count(*), sum(id), min(t), max(n) FROM a WHERE EXISTS (SELECT 1 FROM e WHERE e.id = a.id);
SELECT count(*), sum(id), min(t), max(n) FROM a WHERE NOT EXISTS (SELECT 1 FROM e WHERE e.id = a.id);
SELECT count(*), sum(id) FROM a WHERE EXISTS (SELECT 1 FROM e WHERE e.i2 = a.i2 AND e.n > a.n);
SELECT count(*), sum(id) FROM a WHERE NOT EXISTS (SELECT 1 FROM e WHERE e.i2 = a.i2 AND e.n > a.n * 2 AND e.id <> a.id);
SELECT count(*), sum(id) FROM e WHERE EXISTS (SELECT 1 FROM a WHERE a.t = e.t AND a.f8 > e.f8);
SELECT count(*), sum(id) FROM e WHERE NOT EXISTS (SELECT 1 FROM a WHERE a.t = e.t AND a.f8 > e.f8 + 15);
SELECT count(*), sum(id) FROM a WHERE id IN (SELECT i4 FROM e WHERE b);
SELECT count(*), sum(id) FROM a WHERE id NOT IN (SELECT i4 FROM e WHERE i4 IS NOT NULL);
SELECT count(*), count(e.t) FROM a LEFT JOIN e ON a.id = e.id WHERE e.id IS NULL;
SELECT a.id, e.t FROM a LEFT JOIN e ON a.id = e.id WHERE e.id IS NULL ORDER BY a.id LIMIT 5;
-- A key of a semi join's other side stands for its own above it.
SELECT count(*), sum(a.id), sum(x.id), bool_and(x.b) FROM a JOIN e x ON a.i4 = x.i4 AND a.id > x.id WHERE a.i4 IN (SELECT i8 / 10000000000 FROM e WHERE id < 900);
SELECT count(*), sum(a.id), sum(x.id), min(x.t) FROM a JOIN e x ON a.t = x.t AND a.i2 = x.i2 WHERE a.i2::numeric IN (SELECT n FROM e WHERE id % 3 > 0);
SELECT count(*), sum(a.id), sum(x.id), min(x.t) FROM a JOIN e x ON a.n = x.n AND a.t = x.t WHERE a.n IN (SELECT i.n FROM e i WHERE i.i2 > 0 AND i.id <> a.id);
-- Nothing on one side.
SELECT count(*) FROM a JOIN nothing ON a.id = nothing.id;
SELECT count(*), count(nothing.t) FROM a LEFT JOIN nothing ON a.id = nothing.id;
SELECT count(*), count(a.id) FROM nothing LEFT JOIN a ON a.id = nothing.id;
SELECT count(*), count(a.id) FROM nothing FULL JOIN a ON a.id = nothing.id;
SELECT count(*) FROM a WHERE NOT EXISTS (SELECT 1 FROM nothing WHERE nothing.t = a.t);
SELECT count(*) FROM a WHERE EXISTS (SELECT 1 FROM nothing WHERE nothing.t = a.t);
-- Rows, and what is computed of both sides.
SELECT a.id, a.t, e.t, a.n + e.n AS sum, a.d - e.d AS days, a.v || e.c AS both FROM a JOIN e ON a.id = e.id ORDER BY a.id LIMIT 20;
SELECT a.id, e.id, a.m, e.m, a.f8, e.f8 FROM a JOIN e ON a.m = e.m AND a.f8 = e.f8 ORDER BY 1, 2 LIMIT 20;
SELECT coalesce(a.id, e.id) AS id, a.b, e.b, a.y = e.y AS same FROM a FULL JOIN e ON a.id = e.id AND a.b = e.b ORDER BY 1, a.id, e.id LIMIT 30;
SELECT e, a.id FROM a JOIN e ON a.id = e.id WHERE a.id < 30 ORDER BY a.id;
SELECT a.ctid IS NOT NULL, a.tableoid::regclass::text FROM a JOIN e ON a.id = e.id WHERE a.id < 9;
SELECT t, count(*), sum(a.n * e.n), avg(e.f8) FROM a JOIN e USING (t) GROUP BY t ORDER BY t LIMIT 12;
SELECT e.v, a.c, count(*), sum(a.n), max(e.t) FROM a LEFT JOIN e ON a.id = e.id GROUP BY 1, 2 ORDER BY 1, 2;
SELECT CASE WHEN e.id IS NULL THEN 'none' WHEN e.n > 1 THEN 'much' ELSE 'little' END AS how, count(*) FROM a LEFT JOIN e ON a.id = e.id GROUP BY 1 ORDER BY 1;
-- Three and more tables, one of them several times, outer joins above outer joins.
SELECT count(*), sum(a.n), sum(e.n), sum(x.n) FROM a JOIN e ON a.id = e.id JOIN a x ON x.id = e.i4 + 1;
SELECT count(*), count(e.id), count(x.id), count(z.id) FROM a LEFT JOIN e ON a.id = e.id LEFT JOIN e x ON x.id = e.id + 2 LEFT JOIN a z ON z.id = coalesce(x.id, a.id);
SELECT count(*), count(e.id), count(x.id) FROM a LEFT JOIN (e JOIN a x ON x.id = e.id + 1) ON a.id = e.id AND a.b = x.b;
SELECT count(*), count(e.id), count(x.id) FROM (a LEFT JOIN e ON a.id = e.id) FULL JOIN e x ON x.t = e.t AND x.id < e.id;
SELECT count(*), sum(s.n) FROM a LEFT JOIN (SELECT id, n, 'constant' AS k FROM e) s ON a.id = s.id WHERE coalesce(s.k, 'none') = 'none';
SELECT s.k, count(*) FROM a LEFT JOIN (SELECT id, coalesce(n, -1) AS k FROM e) s ON a.id = s.id GROUP BY s.k ORDER BY 2 DESC, 1 LIMIT 5;
SELECT count(*) FROM a JOIN (SELECT t, max(n) AS n FROM e GROUP BY t) s ON s.t = a.t AND s.n >= a.n;
WITH s AS MATERIALIZED (SELECT * FROM e WHERE id < 500) SELECT count(*), sum(a.n + s.n) FROM a JOIN s ON a.id = s.id;
SELECT count(*), sum(l.c) FROM e, LATERAL (SELECT count(*) AS c FROM a x JOIN a z ON x.id = z.id + 1 WHERE x.i2 = e.i2 AND x.id < 100) l WHERE e.id < 60;
SELECT e.id, (SELECT count(*) FROM a x JOIN e z ON x.t = z.t AND x.i2 = e.i2) FROM e WHERE e.id < 30 ORDER BY 1;
SELECT e.id, (SELECT sum(x.n) FROM a x JOIN e z ON x.id + e.id = z.id) FROM e WHERE e.id < 30 ORDER BY 1;
SELECT count(*) FROM (SELECT a.id FROM a JOIN e ON a.id = e.id UNION ALL SELECT a.id FROM a LEFT JOIN e ON a.t = e.t) s;
SELECT id, rank FROM (SELECT a.id, rank() OVER (ORDER BY e.n DESC, a.id) AS rank FROM a JOIN e ON a.id = e.id) s WHERE rank < 6 ORDER BY rank;
-- Many rows with the same key on both sides.
CREATE TABLE many (k int, n int);
INSERT INTO many SELECT g % 3, g FROM generate_series(1, 2500) g;
SELECT count(*), sum(x.n::int8 * y.n) FROM many x JOIN many y ON x.k = y.k;
SELECT count(*), sum(x.n::int8 * y.n) FROM many x JOIN many y ON x.k = y.k AND x.n + 5 > y.n AND x.n < y.n;
SELECT count(*) FROM many x WHERE EXISTS (SELECT 1 FROM many y WHERE x.k = y.k AND y.n > x.n + 2490);
SELECT count(*) FROM many x WHERE NOT EXISTS (SELECT 1 FROM many y WHERE x.k = y.k AND y.n > x.n + 10);
SELECT count(*), count(y.n) FROM many x LEFT JOIN many y ON x.k = y.k AND y.n = x.n + 3;
-- Errors are those of the rows that meet.
SELECT count(*) FROM a JOIN e ON a.id = e.id WHERE 1 / (a.id - e.id) > 0;
SELECT count(*) FROM a JOIN e ON a.id = e.id AND a.id < 10 WHERE 10 / (a.id - 3) > 100;
SELECT sum(a.i4 * 1000000 * e.i4) FROM a JOIN e ON a.id = e.id;
SELECT count(*) FROM a JOIN e ON 1 / (a.id - 500) = e.id;
-- Where rows are locked or changed.
BEGIN;
SELECT a.id FROM a JOIN e ON a.id = e.id WHERE a.id < 12 ORDER BY 1 FOR UPDATE OF a;
UPDATE a SET n = e.n FROM e WHERE a.id = e.id AND a.id < 100;
DELETE FROM e USING a WHERE a.id = e.id AND a.id > 2000;
SELECT count(*), sum(a.n), sum(e.n) FROM a JOIN e ON a.id = e.id;
INSERT INTO nothing SELECT a.id, e.t, a.n FROM a JOIN e ON a.id = e.id;
SELECT count(*), sum(nothing.n - a.n) FROM nothing JOIN a USING (id);
ROLLBACK;
-- Through a cursor, forwards and backwards.
BEGIN;
DECLARE pairs SCROLL CURSOR FOR SELECT a.id, e.t FROM a JOIN e ON a.id = e.id ORDER BY a.id;
FETCH 3 FROM pairs;
FETCH BACKWARD 2 FROM pairs;
FETCH ABSOLUTE 7 FROM pairs;
CLOSE pairs;
COMMIT;
-- What a security barrier hides stays hidden.
CREATE FUNCTION noisy(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
CREATE VIEW few WITH (security_barrier) AS SELECT a.id, e.t FROM a JOIN e ON a.id = e.id WHERE a.id < 6;
SELECT * FROM few WHERE noisy(t) ORDER BY id;
-- Little memory: both sides go to files.
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
SELECT count(*), sum(a.id::int8 * e.id) FROM a JOIN a e ON a.t = e.t;
SELECT count(*), count(a.id), count(e.id), sum(a.id), sum(e.id) FROM a FULL JOIN a e ON a.id = e.id + 7 AND a.b <> e.b;
SELECT count(*), sum(id) FROM a WHERE NOT EXISTS (SELECT 1 FROM a e WHERE e.t = a.t AND e.f8 > a.f8);
SELECT count(*), count(e.id), sum(e.n) FROM a LEFT JOIN a e ON a.t = e.t AND e.id % 5 = 0;
SELECT count(*), sum(a.n), max(e.t), min(a.m), max(e.u::text), max(encode(e.y, 'hex')) FROM a RIGHT JOIN a e ON a.id = e.id * 2;
