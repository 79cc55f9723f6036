-- INSERT in all its forms, COPY aside, then UPDATE, DELETE, MERGE, TRUNCATE.
CREATE TABLE t (id int PRIMARY KEY, a int, b text DEFAULT 'none', c numeric(12, 2), d timestamptz);
INSERT INTO t VALUES (1, 10, 'one', 1.25, '2024-02-29 12:00+00');
INSERT INTO t (id) VALUES (2), (3), (4);
INSERT INTO t DEFAULT VALUES;
INSERT INTO t VALUES (1);
INSERT INTO t SELECT i, i % 7, 'row ' || i, i / 3.0, timestamptz '2024-01-01 00:00+00' + i * interval '1 hour' FROM generate_series(10, 4000) i;
SELECT count(*), sum(a), sum(c), min(b), max(d) FROM t;
SELECT * FROM t WHERE id < 20;
SELECT * FROM t WHERE b IS NULL OR a IS NULL;
INSERT INTO t VALUES (5000, 1, 'returned') RETURNING *;
INSERT INTO t SELECT i FROM generate_series(5001, 5005) i RETURNING id, b, c;
UPDATE t SET a = a + 1 WHERE id = 1;
UPDATE t SET a = a + 1, b = upper(b) WHERE id BETWEEN 100 AND 2600;
UPDATE t SET id = id + 100000 WHERE id BETWEEN 3990 AND 4000;
UPDATE t SET c = NULL WHERE id IN (10, 20, 30) RETURNING id, c, b;
UPDATE t SET b = s.b FROM (SELECT id, 'joined ' || b AS b FROM t WHERE id < 15) s WHERE t.id = s.id;
UPDATE t SET id = 1 WHERE id = 2;
SELECT count(*), sum(a), sum(id), count(c), sum(hashtext(b)::bigint) FROM t;
SELECT * FROM t WHERE id BETWEEN 98 AND 103 ORDER BY id;
DELETE FROM t WHERE id = 3 RETURNING *;
DELETE FROM t WHERE id % 3 = 0;
DELETE FROM t USING (VALUES (10), (11), (13)) v (x) WHERE t.id = v.x RETURNING t.id, v.x;
SELECT count(*), sum(a), sum(id), count(c), sum(hashtext(b)::bigint) FROM t;
MERGE INTO t USING (SELECT i AS id FROM generate_series(1, 40) i) s ON t.id = s.id
 WHEN MATCHED AND t.id < 10 THEN DELETE
 WHEN MATCHED THEN UPDATE SET b = 'merged'
 WHEN NOT MATCHED AND s.id % 2 = 0 THEN INSERT VALUES (s.id, 0, 'inserted')
 WHEN NOT MATCHED THEN DO NOTHING;
SELECT id, a, b FROM t WHERE id < 45 ORDER BY id;
WITH gone AS (DELETE FROM t WHERE id > 3000 RETURNING id, b), back AS (INSERT INTO t SELECT id + 20000, b::text::char(3)::int4, b FROM gone WHERE false RETURNING id)
 SELECT count(*), (SELECT count(*) FROM back) FROM gone;
WITH moved AS (UPDATE t SET id = -id WHERE id BETWEEN 200 AND 210 RETURNING id) SELECT sum(id) FROM moved;
SELECT count(*), sum(id) FROM t;
UPDATE t SET a = 1 / (id - 16) WHERE id > 0;
SELECT count(*), sum(a) FROM t;
TRUNCATE t;
SELECT count(*) FROM t;
INSERT INTO t SELECT i FROM generate_series(1, 1500) i;
BEGIN;
TRUNCATE t;
INSERT INTO t VALUES (7);
SELECT * FROM t;
ROLLBACK;
SELECT count(*), sum(id) FROM t;
BEGIN;
INSERT INTO t SELECT i FROM generate_series(2001, 4500) i;
UPDATE t SET a = id WHERE id > 2000;
DELETE FROM t WHERE id > 4000;
SELECT count(*), sum(id), sum(a) FROM t;
ROLLBACK;
SELECT count(*), sum(id), sum(a) FROM t;
TRUNCATE t RESTART IDENTITY CASCADE;
SELECT * FROM t;
DROP TABLE t;
