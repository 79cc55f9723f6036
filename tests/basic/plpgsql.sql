-- PL/pgSQL: exception blocks, loops over the table being changed, dynamic SQL; cursors; prepared statements.
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE FUNCTION fill(n int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE seen bigint; total bigint := 0;
BEGIN
  FOR i IN 1..n LOOP
    BEGIN
      INSERT INTO t VALUES (i % 50, i);
      SELECT count(*) INTO seen FROM t;
      total := total + seen;
    EXCEPTION WHEN unique_violation THEN
      UPDATE t SET v = v + 1 WHERE id = i % 50;
    END;
  END LOOP;
  RETURN total;
END $$;
SELECT fill(200);
SELECT count(*), sum(v) FROM t;
CREATE FUNCTION growing() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT count(*) FROM t);
END $$;
CREATE FUNCTION fixed() RETURNS int LANGUAGE sql STABLE AS $$ SELECT count(*)::int FROM t $$;
INSERT INTO t SELECT 1000 + i, growing() FROM generate_series(1, 1500) i;
SELECT count(*), min(v), max(v), sum(v) FROM t WHERE id > 1000;
INSERT INTO t SELECT 10000 + i, fixed() FROM generate_series(1, 1500) i;
SELECT count(*), min(v), max(v) FROM t WHERE id > 10000;
DO $$
DECLARE r record; n int := 0;
BEGIN
  FOR r IN SELECT * FROM t WHERE id > 10000 ORDER BY id LOOP
    UPDATE t SET v = -1 WHERE id = r.id;
    n := n + 1;
    IF n % 100 = 0 THEN DELETE FROM t WHERE id = r.id; END IF;
  END LOOP;
  RAISE NOTICE 'visited %', n;
END $$;
SELECT count(*), sum(v) FROM t WHERE id > 10000;
DO $$
BEGIN
  INSERT INTO t SELECT i, 0 FROM generate_series(20000, 23000) i;
  INSERT INTO t VALUES (22000, 0);
EXCEPTION WHEN unique_violation THEN
  RAISE NOTICE 'caught, % rows', (SELECT count(*) FROM t WHERE id >= 20000);
END $$;
SELECT count(*) FROM t WHERE id >= 20000;
CREATE PROCEDURE batches() LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..4 LOOP
    INSERT INTO t SELECT 30000 + i * 1000 + k, i FROM generate_series(1, 400) k;
    IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
  END LOOP;
END $$;
CALL batches();
SELECT v, count(*) FROM t WHERE id > 30000 GROUP BY v ORDER BY v;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, v FROM t WHERE id < 2000 ORDER BY id;
FETCH 3 FROM c;
FETCH LAST FROM c;
FETCH BACKWARD 2 FROM c;
FETCH ABSOLUTE 100 FROM c;
FETCH RELATIVE -50 FROM c;
DELETE FROM t WHERE id < 40;
INSERT INTO t VALUES (-5, 0);
FETCH FIRST FROM c;
MOVE FORWARD ALL IN c;
FETCH PRIOR FROM c;
CLOSE c;
DECLARE h CURSOR WITH HOLD FOR SELECT id FROM t WHERE id BETWEEN 1000 AND 1100 ORDER BY id;
FETCH 2 FROM h;
COMMIT;
DELETE FROM t WHERE id BETWEEN 1000 AND 1050;
FETCH 3 FROM h;
MOVE 40 IN h;
FETCH 2 FROM h;
CLOSE h;
BEGIN;
DECLARE u CURSOR FOR SELECT * FROM t WHERE id > 1490 AND id < 2490 FOR UPDATE;
FETCH 1 FROM u;
UPDATE t SET v = 4242 WHERE CURRENT OF u;
FETCH 1 FROM u;
DELETE FROM t WHERE CURRENT OF u;
COMMIT;
SELECT count(*) FROM t WHERE v = 4242;
BEGIN;
DECLARE plain SCROLL CURSOR FOR SELECT count(*) OVER () FROM t WHERE id > 1400 AND id < 1500;
FETCH 2 FROM plain;
FETCH BACKWARD 1 FROM plain;
COMMIT;
BEGIN;
DECLARE walking NO SCROLL CURSOR FOR SELECT v FROM t WHERE id > 30000 AND v = 2;
FETCH 5 FROM walking;
INSERT INTO t SELECT i, 2 FROM generate_series(60000, 62000) i;
MOVE ALL IN walking;
COMMIT;
PREPARE get (int) AS SELECT * FROM t WHERE id = $1;
PREPARE put (int, int) AS INSERT INTO t VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING *;
EXECUTE put (90001, 1);
EXECUTE put (90001, 2);
EXECUTE get (90001);
EXECUTE get (90001);
EXECUTE get (90001);
EXECUTE get (90001);
EXECUTE get (90001);
EXECUTE get (90001);
EXECUTE get (90002);
ALTER TABLE t ADD extra text DEFAULT 'x';
EXECUTE get (90001);
DEALLOCATE ALL;
CREATE FUNCTION nested(depth int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO t VALUES (500000 + depth, depth);
  IF depth > 0 THEN
    BEGIN
      PERFORM nested(depth - 1);
      IF depth % 2 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN
      INSERT INTO t VALUES (600000 + depth, (SELECT count(*) FROM t WHERE id >= 500000));
    END;
  END IF;
END $$;
SELECT nested(15);
SELECT id, v FROM t WHERE id >= 500000 ORDER BY id;
