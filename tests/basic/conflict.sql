-- ON CONFLICT, alone and against other sessions.
CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE, hits int NOT NULL DEFAULT 0);
INSERT INTO t SELECT i, 'user' || i, 0 FROM generate_series(1, 2500) i;
INSERT INTO t VALUES (1, 'x') ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (1, 'x') ON CONFLICT (id) DO NOTHING RETURNING *;
INSERT INTO t VALUES (1, 'user1') ON CONFLICT (id) DO UPDATE SET hits = t.hits + 1 RETURNING *;
INSERT INTO t VALUES (9001, 'user2') ON CONFLICT (id) DO UPDATE SET hits = t.hits + 1;
INSERT INTO t VALUES (9001, 'user2') ON CONFLICT (email) DO UPDATE SET hits = t.hits + 1, email = excluded.email || '!' RETURNING *;
INSERT INTO t SELECT i, 'user' || i, 5 FROM generate_series(2400, 2600) i ON CONFLICT (id) DO UPDATE SET hits = t.hits + excluded.hits WHERE t.id % 2 = 0;
SELECT count(*), sum(hits) FROM t;
INSERT INTO t SELECT i, 'new' || i, 5 FROM generate_series(1, 6000) i ON CONFLICT DO NOTHING;
SELECT count(*), sum(hits), count(DISTINCT email) FROM t;
INSERT INTO t VALUES (3, 'a'), (3, 'b') ON CONFLICT (id) DO UPDATE SET email = excluded.email;
INSERT INTO t VALUES (70000, 'a'), (70000, 'b') ON CONFLICT (id) DO UPDATE SET email = excluded.email;
INSERT INTO t VALUES (70000, 'a'), (70000, 'b') ON CONFLICT (id) DO NOTHING;
SELECT * FROM t WHERE id >= 70000 OR id < 5 ORDER BY id;
INSERT INTO t VALUES (1, 'y') ON CONFLICT (hits) DO NOTHING;
INSERT INTO t VALUES (1, NULL) ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET email = NULL;
SELECT * FROM t WHERE email IS NULL;
BEGIN;
INSERT INTO t VALUES (80000, 'p');
\on b
\bg
INSERT INTO t VALUES (80000, 'q') ON CONFLICT (id) DO UPDATE SET hits = t.hits + 100 RETURNING *;
\on a
COMMIT;
\wait b
BEGIN;
INSERT INTO t SELECT i, 'bulk' || i FROM generate_series(90000, 93000) i;
\on b
\bg
INSERT INTO t VALUES (92999, 'late') ON CONFLICT (id) DO NOTHING RETURNING *;
\on a
ROLLBACK;
\wait b
\on a
BEGIN;
INSERT INTO t SELECT i, 'bulk' || i FROM generate_series(100000, 103000) i;
\on b
\bg
INSERT INTO t VALUES (102999, 'late');
\on a
COMMIT;
\wait b
BEGIN;
DELETE FROM t WHERE id = 1000;
\on b
\bg
INSERT INTO t VALUES (1000, 'again') RETURNING *;
\on a
COMMIT;
\wait b
SELECT count(*), sum(hits) FROM t;
SELECT * FROM t WHERE id IN (1000, 80000, 92999, 102999) ORDER BY id;
