-- Rows that nobody has locked before are deleted: who meets the deletion while it is in progress, and what is left of it.
CREATE TABLE t (id int PRIMARY KEY, v int, w text);
INSERT INTO t SELECT i, 0, 'w' || i FROM generate_series(1, 2000) i;
BEGIN;
DELETE FROM t WHERE id BETWEEN 1 AND 10;
\on b
SELECT * FROM t WHERE id = 1 FOR UPDATE NOWAIT;
SELECT * FROM t WHERE id = 1 FOR NO KEY UPDATE NOWAIT;
SELECT * FROM t WHERE id = 1 FOR SHARE NOWAIT;
SELECT * FROM t WHERE id = 1 FOR KEY SHARE NOWAIT;
SELECT id FROM t WHERE id BETWEEN 8 AND 13 ORDER BY id FOR UPDATE SKIP LOCKED;
SELECT id FROM t WHERE id BETWEEN 8 AND 13 ORDER BY id FOR KEY SHARE SKIP LOCKED;
SELECT count(*) FROM t WHERE id <= 10;
\bg
SELECT * FROM t WHERE id = 1 FOR KEY SHARE;
\on c
\bg
DELETE FROM t WHERE id = 2 RETURNING *;
\on d
\bg
UPDATE t SET v = 1 WHERE id = 3 RETURNING *;
\on e
\bg
INSERT INTO t VALUES (4, 44, 'again');
\on f
\bg
INSERT INTO t VALUES (5, 55, 'either') ON CONFLICT (id) DO UPDATE SET v = -5 RETURNING *;
\on a
COMMIT;
\wait b
\wait c
\wait d
\wait e
\wait f
SELECT * FROM t WHERE id < 12 ORDER BY id;
-- the same, rolled back
BEGIN;
DELETE FROM t WHERE id BETWEEN 21 AND 30;
\on b
\bg
SELECT * FROM t WHERE id = 21 FOR KEY SHARE;
\on c
\bg
DELETE FROM t WHERE id = 22 RETURNING *;
\on d
\bg
UPDATE t SET v = 1 WHERE id = 23 RETURNING *;
\on e
\bg
INSERT INTO t VALUES (24, 44, 'again');
\on f
\bg
INSERT INTO t VALUES (25, 55, 'either') ON CONFLICT (id) DO UPDATE SET v = -5 RETURNING *;
\on a
ROLLBACK;
\wait b
\wait c
\wait d
\wait e
\wait f
SELECT * FROM t WHERE id BETWEEN 20 AND 31 ORDER BY id;
-- several waiters, and a deleter after a deleter that went back
BEGIN;
DELETE FROM t WHERE id = 41;
\on b
BEGIN;
\bg
DELETE FROM t WHERE id = 41 RETURNING id;
\on a
ROLLBACK;
\wait b
\on c
\bg
SELECT id FROM t WHERE id = 41 FOR SHARE;
\on d
\bg
UPDATE t SET v = 41 WHERE id = 41 RETURNING id;
\on b
COMMIT;
\wait c
\wait d
-- savepoints
\on a
BEGIN;
SAVEPOINT s;
DELETE FROM t WHERE id BETWEEN 51 AND 55;
SELECT count(*) FROM t WHERE id BETWEEN 51 AND 55;
ROLLBACK TO s;
SELECT count(*) FROM t WHERE id BETWEEN 51 AND 55;
\on b
SELECT id FROM t WHERE id = 51 FOR UPDATE NOWAIT;
\on a
DELETE FROM t WHERE id IN (51, 52) RETURNING id;
SAVEPOINT s;
UPDATE t SET v = 53 WHERE id = 53;
DELETE FROM t WHERE id = 53 RETURNING v;
ROLLBACK TO s;
DELETE FROM t WHERE id = 53 RETURNING v;
\on b
SELECT id FROM t WHERE id IN (51, 52, 53, 54) ORDER BY id FOR UPDATE SKIP LOCKED;
\on a
COMMIT;
SELECT id FROM t WHERE id BETWEEN 50 AND 56 ORDER BY id;
-- REPEATABLE READ
\on b
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM t;
\on a
DELETE FROM t WHERE id IN (61, 62, 63);
\on b
SELECT count(*) FROM t WHERE id IN (61, 62, 63);
DELETE FROM t WHERE id = 61;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM t;
\on a
BEGIN;
DELETE FROM t WHERE id IN (64, 65, 66);
\on b
\bg
UPDATE t SET v = 1 WHERE id = 64;
\on a
COMMIT;
\wait b
\on b
ROLLBACK;
-- the same row more than once in a command, and in commands that follow
\on a
DELETE FROM t USING (VALUES (71), (71), (72), (72)) AS s (id) WHERE t.id = s.id;
DELETE FROM t USING generate_series(1, 3) i WHERE t.id = 73 RETURNING t.id;
UPDATE t SET v = i FROM generate_series(1, 3) i WHERE t.id = 74;
BEGIN ISOLATION LEVEL REPEATABLE READ;
DELETE FROM t USING (VALUES (75), (75)) AS s (id) WHERE t.id = s.id;
DELETE FROM t WHERE id = 75;
INSERT INTO t VALUES (75, 1, 'new');
DELETE FROM t WHERE id = 75 RETURNING *;
COMMIT;
WITH gone AS (DELETE FROM t WHERE id = 76 RETURNING id) SELECT gone.id, t.w FROM gone JOIN t USING (id);
WITH gone AS (DELETE FROM t WHERE id = 77 RETURNING id) UPDATE t SET v = -1 FROM gone WHERE t.id = gone.id;
SELECT id FROM t WHERE id BETWEEN 70 AND 79 ORDER BY id;
-- a cursor on rows that are deleted beneath it
BEGIN;
DECLARE c CURSOR FOR SELECT id, v FROM t WHERE id BETWEEN 81 AND 84 ORDER BY id FOR UPDATE;
FETCH 1 FROM c;
DELETE FROM t WHERE CURRENT OF c;
DELETE FROM t WHERE CURRENT OF c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT id, v FROM t WHERE id BETWEEN 81 AND 84;
FETCH 1 FROM c;
DELETE FROM t WHERE CURRENT OF c;
DELETE FROM t WHERE id = 82;
FETCH 1 FROM c;
DELETE FROM t WHERE CURRENT OF c;
FETCH 1 FROM c;
COMMIT;
SELECT id FROM t WHERE id BETWEEN 81 AND 84 ORDER BY id;
-- a trigger that is there first
CREATE FUNCTION first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t WHERE id = OLD.id; RETURN OLD; END $$;
CREATE TRIGGER first BEFORE DELETE OR UPDATE ON t FOR EACH ROW WHEN (OLD.id BETWEEN 91 AND 95 AND pg_trigger_depth() = 0) EXECUTE FUNCTION first();
DELETE FROM t WHERE id = 91;
UPDATE t SET v = 2 WHERE id = 92;
DROP TRIGGER first ON t;
SELECT id FROM t WHERE id BETWEEN 91 AND 95 ORDER BY id;
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'deleted %', OLD; RETURN NULL; END $$;
CREATE TRIGGER later AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION later();
DELETE FROM t WHERE id IN (93, 94);
DROP TRIGGER later ON t;
-- foreign keys
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES t ON DELETE CASCADE);
INSERT INTO child SELECT i, 100 + i % 10 FROM generate_series(1, 40) i;
BEGIN;
DELETE FROM t WHERE id = 100;
\on b
\bg
INSERT INTO child VALUES (1000, 100);
\on a
COMMIT;
\wait b
BEGIN;
DELETE FROM t WHERE id = 101;
\on b
\bg
INSERT INTO child VALUES (1001, 101);
\on a
ROLLBACK;
\wait b
\on b
BEGIN;
INSERT INTO child VALUES (1002, 102);
\on a
\bg
DELETE FROM t WHERE id = 102;
\on b
COMMIT;
\wait a
SELECT count(*), count(DISTINCT parent) FROM child;
-- a deadlock is found
\on a
BEGIN;
DELETE FROM t WHERE id = 111;
\on b
SET deadlock_timeout = '10s';
BEGIN;
DELETE FROM t WHERE id = 112;
\bg
DELETE FROM t WHERE id = 111;
\on a
SET LOCAL deadlock_timeout = '10ms';
DELETE FROM t WHERE id = 112;
ROLLBACK;
\wait b
\on b
COMMIT;
SELECT id FROM t WHERE id BETWEEN 110 AND 113 ORDER BY id;
-- rows that go to another partition
\on a
CREATE TABLE p (id int, v int) PARTITION BY LIST (v);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
INSERT INTO p SELECT i, 1 FROM generate_series(1, 1500) i;
BEGIN;
UPDATE p SET v = 2 WHERE id <= 3 RETURNING *;
\on b
\bg
DELETE FROM p WHERE id = 1;
\on c
\bg
UPDATE p SET id = -id WHERE id = 2;
\on a
COMMIT;
\wait b
\wait c
SELECT count(*) FROM p2;
-- most of the table, twice over
\on a
BEGIN;
DELETE FROM t WHERE id % 3 = 0;
SAVEPOINT s;
DELETE FROM t WHERE id % 3 = 1;
ROLLBACK TO s;
DELETE FROM t WHERE id % 3 = 1 AND id > 500;
COMMIT;
SELECT count(*), sum(id), min(id), max(id) FROM t;
VACUUM t;
SELECT count(*), sum(id), min(id), max(id) FROM t;
