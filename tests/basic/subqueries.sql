-- Correlated aggregates, which may be computed for all their keys at once.
SET max_parallel_workers_per_gather = 0;
CREATE TABLE o (id int, k int, k8 int8, t text, v varchar(10), c char(5), n numeric(10,2), f float8, d date, e int);
INSERT INTO o SELECT g, g % 60, g % 60, 'k' || g % 40, 'v' || g % 7, 'c' || g % 5, (g % 30) / 2.0, g % 9, date '2024-01-01' + g % 60, g % 3 FROM generate_series(1, 500) g;
INSERT INTO o (id) VALUES (2001), (2002);
INSERT INTO o (id, k, t, n) VALUES (2003, 100000, 'none', 1), (2004, -1, '', NULL);
CREATE TABLE l (id int, k int, k2 int2, k8 int8, t text, v varchar(10), c char(5), n numeric(10,2), f float8, d date, b bool, z int);
INSERT INTO l SELECT g, g % 55, g % 55, g % 55, 'k' || g % 50, 'v' || g % 8, 'c' || g % 6, (g % 100) / 4.0, g / 7.0, date '2024-01-01' + g % 50, g % 3 > 0, g % 5 FROM generate_series(1, 1700) g;
INSERT INTO l (id, k, t) VALUES (5001, NULL, NULL), (5002, 7, NULL), (5003, NULL, 'k7');
UPDATE l SET n = n + 1, f = 'NaN' WHERE id % 101 = 0;
DELETE FROM l WHERE id % 17 = 0;
ANALYZE o; ANALYZE l;
-- In WHERE, with each aggregate.
SELECT count(*), sum(o.id) FROM o WHERE n < (SELECT avg(n) FROM l WHERE l.k = o.k);
SELECT count(*), sum(o.id) FROM o WHERE n < (SELECT 0.5 * avg(n) + 1 FROM l WHERE o.k = l.k);
SELECT count(*), sum(o.id) FROM o WHERE (SELECT count(*) FROM l WHERE l.k = o.k) = 0;
SELECT count(*), sum(o.id) FROM o WHERE (SELECT count(n) FROM l WHERE l.k = o.k AND l.z > 3) IS NOT DISTINCT FROM 0;
SELECT count(*), sum(o.id) FROM o WHERE (SELECT sum(z) FROM l WHERE l.k = o.k) IS NULL;
SELECT count(*), sum(o.id) FROM o WHERE coalesce((SELECT sum(z) FROM l WHERE l.k = o.k), 0) < 60;
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) FROM l WHERE l.k = o.k AND l.d < date '2024-02-01' - interval '3 days');
SELECT count(*), sum(o.id) FROM o WHERE (SELECT bool_or(b) AND count(DISTINCT z) > 2 FROM l WHERE l.t = o.t AND l.z IN (1, 2, 4));
SELECT count(*), sum(o.id) FROM o WHERE (SELECT stddev(n) FROM l WHERE l.k = o.k AND l.c = o.c) > 3;
SELECT count(*), sum(o.id) FROM o WHERE e < ALL (SELECT count(*) FROM l WHERE l.k = o.k GROUP BY l.z);
SELECT count(*), sum(o.id) FROM o WHERE NOT (n < (SELECT avg(n) FROM l WHERE l.k = o.k)) OR id < 10;
SELECT count(*), sum(o.id) FROM o WHERE (SELECT sum(f) FROM l WHERE l.k = o.k) > 100;
SELECT count(*), sum(o.id) FROM o WHERE (SELECT max(f) FROM l WHERE l.k = o.k) > 100;
-- Keys of several types, and several keys.
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.k8 = o.k);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.k2 = o.k8);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.t = o.v OR l.t = o.t);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.v = o.t);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.c = o.c);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.f = o.f);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.d = o.d AND l.k = o.k AND l.z = o.e);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.k = o.k AND l.k8 = o.k8 AND o.e = 1);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.k > o.k);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(id) - 1300 FROM l WHERE l.k + 1 = o.k);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(l.id) - 1300 FROM l JOIN l m ON l.id = m.id + 1 WHERE l.k = o.k AND m.z < 3);
SELECT count(*), sum(o.id) FROM o WHERE id > (SELECT max(l.id) - 1300 FROM l LEFT JOIN o p ON l.id = p.id WHERE l.k = o.k AND p.id IS NULL);
-- As columns, below other clauses, nested, several at once.
SELECT id, (SELECT count(*) FROM l WHERE l.k = o.k), (SELECT sum(z) || 'x' FROM l WHERE l.k = o.k AND l.b) FROM o WHERE id % 50 = 3 OR id > 2000 ORDER BY id;
SELECT DISTINCT (SELECT max(z) FROM l WHERE l.k = o.k) AS m FROM o ORDER BY m;
SELECT id, (SELECT min(n) FROM l WHERE l.k = o.k) AS m FROM o ORDER BY m DESC NULLS LAST, id LIMIT 7;
SELECT e, sum(m) FROM (SELECT e, (SELECT avg(z) FROM l WHERE l.k = o.k) AS m FROM o) s GROUP BY e ORDER BY e;
SELECT e, count(*) FROM o WHERE n > (SELECT avg(n) FROM l WHERE l.k = o.k) GROUP BY e HAVING count(*) > (SELECT count(*) FROM l WHERE l.k = o.e) ORDER BY e;
SELECT id, row_number() OVER (ORDER BY (SELECT sum(z) FROM l WHERE l.k = o.k), id) FROM o WHERE id < 9 ORDER BY id;
SELECT count(*) FROM o WHERE k IN (SELECT k FROM l WHERE z >= (SELECT count(*) FROM o p WHERE p.k = l.k AND p.e = 1));
SELECT count(*) FROM o WHERE EXISTS (SELECT 1 FROM l WHERE l.id = o.id AND l.n < (SELECT avg(m.n) FROM l m WHERE m.k = l.k));
SELECT count(*) FROM o WHERE EXISTS (SELECT 1 FROM l WHERE l.id = o.id AND l.n < (SELECT avg(m.n) FROM l m WHERE m.k = o.k));
SELECT count(*), sum(o.id) FROM o, l WHERE o.k = l.k AND l.n < (SELECT 0.2 * avg(m.n) FROM l m WHERE m.k = o.k);
SELECT count(*), sum(o.id) FROM o LEFT JOIN l ON o.id = l.id WHERE coalesce(l.n, 1) < (SELECT 0.2 * avg(m.n) FROM l m WHERE m.k = l.k) OR (SELECT count(*) FROM l m WHERE m.k = l.k) = 0;
WITH w AS (SELECT id, (SELECT count(*) FROM l WHERE l.k = o.k) AS n FROM o) SELECT sum(a.n), count(*) FROM w a JOIN w b ON a.id = b.id + 1;
SELECT id, (SELECT count(*) FROM l WHERE l.k = o.k) FROM o WHERE id < 4 UNION ALL SELECT id, (SELECT sum(z) FROM l WHERE l.k = o.k) FROM o WHERE id IN (5, 2001) ORDER BY 1;
SELECT x, (SELECT max(n) FROM l WHERE l.k = x) FROM generate_series(53, 57) x ORDER BY 1;
SELECT a.id, b.m FROM o a, LATERAL (SELECT count(*) AS m FROM l WHERE l.k = a.k) b WHERE a.id < 5 ORDER BY 1;
-- What cannot fail for rows that are asked for must not fail for others.
SELECT count(*) FROM o WHERE k = 3 AND id > (SELECT max(10 / z) FROM l WHERE l.k = o.k AND l.z > 0);
SELECT count(*) FROM o WHERE k = 3 AND id > (SELECT max(10 / (k - 5)) FROM l WHERE l.k = o.k);
SELECT count(*) FROM o WHERE k = 3 AND id > (SELECT max(id) FROM l WHERE l.k = o.k AND 10 / (l.k - 5) < 3);
SELECT count(*) FROM o WHERE k = 5 AND id > (SELECT max(10 / (k - 5)) FROM l WHERE l.k = o.k);
-- Prepared, with parameters, through cursors, in functions, with rows that are locked or changed.
PREPARE p(int, text) AS SELECT count(*) FROM o WHERE id > (SELECT max(id) - 1650 + $1 FROM l WHERE l.k = o.k AND l.t <> $2);
EXECUTE p(0, 'k1'); EXECUTE p(NULL, 'k1'); EXECUTE p(5, NULL);
SET plan_cache_mode = force_generic_plan;
EXECUTE p(0, 'k1'); EXECUTE p(NULL, 'k1'); EXECUTE p(5, NULL);
CREATE FUNCTION above(int) RETURNS int8 LANGUAGE sql STABLE AS 'SELECT count(*) FROM o WHERE n > $1 * (SELECT avg(n) FROM l WHERE l.k = o.k)';
SELECT x, above(x) FROM generate_series(0, 2) x ORDER BY x;
BEGIN;
DECLARE r SCROLL CURSOR FOR SELECT id, (SELECT count(*) FROM l WHERE l.k = o.k) FROM o ORDER BY id;
FETCH 2 FROM r; FETCH LAST FROM r; FETCH PRIOR FROM r;
COMMIT;
BEGIN;
SELECT id FROM o WHERE id < 9 AND n < (SELECT avg(n) FROM l WHERE l.k = o.k) ORDER BY id FOR UPDATE;
UPDATE o SET n = (SELECT count(*) FROM l WHERE l.k = o.k) WHERE id < 40 AND n < (SELECT avg(n) FROM l WHERE l.k = o.k);
DELETE FROM l WHERE n > (SELECT avg(m.n) FROM l m WHERE m.k = l.k);
INSERT INTO o (id, n) SELECT id, (SELECT count(*) FROM l WHERE l.k = o.k) FROM o;
SELECT count(*), sum(n) FROM o;
SELECT count(*), sum(n) FROM l;
ROLLBACK;
-- Views hide what they hide.
CREATE VIEW shown WITH (security_barrier) AS SELECT * FROM l WHERE z < 3;
SELECT count(*), sum(o.id) FROM o WHERE n < (SELECT avg(n) FROM shown WHERE shown.k = o.k);
CREATE VIEW with_average AS SELECT o.*, (SELECT avg(n) FROM l WHERE l.k = o.k) AS average FROM o;
SELECT count(*), sum(average) FROM with_average WHERE e = 1;
SELECT count(*) FROM with_average WHERE n > average;
-- Nothing there.
TRUNCATE l;
SELECT count(*), sum((SELECT count(*) FROM l WHERE l.k = o.k)) FROM o;
SELECT count(*) FROM o WHERE (SELECT sum(z) FROM l WHERE l.k = o.k) IS NULL;
