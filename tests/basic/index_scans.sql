-- Index scans that look up many rows: what their snapshots see stays what it was, however rows are deleted, moved and written meanwhile.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_indexonlyscan = off;
SET orochi.enable_columnar_scan = off;
CREATE TABLE t (k int PRIMARY KEY, v int);
INSERT INTO t SELECT i, i % 7 FROM generate_series(1, 4000) i;
-- a cursor does not see what its transaction does later
BEGIN;
DECLARE c CURSOR FOR SELECT k, v FROM t WHERE k > 0 ORDER BY k;
FETCH 100 c;
DELETE FROM t WHERE k BETWEEN 150 AND 250;
UPDATE t SET v = -1 WHERE k BETWEEN 300 AND 310;
FETCH 100 c;
SAVEPOINT s;
DELETE FROM t WHERE k BETWEEN 500 AND 2500;
INSERT INTO t SELECT i, 0 FROM generate_series(5001, 7500) i;
DECLARE d CURSOR FOR SELECT k, v FROM t WHERE k > 0 ORDER BY k;
FETCH 200 d;
ROLLBACK TO s;
FETCH 20 c;
FETCH ABSOLUTE 1990 c;
DECLARE e CURSOR FOR SELECT k, v FROM t WHERE k > 0 ORDER BY k DESC;
FETCH 60 e;
FETCH ABSOLUTE 3700 e;
SELECT count(*), sum(k), sum(v) FROM t WHERE k > 0;
ROLLBACK;
SELECT count(*), sum(k), sum(v) FROM t WHERE k > 0;
-- nor what others do, whose snapshots do
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*), sum(k), sum(v) FROM t WHERE k > 0;
DECLARE c CURSOR FOR SELECT k, v FROM t WHERE k > 0 ORDER BY k;
FETCH 50 c;
\on b
DELETE FROM t WHERE k % 40 = 3;
UPDATE t SET v = v + 1 WHERE k % 40 = 4;
INSERT INTO t SELECT i, 3 FROM generate_series(4001, 5500) i;
\on a
FETCH 50 c;
SELECT count(*), sum(k), sum(v) FROM t WHERE k > 0;
COMMIT;
SELECT count(*), sum(k), sum(v) FROM t WHERE k > 0;
-- a loop changes the rows that it is to meet
DO $$
DECLARE r record; met int := 0;
BEGIN
  FOR r IN SELECT k FROM t WHERE k BETWEEN 1000 AND 2000 ORDER BY k LOOP
    met := met + 1;
    DELETE FROM t WHERE k = r.k + 1;
    UPDATE t SET v = v + 100 WHERE k = r.k + 2;
  END LOOP;
  RAISE NOTICE 'met %', met;
END $$;
SELECT count(*), sum(k), sum(v) FROM t WHERE k > 0;
-- a cursor inside a DELETE sees what the DELETE has done so far
CREATE TABLE met (n serial, k int);
CREATE FUNCTION step(c refcursor) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
DECLARE found_key int;
BEGIN
  BEGIN
    FETCH c INTO found_key;
  EXCEPTION WHEN undefined_cursor OR invalid_cursor_name THEN
    OPEN c FOR SELECT k FROM t WHERE k > 0 ORDER BY k DESC;
    FETCH c INTO found_key;
  END;
  INSERT INTO met (k) VALUES (found_key);
  RETURN 1;
END $$;
BEGIN;
SET LOCAL enable_sort = on;
DELETE FROM t WHERE k IN (SELECT k FROM t WHERE k > 0 ORDER BY k) AND step('cursor') = 1;
SELECT count(*), count(k), sum(n * k::bigint) FROM met;
ROLLBACK;
-- a load reads what it has loaded
CREATE FUNCTION known(low int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT count(v) FROM t WHERE k > low);
END $$;
INSERT INTO t SELECT i, known(6000) FROM generate_series(6001, 6300) i;
SELECT count(*), sum(v) FROM t WHERE k > 6000;
-- serializable: a row that somebody deletes after the scan has begun
CREATE TABLE other (v int);
INSERT INTO other VALUES (0);
BEGIN ISOLATION LEVEL SERIALIZABLE;
DECLARE c CURSOR FOR SELECT k FROM t WHERE k > 0 ORDER BY k;
FETCH 100 c;
\on b
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT sum(v) FROM other;
DELETE FROM t WHERE k = 600;
COMMIT;
\on a
FETCH ABSOLUTE 800 c;
UPDATE other SET v = 1;
COMMIT;
ROLLBACK;
SELECT count(*), sum(v) FROM other;
