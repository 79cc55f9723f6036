-- Savepoints, rollback, prepared transactions, own changes within a transaction, isolation levels.
CREATE TABLE t (id int PRIMARY KEY, v int);
BEGIN;
INSERT INTO t SELECT i, 0 FROM generate_series(1, 1500) i;
SAVEPOINT one;
INSERT INTO t SELECT i, 1 FROM generate_series(2001, 4500) i;
UPDATE t SET v = 5 WHERE id < 1000;
SAVEPOINT two;
DELETE FROM t WHERE id % 2 = 0;
SELECT count(*), sum(id), sum(v) FROM t;
ROLLBACK TO two;
SELECT count(*), sum(id), sum(v) FROM t;
ROLLBACK TO one;
SELECT count(*), sum(id), sum(v) FROM t;
INSERT INTO t VALUES (2001, 7);
SAVEPOINT three;
INSERT INTO t VALUES (2001, 8);
ROLLBACK TO three;
INSERT INTO t VALUES (2002, 8);
RELEASE three;
COMMIT;
SELECT count(*), sum(id), sum(v) FROM t;
BEGIN;
SAVEPOINT s;
INSERT INTO t SELECT i, 1 FROM generate_series(10001, 12500) i;
RELEASE s;
SAVEPOINT s;
UPDATE t SET v = 9 WHERE id > 12000;
SAVEPOINT s2;
UPDATE t SET v = v + 1 WHERE id > 12400;
RELEASE s2;
ROLLBACK TO s;
SELECT count(*), sum(v) FROM t WHERE id > 10000;
COMMIT;
SELECT count(*), sum(v) FROM t WHERE id > 10000;
-- one statement does not see itself
INSERT INTO t SELECT id + 1000000, v FROM t;
SELECT count(*) FROM t;
WITH i AS (INSERT INTO t VALUES (-1, 1) RETURNING *) SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM t WHERE id = -1);
BEGIN;
INSERT INTO t VALUES (-2, 1);
UPDATE t SET v = v + 1 WHERE id = -2;
UPDATE t SET v = v + 1 WHERE id = -2;
DELETE FROM t WHERE id = -2 RETURNING v;
INSERT INTO t VALUES (-2, 9);
COMMIT;
SELECT * FROM t WHERE id = -2;
-- prepared transactions outlive their session
BEGIN;
INSERT INTO t SELECT i, 3 FROM generate_series(20001, 23000) i;
UPDATE t SET v = 33 WHERE id = 1;
DELETE FROM t WHERE id = 2;
SELECT * FROM t WHERE id = 3 FOR UPDATE;
PREPARE TRANSACTION 'first';
SELECT count(*) FROM t WHERE id > 20000 AND id < 30000;
SELECT * FROM t WHERE id IN (1, 2);
SELECT * FROM t WHERE id = 3 FOR UPDATE NOWAIT;
SELECT * FROM t WHERE id = 1 FOR UPDATE SKIP LOCKED;
\close a
\on b
COMMIT PREPARED 'first';
SELECT count(*) FROM t WHERE id > 20000 AND id < 30000;
SELECT * FROM t WHERE id IN (1, 2);
BEGIN;
INSERT INTO t SELECT i, 3 FROM generate_series(30001, 33000) i;
DELETE FROM t WHERE id BETWEEN 20001 AND 22500;
PREPARE TRANSACTION 'second';
INSERT INTO t VALUES (1, 1);
ROLLBACK PREPARED 'second';
SELECT count(*), sum(id) FROM t WHERE id BETWEEN 20000 AND 40000;
-- snapshots
\on c
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*), sum(v) FROM t;
\on b
UPDATE t SET v = v + 1 WHERE id BETWEEN 20000 AND 40000;
DELETE FROM t WHERE id BETWEEN 1 AND 1400;
INSERT INTO t SELECT i, 3 FROM generate_series(50001, 53000) i;
\on c
SELECT count(*), sum(v) FROM t;
SELECT count(*) FROM t WHERE id BETWEEN 1 AND 1400;
COMMIT;
SELECT count(*), sum(v) FROM t;
-- serializable: a write skew is refused
TRUNCATE t;
INSERT INTO t VALUES (1, 10), (2, 10);
\on b
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT sum(v) FROM t;
\on c
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT sum(v) FROM t;
UPDATE t SET v = 0 WHERE id = 1;
COMMIT;
\on b
UPDATE t SET v = 0 WHERE id = 2;
COMMIT;
ROLLBACK;
SELECT * FROM t ORDER BY id;
