-- The widest table that PostgreSQL allows, and rows near its limits.
DO $$ BEGIN
  EXECUTE (SELECT 'CREATE TABLE w (' || string_agg(format('c%s %s', i, (ARRAY['int', 'text', 'bool', 'float8'])[i % 4 + 1]), ', ') || ')' FROM generate_series(1, 1600) i);
END $$;
INSERT INTO w (c4, c1600) SELECT i, i FROM generate_series(1, 1200) i;
INSERT INTO w SELECT FROM generate_series(1, 3);
UPDATE w SET c800 = 5, c1 = 'x' WHERE c4 % 2 = 0;
SELECT count(*), sum(c4), sum(c800), count(c1), sum(c1600) FROM w;
ALTER TABLE w ADD c1601 int;
DELETE FROM w WHERE c4 < 1000;
SELECT c1, c4, c800, c1600 FROM w;
ALTER TABLE w DROP c2;
ALTER TABLE w ADD c1602 int;
SELECT count(*) FROM w WHERE c3 IS NULL;
CREATE TABLE long (a text, b text);
INSERT INTO long SELECT repeat(chr(65 + i), 8000 + i), repeat(md5(i::text), 2000) FROM generate_series(1, 25) i;
INSERT INTO long SELECT repeat('x', 20000000), NULL;
INSERT INTO long SELECT a, b FROM long, generate_series(1, 50) WHERE length(a) < 10000;
SELECT count(*), sum(length(a)), sum(length(b)), count(DISTINCT md5(a)) FROM long;
UPDATE long SET a = a || 'tail' WHERE length(a) > 10000;
SELECT length(a), right(a, 5) FROM long WHERE length(a) > 10000;
DELETE FROM long WHERE b IS NULL;
SELECT count(*), sum(length(a)), sum(length(b)) FROM long;
