-- The four row locks: who waits for whom, NOWAIT, SKIP LOCKED, and what a waiter sees afterwards.
CREATE TABLE t (id int PRIMARY KEY, v int, w text);
INSERT INTO t SELECT i, 0, 'w' || i FROM generate_series(1, 2000) i;
BEGIN;
SELECT * FROM t WHERE id = 1 FOR UPDATE;
\on b
SELECT * FROM t WHERE id = 1 FOR UPDATE NOWAIT;
SELECT * FROM t WHERE id = 1 FOR NO KEY UPDATE NOWAIT;
SELECT * FROM t WHERE id = 1 FOR SHARE NOWAIT;
SELECT * FROM t WHERE id = 1 FOR KEY SHARE NOWAIT;
SELECT * FROM t WHERE id BETWEEN 1 AND 3 FOR UPDATE SKIP LOCKED;
SELECT * FROM t WHERE id = 1;
\on a
COMMIT;
BEGIN;
SELECT * FROM t WHERE id = 2 FOR NO KEY UPDATE;
\on b
SELECT * FROM t WHERE id = 2 FOR UPDATE NOWAIT;
SELECT * FROM t WHERE id = 2 FOR NO KEY UPDATE NOWAIT;
SELECT * FROM t WHERE id = 2 FOR SHARE NOWAIT;
SELECT * FROM t WHERE id = 2 FOR KEY SHARE NOWAIT;
\on a
COMMIT;
BEGIN;
SELECT * FROM t WHERE id = 3 FOR SHARE;
\on b
SELECT * FROM t WHERE id = 3 FOR UPDATE NOWAIT;
SELECT * FROM t WHERE id = 3 FOR NO KEY UPDATE NOWAIT;
BEGIN;
SELECT * FROM t WHERE id = 3 FOR SHARE NOWAIT;
\on c
SELECT * FROM t WHERE id = 3 FOR KEY SHARE NOWAIT;
\bg
UPDATE t SET v = 33 WHERE id = 3 RETURNING *;
\on b
COMMIT;
\on a
COMMIT;
\wait c
\on a
BEGIN;
SELECT * FROM t WHERE id = 4 FOR KEY SHARE;
\on b
SELECT * FROM t WHERE id = 4 FOR UPDATE NOWAIT;
SELECT * FROM t WHERE id = 4 FOR NO KEY UPDATE NOWAIT;
UPDATE t SET v = 44 WHERE id = 4 RETURNING *;
DELETE FROM t WHERE id = 4 AND pg_try_advisory_lock(1) AND false;
\bg
DELETE FROM t WHERE id = 4 RETURNING *;
\on a
SELECT * FROM t WHERE id = 4 FOR KEY SHARE;
COMMIT;
\wait b
-- a waiter under READ COMMITTED sees the new version, or that it no longer fits
\on a
BEGIN;
UPDATE t SET v = v + 1 WHERE id = 5;
\on b
\bg
UPDATE t SET v = v + 10 WHERE id = 5 RETURNING *;
\on a
COMMIT;
\wait b
\on a
BEGIN;
UPDATE t SET v = 100 WHERE id = 6;
\on b
\bg
UPDATE t SET w = 'not reached' WHERE id = 6 AND v = 0 RETURNING *;
\on a
COMMIT;
\wait b
\on a
BEGIN;
DELETE FROM t WHERE id = 7;
\on b
\bg
UPDATE t SET w = 'not reached' WHERE id = 7 RETURNING *;
\on a
COMMIT;
\wait b
\on a
BEGIN;
UPDATE t SET v = 1 WHERE id = 8;
UPDATE t SET v = 2 WHERE id = 8;
UPDATE t SET v = 3 WHERE id = 8;
\on b
\bg
SELECT * FROM t WHERE id = 8 FOR UPDATE;
\on a
COMMIT;
\wait b
\on a
BEGIN;
UPDATE t SET v = 1 WHERE id = 9;
\on b
\bg
UPDATE t SET v = v + 1 WHERE id = 9 RETURNING *;
\on a
ROLLBACK;
\wait b
-- REPEATABLE READ does not follow
\on b
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM t;
\on a
UPDATE t SET v = 77 WHERE id = 10;
DELETE FROM t WHERE id = 11;
\on b
SELECT * FROM t WHERE id IN (10, 11) ORDER BY id;
UPDATE t SET v = 1 WHERE id = 10;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM t;
\on a
INSERT INTO t VALUES (11, 5, 'new');
DELETE FROM t WHERE id = 12;
\on b
DELETE FROM t WHERE id = 12;
ROLLBACK;
-- savepoints give locks back
\on a
BEGIN;
SAVEPOINT s;
SELECT * FROM t WHERE id = 20 FOR UPDATE;
UPDATE t SET v = 5 WHERE id = 21;
ROLLBACK TO s;
\on b
SELECT * FROM t WHERE id IN (20, 21) FOR UPDATE NOWAIT;
\on a
SELECT * FROM t WHERE id = 22 FOR KEY SHARE;
SAVEPOINT s;
SELECT * FROM t WHERE id = 22 FOR UPDATE;
ROLLBACK TO s;
\on b
SELECT * FROM t WHERE id = 22 FOR UPDATE NOWAIT;
SELECT * FROM t WHERE id = 22 FOR NO KEY UPDATE NOWAIT;
\on a
COMMIT;
-- locks on joins, subqueries and limits
SELECT a.id, b.w FROM t a JOIN t b ON a.id = b.id + 1 WHERE a.id IN (30, 31) FOR UPDATE OF a;
BEGIN;
SELECT id FROM t WHERE id > 1500 ORDER BY id LIMIT 3 FOR UPDATE;
\on b
SELECT id FROM t WHERE id > 1500 ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED;
\on a
COMMIT;
-- a deadlock is found
BEGIN;
UPDATE t SET v = 1 WHERE id = 40;
\on b
BEGIN;
UPDATE t SET v = 1 WHERE id = 41;
\bg
UPDATE t SET v = 2 WHERE id = 40;
\on a
SET deadlock_timeout = '10ms';
UPDATE t SET v = 2 WHERE id = 41;
ROLLBACK;
\wait b
COMMIT;
\on b
COMMIT;
SELECT count(*), sum(v) FROM t;
